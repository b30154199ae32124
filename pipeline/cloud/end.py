"""The end of a cluster: everything is ended, whatever fails on the way, and then looked for again."""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from botocore.exceptions import ClientError

from pipeline.cloud import document
from pipeline.cloud.aws import Account, explained, is_missing
from pipeline.cloud.document import Cluster
from pipeline.cloud.inventory import Inventory, is_others, take_inventory
from pipeline.cloud.lease import end_schedule
from pipeline.cloud.names import Place
from pipeline.cloud.spend import Spend, spend
from pipeline.cloud.store import Store
from pipeline.errors import CloudError

__all__ = ["SETTLE", "End", "end_cluster", "end_instances", "undisturbed"]

log = logging.getLogger(__name__)

SETTLE = 10.0
"""Seconds to look for instances of a request that was interrupted: a new one is not listed at once."""

_PATIENCE = 600.0  # seconds for instances to be gone
_PAUSE = 2.0
_PARAMETERS = 10  # of one request
_NO_ID = "-"  # AWS refuses a filter without values
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass
class End:
    """How a cluster has ended.

    Attributes
    ----------
    left : `~pipeline.cloud.inventory.Inventory`
        What a last look has found; empty if all went well.
    problems : `list` [`str`]
        What was refused on the way.
    spend : `~pipeline.cloud.spend.Spend` or `None`
        What it has cost; `None` if its document is lost.
    """

    left: Inventory
    problems: list[str]
    spend: Spend | None


def end_cluster(
    account: Account,
    place: Place,
    name: str,
    *,
    only: Collection[str] | None = None,
    settle: float = 0.0,
) -> End:
    """End everything that belongs to a cluster.

    Instances go first; they are told to end as long as one is alive. What
    ends them without us (the schedule at AWS) and what tells of them (the
    document) are only removed when it is proven that none is left. Another
    cluster to which the name belongs meanwhile is left alone.

    Parameters
    ----------
    account : `~pipeline.cloud.aws.Account`
        Where.
    place : `~pipeline.cloud.names.Place`
        Place of the cluster.
    name : `str`
        Its name.
    only : `~collections.abc.Collection` [`str`], optional
        Ids of the clusters that are meant; else all that has the name now.
    settle : `float`, optional
        Seconds to look again for instances, if a request to start some may
        have been interrupted.
    """
    problems: list[str] = []
    store = Store(account, place, name)
    cluster = _say_ending(store, only, problems)
    if only is None:
        only = take_inventory(account, place, name).ids | ({cluster.id} if cluster else set())
    ids = set(only) or {_NO_ID}  # then only what has a name is left
    noted = {launch.fleet for launch in (cluster.launches if cluster else ())}
    left, refused = _end_instances(account, lambda: take_inventory(account, place, name, ids), noted, settle)
    problems += refused
    status = None
    with suppress(CloudError):  # without it, the costs are estimated
        status = store.read_json("status.json")
    spent = spend(cluster, left.instances, status, time.time()) if cluster else None
    _remove_rest(account, place, name, left, ids, problems)
    return End(take_inventory(account, place, name, ids), problems, spent)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Ignore another Ctrl-C, which must not leave machines running."""
    handlers = {number: signal.signal(number, signal.SIG_IGN) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _say_ending(store: Store, only: Collection[str] | None, problems: list[str]) -> Cluster | None:
    """Let the head know, and everybody who looks; return the cluster if its document can be read."""
    cluster = None
    try:
        found = document.read(store)
        if found and (only is None or found[0].id in only):
            cluster = found[0]
            document.say_ending(store, cluster.id)
    except CloudError as error:
        problems.append(str(error))
    return cluster


def _end_instances(
    account: Account, look: Callable[[], Inventory], noted: Iterable[str], settle: float
) -> tuple[Inventory, list[str]]:
    """End instances until none is left; return the last look, and what was refused at last."""
    begin, said = time.monotonic(), False
    fleets, found = set(noted), look()
    while True:
        refused: list[str] = []
        end_instances(account, sorted(fleets | {*found.fleets}), found.alive, refused)
        fleets = set()  # those that could not be deleted are found again
        found = look()
        elapsed = time.monotonic() - begin
        if elapsed > _PATIENCE and found.alive:
            refused.append(f"instances do not end within {_PATIENCE:.0f} s: {', '.join(found.alive)}")
        is_over = found.is_refused or not (found.alive or found.is_blind)
        if elapsed > _PATIENCE or (elapsed >= settle and is_over):
            return found, refused
        if found.is_blind and not said:
            said = True
            log.warning("Whether all instances have ended cannot be told yet: %s", found.problems[0])
        if found.alive:
            log.info("Waiting for %d instances to end", len(found.alive))
        time.sleep(_PAUSE)


def end_instances(
    account: Account, fleets: Iterable[str], instances: Sequence[str], problems: list[str]
) -> None:
    """Tell fleets and instances to end; what is refused is noted."""
    ec2 = account.client("ec2")
    for fleet in fleets:
        _try(
            f"delete the fleet {fleet}",
            partial(_delete_fleet, ec2, fleet),
            # A fleet whose instances have all ended may be refused, or be gone.
            problems if instances else [],
        )
    if not instances:
        return
    try:  # also those whose fleet is not known
        with explained("terminate instances"):
            ec2.terminate_instances(InstanceIds=list(instances))
    except CloudError:  # one that AWS does not know (yet, or any more) keeps it from ending the others
        for instance in instances:
            _try(
                f"terminate the instance {instance}",
                partial(ec2.terminate_instances, InstanceIds=[instance]),
                problems,
            )


def _delete_fleet(ec2: Any, fleet: str) -> None:
    """Delete a fleet; what AWS refuses is in an answer that looks like success."""
    answer = ec2.delete_fleets(FleetIds=[fleet], TerminateInstances=True)
    for refused in answer.get("UnsuccessfulFleetDeletions", ()):
        if refused["Error"]["Code"] != "fleetNotInDeletableState":  # it is being deleted already
            raise ClientError({"Error": refused["Error"]}, "DeleteFleets")


def _remove_rest(
    account: Account,
    place: Place,
    name: str,
    left: Inventory,
    ids: Collection[str],
    problems: list[str],
) -> None:
    """Remove what costs nothing, and last what tells of the cluster."""
    ec2, ssm = account.client("ec2"), account.client("ssm")
    for volume in left.volumes:
        _try(f"delete the volume {volume}", partial(ec2.delete_volume, VolumeId=volume), problems)
    for begin in range(0, len(left.parameters), _PARAMETERS):
        batch = left.parameters[begin : begin + _PARAMETERS]
        _try("delete secrets", partial(ssm.delete_parameters, Names=batch), problems)
    for template in left.templates:
        _try(
            f"delete the launch template {template}",
            partial(ec2.delete_launch_template, LaunchTemplateName=template),
            problems,
        )
    if left.alive or left.problems:
        return  # the schedule still has to end what is left, and the document tells of it

    def remove_named() -> None:
        if not is_others(account, place, name, ids):
            end_schedule(account, place, name)
            Store(account, place, name).remove()

    _try("remove the schedule and the documents", remove_named, problems)


def _try(what: str, action: Callable[[], object], problems: list[str]) -> None:
    """Do something; what fails is noted, and everything else goes on."""
    try:
        with explained(what):
            action()
    except CloudError as error:
        if not is_missing(error):
            log.debug("%s", error)
            problems.append(str(error))
