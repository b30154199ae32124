"""``isr-cluster scale``, ``extend``, ``down`` and ``sweep``."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from pipeline.cli.cluster_options import DURATION, ask, name_argument, with_account, yes_option
from pipeline.errors import CloudError

if TYPE_CHECKING:
    from pipeline.cloud.aws import Account
    from pipeline.cloud.end import End
    from pipeline.cloud.names import Place

__all__ = ["down", "extend", "scale", "sweep"]


@click.command()
@name_argument
@click.argument("workers", type=click.IntRange(1, 999))
@yes_option
@with_account
def scale(account: Account, place: Place, name: str, workers: int, yes: bool) -> int:
    """Bring a cluster to a number of worker instances.

    Of those that are too many each ends after the quantum that it executes.

    Exit codes: 0 done, 1 error (the cluster is as before), 2 wrong usage.
    """
    from pipeline.cloud import change
    from pipeline.cloud.opened import open_cluster

    opened = open_cluster(account, place, name)
    cluster = opened.cluster
    coming = change.forecast(opened, workers, cluster.lease_until, change.worker_prices(cluster))
    if workers > coming.present:
        click.echo(
            f"{workers - coming.present} more workers: at most ${coming.hourly:.3f} an hour, "
            f"${coming.ceiling:.2f} until the end of the lease; spent ${coming.spent:.2f}",
            err=True,
        )
        ask("Start them?", "yes", yes=yes)
    change.scale(opened, workers, coming.present)
    if workers < coming.present:
        click.echo(f"{coming.present - workers} workers end after what they execute.", err=True)
    else:
        click.echo(f"The cluster {name} has {workers} workers.", err=True)
    return 0


@click.command()
@name_argument
@click.argument("time_more", type=DURATION, metavar="TIME")
@yes_option
@with_account
def extend(account: Account, place: Place, name: str, time_more: int, yes: bool) -> int:
    """Let a cluster live for TIME (such as 2h) from now.

    Exit codes: 0 done, 1 error, 2 wrong usage.
    """
    from pipeline.cloud import change
    from pipeline.cloud.opened import open_cluster

    opened = open_cluster(account, place, name)
    until = int(time.time()) + time_more
    prices = change.worker_prices(opened.cluster)
    coming = change.forecast(opened, opened.cluster.workers, until, prices)
    ends = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(until))
    click.echo(f"Until {ends}: at most ${coming.ceiling:.2f} more; spent ${coming.spent:.2f}", err=True)
    ask("Extend it?", "yes", yes=yes, otherwise="Nothing was changed.")
    change.extend(opened, until)
    return 0


@click.command()
@name_argument
@yes_option
@with_account
def down(account: Account, place: Place, name: str, yes: bool) -> int:
    """End a cluster, prove that nothing is left of it, and say what it has cost.

    A job that runs is ended first, so that what it has finished is registered.

    Exit codes: 0 nothing is left, 1 error or something is left, 2 wrong usage.
    """
    from pipeline.cloud.down import bring_down, jobs_of
    from pipeline.cloud.inventory import take_inventory
    from pipeline.cloud.names import check_name
    from pipeline.cloud.opened import find_cluster

    check_name(name)
    opened, jobs, unknown = None, [], ""
    try:
        if opened := find_cluster(account, place, name):
            account = opened.account
            jobs = jobs_of(opened)
    except CloudError as error:  # its machines can be ended all the same
        unknown = str(error)
    seen = take_inventory(account, place, name)
    if not opened and not unknown and seen.is_empty:
        raise CloudError(
            f"There is no cluster {name} in {place}, and nothing of one in {account.region}. "
            "isr-cluster status shows those that are there."
        )
    if unknown:
        question = f"What {name} does cannot be told ({unknown}) End it?"
        ask(question, name, yes=yes, otherwise="Nothing was ended.")
    elif opened and jobs:
        question = f"{name}, of {opened.cluster.owner}, is at work ({', '.join(jobs)}). End it?"
        ask(question, name, yes=yes, otherwise="Nothing was ended.")
    elif opened and not yes and opened.cluster.owner != account.owner:
        question = f"{name} belongs to {opened.cluster.owner}. End it?"
        ask(question, name, yes=yes, otherwise="Nothing was ended.")
    # Who is asked may think for long, and somebody else may make another cluster of that name.
    only = None if unknown or seen.problems else seen.ids | ({opened.cluster.id} if opened else set())
    return _report(account, name, bring_down(account, place, name, opened, only))


@click.command()
@yes_option
@with_account
def sweep(account: Account, place: Place, yes: bool) -> int:
    """Find clusters that nobody looks after, end them, and remove what others have left.

    These are clusters whose lease is over, whose head has ended, whose `up`
    or `down` was lost, or that have ended by themselves.

    Exit codes: 0 there was nothing, 1 something was found (and ended) or could not be looked at, 2 wrong
    usage.
    """
    from pipeline.cloud.end import end_cluster
    from pipeline.cloud.sweep import look_at, look_for_orphans

    found, problems = look_for_orphans(account, place)
    for problem in problems:
        click.echo(f"Not looked at: {problem}", err=True)
    for one in found:
        click.echo(f"{one.name} ({one.owner}): {one.reason or f'left alone, {one.state}'}", err=True)
        if one.reason:
            for line in one.inventory.lines():
                click.echo(f"  {line}", err=True)
    orphans = [one for one in found if one.reason]
    if not orphans and (problems or any(one.inventory.problems for one in found)):
        raise CloudError("Whether something was forgotten cannot be told. Give the same command again.")
    if not orphans:
        click.echo(f"Nothing was forgotten in {place}, {account.region}.", err=True)
        return 0
    ask(f"End these {len(orphans)}?", "yes", yes=yes, otherwise="Nothing was ended.")
    for one in orphans:
        now = look_at(one.account, place, one.name)  # its owner may have come meanwhile
        if now.reason:
            _report(one.account, one.name, end_cluster(one.account, place, one.name, only=now.ids))
        elif not now.inventory.is_empty:
            click.echo(f"{one.name}: left alone now, {now.state}", err=True)
    return 1


def _report(account: Account, name: str, end: End) -> int:
    """Say how a cluster has ended."""
    for problem in end.problems:
        click.echo(f"On the way: {problem}", err=True)
    cost = f" It has cost {end.spend.text}." if end.spend else ""
    if end.left.is_empty:
        click.echo(
            f"Nothing is left of {name}: looked for in {account.region} and not found.{cost}", err=True
        )
        return 0
    for line in end.left.lines():
        click.echo(f"Left of {name}: {line}", err=True)
    again = "It costs money as long as it is there. " if end.left.costs else "It costs nothing. "
    click.echo(f"Not all of {name} could be ended.{cost} {again}Give the same command again.", err=True)
    return 1
