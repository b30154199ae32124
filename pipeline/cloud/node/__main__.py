"""``python -m pipeline.cloud.node head|worker``: what the container of an instance runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from pipeline.cli.entry import run_command
from pipeline.cloud.node.identity import Identity
from pipeline.cloud.node.metadata import Metadata
from pipeline.cloud.node.start import become_head, become_worker, processes_that_fit

__all__ = ["main"]


def _of_a_node[F: Callable[..., Any]](command: F) -> F:
    """Add the options that say what a node belongs to."""
    options = (
        click.option("--cluster", required=True, metavar="NAME", help="Name of the cluster."),
        click.option("--id", "cluster_id", required=True, metavar="ID", help="Its id."),
        click.option("--state", required=True, metavar="PLACE", help="s3://BUCKET/PREFIX."),
        click.option("--region", required=True, metavar="REGION", help="AWS region."),
        click.option("--instance", metavar="ID", help="Else the metadata service is asked."),
        click.option("--host", metavar="ADDRESS", help="Where to listen; else its private address."),
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.group()
def main() -> None:
    """What an instance of a cluster runs; isr-cluster starts it."""


@main.command()
@_of_a_node
def head(cluster: str, cluster_id: str, state: str, region: str, instance: str, host: str) -> None:
    """Become the head: the scheduler, with the jobs of isr-run."""
    become_head(*_identity(cluster, cluster_id, state, region, instance, host))


@main.command()
@_of_a_node
@click.option("--head", required=True, metavar="ADDRESS", help="Address of the head.")
@click.option(
    "--processes",
    type=click.IntRange(0),
    default=0,
    show_default="one for each processor, as far as memory allows",
    help="Number of worker processes.",
)
def worker(
    cluster: str,
    cluster_id: str,
    state: str,
    region: str,
    instance: str,
    host: str,
    head: str,
    processes: int,
) -> None:
    """Become the workers of an instance."""
    node, address = _identity(cluster, cluster_id, state, region, instance, host)
    become_worker(node, address, head, processes or processes_that_fit())


def _identity(
    cluster: str, cluster_id: str, state: str, region: str, instance: str, host: str
) -> tuple[Identity, str]:
    """Return who this is and where it listens."""
    metadata = Metadata()
    instance = instance or metadata.value("instance-id")
    return (
        Identity(cluster, cluster_id, state, region, instance),
        host or metadata.value("local-ipv4"),
    )


if __name__ == "__main__":
    run_command(main)
