"""Trees of isr and pipeline that are compared, and processes that run on them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from io import BytesIO
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PROBE = Path(__file__).parent / "probe.py"
PACKAGES = ("isr", "pipeline")


def environment(tree: Path, **variables: str) -> dict[str, str]:
    """Return variables with which Python finds isr and pipeline in a tree, and everything else in ours."""
    path = os.pathsep.join(filter(None, (str(tree), str(ROOT), os.environ.get("PYTHONPATH"))))
    return os.environ | {"PYTHONPATH": path, "PYTHONHASHSEED": "0"} | variables


def command(scenario: str, *arguments: object) -> list[str]:
    """Return the command line of a scenario of the probe."""
    return [sys.executable, str(PROBE), scenario, *map(str, arguments)]


def probe(tree: Path, scenario: str, *arguments: object, **variables: str) -> dict[str, int]:
    """Run a scenario; return what it counted."""
    done = subprocess.run(
        command(scenario, *arguments),
        env=environment(tree, **variables),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{scenario} on {tree} ended with {done.returncode}\n{done.stderr}")
    counts: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    return counts


def find_base() -> tuple[str, str]:
    """Return the commit to compare with, and why it is that; or ``""`` and why there is none."""
    if not _git("rev-parse", "--git-dir"):
        return "", "this is not a git repository"
    head, parent = _git("rev-parse", "HEAD"), _git("rev-parse", "HEAD^")
    if (base := _git("merge-base", "HEAD", "origin/main")) and base != head:
        return base, "merge base with origin/main"
    if _git("status", "--porcelain", "--", *PACKAGES):
        return head, "HEAD; there are changes that are not committed"
    if parent:
        return parent, "parent of HEAD, which is on origin/main or has none"
    return "", "HEAD has no parent here (a shallow clone?)"


def differs(base: str) -> bool:
    """Tell whether isr or pipeline are not those of a commit."""
    return bool(_git("diff", "--name-only", base, "--", *PACKAGES))


def check_out(base: str, folder: Path) -> Path:
    """Write isr and pipeline of a commit into a folder."""
    archive = subprocess.run(
        ["git", "archive", base, "--", *PACKAGES], cwd=ROOT, capture_output=True, check=True
    ).stdout
    with tarfile.open(fileobj=BytesIO(archive)) as tar:
        tar.extractall(folder, filter="data")
    return folder


def _git(*arguments: Any) -> str:
    try:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
