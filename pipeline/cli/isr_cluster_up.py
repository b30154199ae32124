"""``isr-cluster check`` and ``up``."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from pipeline.cli.cluster_options import (
    DURATION,
    ask,
    name_argument,
    price_option,
    with_account,
    yes_option,
)
from pipeline.errors import CloudError

if TYPE_CHECKING:
    from pipeline.cloud.aws import Account
    from pipeline.cloud.check import Checks, Finding, Wish
    from pipeline.cloud.names import Place

__all__ = ["check", "up"]

_COLOURS = {"ok": "green", "unsure": "yellow", "bad": "red"}
_SHORTEST = 600  # seconds of lease: a start takes some minutes, and the last two are for the end
_SHORTEST_IDLE = 60  # seconds, in which isr-run must come
_LONGEST = 7 * 86400  # seconds; longer by `extend`
_SECRET = 4096  # characters of a parameter


def _machine_options(function: Callable[..., Any]) -> Callable[..., Any]:
    options = (
        click.option("-n", "--workers", type=click.IntRange(1, 999), required=True, help="Worker instances."),
        click.option(
            "--type",
            "types",
            default="m5.xlarge,m5a.xlarge,m6i.xlarge",
            show_default=True,
            metavar="TYPE[,TYPE...]",
            help="Instance types of the workers; AWS takes what it has, and what is cheaper.",
        ),
        click.option(
            "--head", default="m5.large", show_default=True, metavar="TYPE", help="Instance type of the head."
        ),
        click.option(
            "--spot", "market", flag_value="spot", help="Spot instances: cheap, may be taken back by AWS."
        ),
        click.option(
            "--on-demand",
            "market",
            flag_value="on-demand",
            default=True,
            help="On-demand instances. [default]",
        ),
        click.option(
            "--spot-with-fallback",
            "market",
            flag_value="fallback",
            help="Spot instances, and on-demand ones where AWS has too few.",
        ),
        click.option(
            "--image",
            envvar="ISR_IMAGE",
            default="",
            metavar="IMAGE",
            help="Container image; or the variable ISR_IMAGE.",
        ),
        click.option(
            "--ami",
            default="",
            metavar="AMI",
            help="Machine image with cloud-init, systemd, and dnf or Docker. [default: Amazon Linux 2023]",
        ),
        click.option(
            "--subnet",
            "subnets",
            default="",
            metavar="SUBNET[,SUBNET...]",
            help="At most one of each zone. [default: the public ones]",
        ),
    )
    for option in reversed(options):
        function = option(function)
    return function


def _wish(options: dict[str, Any]) -> Wish:
    from pipeline.cloud.check import Wish

    types = tuple(dict.fromkeys(_words(options["types"])))
    if not types:
        raise click.UsageError("--type: name at least one instance type, for example m5.xlarge.")
    market: Literal["spot", "on-demand"] = "on-demand" if options["market"] == "on-demand" else "spot"
    return Wish(
        image=options["image"],
        ami=options["ami"],
        head=options["head"],
        types=types,
        workers=options["workers"],
        market=market,
        fallback=options["market"] == "fallback",
        subnets=_words(options["subnets"]),
    )


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


@click.command()
@_machine_options
@with_account
def check(account: Account, place: Place, **options: Any) -> int:
    """Check whether all is there that a cluster needs; nothing is started.

    Exit codes: 0 all is well, 1 something is missing, 2 wrong usage.
    """
    from pipeline.cloud.check import Checks

    checks = Checks(account, place, _wish(options))
    for finding in checks.run():
        _show(finding)
    return 1 if checks.bad else 0


def _show(finding: Finding) -> None:
    mark = click.style(f"{finding.state:7}", fg=_COLOURS[finding.state])
    click.echo(f"{mark} {finding.what}: {finding.text}", err=True)


@click.command()
@name_argument
@_machine_options
@click.option(
    "--idle", type=DURATION, default="5m", show_default=True, help="Time without work after which all ends."
)
@click.option(
    "--lease", type=DURATION, default="2h", show_default=True, help="Time after which all ends in any case."
)
@click.option("--budget", type=float, metavar="USD", help="Refuse what could cost more.")
@click.option(
    "--processes",
    type=click.IntRange(0, 128),
    default=0,
    help="Worker processes of each instance. [default: one for each processor, as far as memory allows]",
)
@click.option(
    "--db-auth",
    metavar="FILE",
    help="Credentials of the registry's database (as LSST_DB_AUTH), for the head; kept encrypted.",
)
@price_option
@click.option("--dry-run", is_flag=True, help="Check, show plan and costs, start nothing.")
@yes_option
@with_account
def up(
    account: Account,
    place: Place,
    name: str,
    idle: int,
    lease: int,
    budget: float | None,
    processes: int,
    db_auth: str | None,
    prices: tuple[str, ...],
    dry_run: bool,
    yes: bool,
    **options: Any,
) -> int:
    """Start a cluster: one head and -n workers, all of it or nothing.

    It ends by itself after --idle without work, and after --lease whatever
    happens, also if this machine is gone. isr-run --dask ec2:NAME uses it,
    isr-cluster down NAME ends it.

    Exit codes: 0 it runs, 1 error (nothing is left running), 2 wrong usage, 130 interrupted (the same).
    """
    from pipeline.cloud.names import check_name
    from pipeline.cloud.plan import check_budget
    from pipeline.cloud.up import Start, refuse_if_used, remove_remains, start_cluster

    check_name(name)
    _check_limits(idle, lease, budget)
    secret = _read_credentials(db_auth) if db_auth else ""
    wish, given = _wish(options), _prices(prices)
    checks = _pass_checks(account, place, wish)
    remains = refuse_if_used(account, place, name)
    plan = _plan(account, name, wish, given, options["market"] == "fallback", lease, idle)
    assert checks.network is not None
    for line in plan.lines(budget, len(checks.network.zones)):
        click.echo(line, err=True)
    for line in remains.lines:
        click.echo(f"  removed first, of an earlier {name} that has ended by itself: {line}", err=True)
    check_budget(plan.ceiling, budget)
    if dry_run:
        click.echo("Nothing was started (--dry-run).", err=True)
        return 0
    ask("Start it?", "yes", yes=yes)
    begin = time.monotonic()
    remains = refuse_if_used(account, place, name)  # somebody may have been quicker than the answer
    if remains.lines:
        remove_remains(account, place, name, remains)
    start = Start(plan, checks.image, checks.ami, checks.network, processes, budget, secret)
    cluster = start_cluster(account, place, start)
    ends = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(cluster.lease_until))
    click.echo(
        f"The cluster {name} is up after {time.monotonic() - begin:.0f} s, until {ends} at the latest. Use it"
        f": isr-run -b REPO -i HSC/defaults -o u/$USER/visit -d QUERY --dask ec2:{name}",
        err=True,
    )
    click.echo(name)
    return 0


def _check_limits(idle: int, lease: int, budget: float | None) -> None:
    if not _SHORTEST <= lease <= _LONGEST:
        raise click.UsageError("--lease: expected from 10m to 7d; isr-cluster extend makes it longer later.")
    if budget is not None and not budget > 0:
        raise click.UsageError("--budget: expected more than 0 USD.")
    if not _SHORTEST_IDLE <= idle <= lease:
        raise click.UsageError("--idle: expected from 1m to the --lease.")


def _pass_checks(account: Account, place: Place, wish: Wish) -> Checks:
    """Make all checks; show what is not in order, and end if something is missing."""
    from pipeline.cloud.check import Checks

    checks = Checks(account, place, wish)
    for finding in checks.run():
        if finding.state != "ok":
            _show(finding)
    if checks.bad:
        raise CloudError(f"Nothing was started: {len(checks.bad)} of {len(checks.findings)} checks failed.")
    return checks


def _plan(
    account: Account, name: str, wish: Wish, given: dict[str, float], fallback: bool, lease: int, idle: int
) -> Any:
    from pipeline.cloud.plan import Plan
    from pipeline.cloud.prices import on_demand_prices, spot_prices

    is_spot = wish.market == "spot"
    return Plan(
        name=name,
        head=wish.head,
        types=wish.types,
        workers=wish.workers,
        spot=is_spot,
        fallback=fallback,
        lease=lease,
        idle=idle,
        on_demand=on_demand_prices(account, tuple(dict.fromkeys((wish.head, *wish.types))), given),
        spot_now=spot_prices(account, wish.types) if is_spot else {},
    )


def _prices(texts: tuple[str, ...]) -> dict[str, float]:
    prices = {}
    for text in texts:
        kind, _, number = text.partition("=")
        try:
            prices[kind] = float(number)
        except ValueError:
            prices[kind] = math.nan
        if not 0 < prices[kind] < math.inf:
            raise click.UsageError(f"--price {text}: expected TYPE=USD, for example m7i-flex.xlarge=0.19.")
    return prices


def _read_credentials(path: str) -> str:
    """Return the content of a file of credentials, which must be as private as LSST's tools want it."""
    file = Path(path).expanduser()
    try:
        text = file.read_text()
        is_open = file.stat().st_mode & 0o077
    except OSError as error:
        raise click.UsageError(f"--db-auth {path}: {error.strerror}.") from None
    if is_open and os.name == "posix":
        raise click.UsageError(f"--db-auth {path}: others can read it: chmod 600 {path}")
    if not text.strip() or len(text.encode()) > _SECRET:
        raise click.UsageError(f"--db-auth {path}: expected some lines of YAML, {_SECRET} bytes at most.")
    return text
