"""``isr-cluster status`` and ``logs``."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from pipeline.cli.cluster_options import name_argument, with_account
from pipeline.errors import CloudError

if TYPE_CHECKING:
    from pipeline.cloud.aws import Account
    from pipeline.cloud.names import Place
    from pipeline.cloud.status import Status

__all__ = ["logs", "status"]

_TICK = 3.0
_OVERLAP = 5.0  # seconds; lines arrive late


@click.command()
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="For programs: JSON on stdout.")
@with_account
def status(account: Account, place: Place, name: str | None, as_json: bool) -> int:
    """Show what a cluster does, or all clusters of the place.

    Exit codes: 0 shown, 1 error, 2 wrong usage.
    """
    from pipeline.cloud.inventory import cluster_names
    from pipeline.cloud.opened import find_cluster, open_cluster
    from pipeline.cloud.status import look_at

    if name:
        opened, code = [open_cluster(account, place, name)], 0
    else:
        opened, code = [], 0
        known = sorted(cluster_names(account, place))
        for one in known:
            try:
                found = find_cluster(account, place, one)
            except CloudError as error:  # the others can be shown
                click.echo(f"{one}: {error}", err=True)
                code = 1
                continue
            if found:
                opened.append(found)
            else:
                click.echo(f"{one}: there is something of it, but no document: isr-cluster sweep", err=True)
        if not known:
            click.echo(f"There are no clusters in {place}.", err=True)
    statuses = [look_at(one) for one in opened]
    if as_json:
        click.echo(json.dumps([one.document for one in statuses], indent=2))
        return code
    for seen in statuses:
        _show(seen)
    return code


def _show(one: Status) -> None:
    click.echo(one.title)
    for row in one.rows:
        click.echo(
            f"  {row.role:6} {row.instance}  {row.kind:11} {row.market:9}  {row.zone:11} {row.state:13} "
            f"{row.doing}"
        )
    for line in one.lines:
        click.echo(f"  {line}")


@click.command()
@name_argument
@click.option("--instance", default="", metavar="ID", help="Only those of one machine.")
@click.option("-f", "--follow", is_flag=True, help="Go on showing what comes.")
@click.option("--console", is_flag=True, help="The console of --instance: what it did before it could log.")
@with_account
def logs(account: Account, place: Place, name: str, instance: str, follow: bool, console: bool) -> int:
    """Show what the machines of a cluster have said, also of clusters that have ended (for 14 days).

    Exit codes: 0 shown, 1 error, 2 wrong usage, 130 interrupted.
    """
    from pipeline.cloud.logs import read_console, read_logs
    from pipeline.cloud.opened import find_cluster

    with suppress(CloudError):  # logs are there without its document, too
        if found := find_cluster(account, place, name):
            account = found.account
    if console:
        if not instance:
            raise click.UsageError(
                "--console: of which machine? --instance ID (isr-cluster status shows them)."
            )
        click.echo(read_console(account, instance) or "AWS has kept nothing of this console.")
        return 0
    since, shown = 0.0, set()
    while True:
        for line in read_logs(account, place, f"{name}/", since=since):
            key = (line.time, line.stream, line.text)
            if line.stream.endswith(instance) and key not in shown:
                moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(line.time))
                _, _, role, machine = line.stream.split("/")
                click.echo(f"{moment} {role} {machine}: {line.text}")
            shown.add(key)
            since = max(since, line.time - _OVERLAP)
        if not follow:
            break
        shown = {key for key in shown if key[0] >= since}
        time.sleep(_TICK)
    if not shown:
        click.echo(f"There are no logs of {name} in {place.log_group}, {account.region}.", err=True)
    return 0
