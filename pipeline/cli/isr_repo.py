"""``isr-repo``: data and repositories to work with."""

from __future__ import annotations

import click

from pipeline.cli.isr_repo_create import create, ingest_calibs
from pipeline.cli.isr_repo_demo import demo
from pipeline.cli.isr_repo_simulate import simulate

__all__ = ["main"]


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="hsc-isr")
def group() -> None:
    """Make data and repositories for instrument signature removal."""


for command in (create, demo, ingest_calibs, simulate):
    group.add_command(command)


def main() -> None:
    """Entry point of ``isr-repo``."""
    from pipeline.cli.entry import run_command

    run_command(group)
