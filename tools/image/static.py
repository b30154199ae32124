"""Checks of the files, before anything is built."""

from __future__ import annotations

import os
from pathlib import Path

from tools.image.report import CheckError, Report, call

__all__ = ["check_files"]

VARIABLES = {"ISR_DB_PASSWORD": "a", "ISR_S3_KEY": "b", "ISR_S3_SECRET": "c"}


def check_files(report: Report, programs: Path) -> None:
    """Let hadolint, shellcheck and docker-compose look at what they know."""
    scripts = sorted(
        [*Path("docker").glob("*.sh"), *Path("tools/image").glob("*.sh"), Path("tools/image_check.sh")]
    )

    def hadolint() -> str:
        call([programs / "hadolint", "docker/Dockerfile"])
        return "docker/Dockerfile is clean"

    def shellcheck() -> str:
        call([programs / "shellcheck", *scripts])
        return f"{len(scripts)} scripts are clean"

    def compose() -> str:
        command = [programs / "docker-compose", "--env-file=/dev/null", "-f", "docker/compose.yaml"]
        plain = {name: value for name, value in os.environ.items() if name not in VARIABLES}
        call([*command, "config", "--quiet"], environment=plain | VARIABLES)
        refused = call([*command, "config", "--quiet"], environment=plain, code=None)
        if not refused.returncode:
            raise CheckError("docker-compose config accepts missing passwords; it should name them")
        return "compose.yaml is valid, and refused without passwords (docker-compose config)"

    report.run("hadolint", hadolint)
    report.run("shellcheck", shellcheck)
    report.run("compose", compose)
