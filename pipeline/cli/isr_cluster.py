"""``isr-cluster``: machines at AWS, that end by themselves."""

from __future__ import annotations

import click

from pipeline.cli.isr_cluster_change import down, extend, scale, sweep
from pipeline.cli.isr_cluster_look import logs, status
from pipeline.cli.isr_cluster_setup import policy, setup
from pipeline.cli.isr_cluster_up import check, up

__all__ = ["main"]


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="hsc-isr")
def group() -> None:
    """Hire machines at AWS for isr-run --dask ec2:NAME, and give them back.

    setup and policy are for an administrator, once. Then: check, up, status,
    scale, extend, logs, down; sweep ends what was forgotten.
    """


for command in (setup, policy, check, up, status, scale, extend, logs, down, sweep):
    group.add_command(command)


def main() -> None:
    """Entry point of ``isr-cluster``."""
    from pipeline.cli.entry import run_command

    run_command(
        group,
        interrupted="Interrupted. isr-cluster status shows what there is; the same command again goes on.",
    )
