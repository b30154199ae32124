"""The end of a cluster: everything is ended, whatever fails on the way, and then looked for again."""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial

from pipeline.cloud import document
from pipeline.cloud.aws import Account, explained, is_missing
from pipeline.cloud.document import Cluster
from pipeline.cloud.inventory import Inventory, take_inventory
from pipeline.cloud.lease import end_schedule
from pipeline.cloud.names import Place
from pipeline.cloud.spend import Spend, spend
from pipeline.cloud.store import Store
from pipeline.errors import CloudError

__all__ = ["End", "end_cluster", "end_instances", "undisturbed"]

log = logging.getLogger(__name__)

_PATIENCE = 600.0  # seconds for instances to be gone
_PAUSE = 2.0
_PARAMETERS = 10  # of one request
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


def end_cluster(account: Account, place: Place, name: str, *, settle: float = 0.0) -> End:
    """End everything that belongs to a cluster.

    Instances go first. What ends them without us (the schedule at AWS) and
    what tells of them (the document) are only removed when it is proven that
    none is left.

    Parameters
    ----------
    account : `~pipeline.cloud.aws.Account`
        Where.
    place : `~pipeline.cloud.names.Place`
        Place of the cluster.
    name : `str`
        Its name.
    settle : `float`, optional
        Seconds to look again for instances, if a request to start some was
        interrupted: a new one is not listed at once.
    """
    problems: list[str] = []
    store = Store(account, place, name)
    cluster = _say_ending(store, problems)
    left = take_inventory(account, place, name)
    deadline = time.monotonic() + settle
    while True:
        fleets = {*left.fleets, *(launch.fleet for launch in (cluster.launches if cluster else ()))}
        end_instances(account, sorted(fleets), left.alive, problems)
        left = _wait_for_end(account, place, name, problems)
        if time.monotonic() >= deadline:
            break
        time.sleep(_PAUSE)
    status = None
    with suppress(CloudError):  # without it, the costs are estimated
        status = store.read_json("status.json")
    spent = spend(cluster, left.instances, status, time.time()) if cluster else None
    _remove_rest(account, place, name, left, problems)
    left = take_inventory(account, place, name)
    return End(left, problems, spent)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Ignore another Ctrl-C, which must not leave machines running."""
    handlers = {number: signal.signal(number, signal.SIG_IGN) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _say_ending(store: Store, problems: list[str]) -> Cluster | None:
    """Let the head know, and everybody who looks; return the cluster if its document can be read."""
    cluster = None
    try:
        if found := document.read(store):
            cluster = found[0]
            document.say_ending(store, cluster.id)
    except CloudError as error:
        problems.append(str(error))
    return cluster


def end_instances(
    account: Account, fleets: Sequence[str], instances: Sequence[str], problems: list[str]
) -> None:
    """End fleets and instances; what is refused is noted."""
    ec2 = account.client("ec2")
    for fleet in fleets:
        _try(
            f"delete the fleet {fleet}",
            partial(ec2.delete_fleets, FleetIds=[fleet], TerminateInstances=True),
            # A fleet whose instances have all ended may be refused, or be gone.
            problems if instances else [],
        )
    if instances:  # also those whose fleet is not known
        _try("terminate instances", partial(ec2.terminate_instances, InstanceIds=instances), problems)


def _wait_for_end(account: Account, place: Place, name: str, problems: list[str]) -> Inventory:
    """Wait until no instance is left; return the last look."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        found = take_inventory(account, place, name)
        if not found.alive:
            return found
        if time.monotonic() > deadline:
            problems.append(f"instances do not end within {_PATIENCE:.0f} s: {', '.join(found.alive)}")
            return found
        log.info("Waiting for %d instances to end", len(found.alive))
        time.sleep(_PAUSE)


def _remove_rest(account: Account, place: Place, name: str, left: Inventory, problems: list[str]) -> None:
    """Remove what costs nothing, and last what tells of the cluster."""
    ec2, ssm = account.client("ec2"), account.client("ssm")
    for volume in left.volumes:
        _try(f"delete the volume {volume}", partial(ec2.delete_volume, VolumeId=volume), problems)
    if left.parameters:
        names = [left.parameters[i : i + _PARAMETERS] for i in range(0, len(left.parameters), _PARAMETERS)]
        for batch in names:
            _try("delete secrets", partial(ssm.delete_parameters, Names=batch), problems)
    for template in left.templates:
        _try(
            f"delete the launch template {template}",
            partial(ec2.delete_launch_template, LaunchTemplateName=template),
            problems,
        )
    if left.alive or left.problems:
        return  # the schedule still has to end what is left, and the document tells of it
    _try("remove the schedule", lambda: end_schedule(account, place, name), problems)
    _try("remove the documents", lambda: Store(account, place, name).remove(), problems)


def _try(what: str, action: Callable[[], object], problems: list[str]) -> None:
    """Do something; what fails is noted, and everything else goes on."""
    try:
        with explained(what):
            action()
    except CloudError as error:
        if not is_missing(error):
            log.debug("%s", error)
            problems.append(str(error))
