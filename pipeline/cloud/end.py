"""The end of a cluster: everything is ended, whatever fails on the way, and then looked for again."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
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

__all__ = ["End", "end_cluster"]

log = logging.getLogger(__name__)

_PATIENCE = 600.0  # seconds for instances to be gone
_PAUSE = 2.0
_PARAMETERS = 10  # of one request


@dataclass
class End:
    """How a cluster has ended.

    Attributes
    ----------
    left : `~pipeline.cloud.inventory.Inventory`
        What a last look has found; empty if all went well.
    problems : `list` [`str`]
        What was refused on the way.
    instances : `int`
        Number of instances that were alive at the beginning.
    spend : `~pipeline.cloud.spend.Spend` or `None`
        What it has cost; `None` if its document is lost.
    """

    left: Inventory
    problems: list[str]
    instances: int
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
    begun = take_inventory(account, place, name)
    deadline = time.monotonic() + settle
    left = begun
    while True:
        fleets = {*left.fleets, *(launch.fleet for launch in (cluster.launches if cluster else ()))}
        _end_instances(account, sorted(fleets), left, problems)
        left = _wait_for_end(account, place, name, problems)
        if time.monotonic() >= deadline:
            break
        time.sleep(_PAUSE)
    spent = None
    if cluster is not None:
        with suppress(CloudError):
            spent = spend(cluster, left.instances, store.read_json("status.json"), time.time())
    _remove_rest(account, place, name, left, problems)
    left = take_inventory(account, place, name)
    return End(left, problems, len(begun.alive), spent)


def _say_ending(store: Store, problems: list[str]) -> Cluster | None:
    """Let the head know, and everybody who looks; return the cluster if its document can be read."""
    try:
        found = document.read(store)
        if found is None:
            return None
        return document.update(store, found[0].id, lambda cluster: setattr(cluster, "phase", "ending"))
    except CloudError as error:
        problems.append(str(error))
        return None


def _end_instances(account: Account, fleets: Sequence[str], found: Inventory, problems: list[str]) -> None:
    ec2 = account.client("ec2")
    for fleet in fleets:
        _try(
            f"delete the fleet {fleet}",
            partial(ec2.delete_fleets, FleetIds=[fleet], TerminateInstances=True),
            # A fleet whose instances have all ended may be refused, or be gone.
            [] if not found.alive else problems,
        )
    if found.alive:  # also those whose fleet is not known
        _try("terminate instances", partial(ec2.terminate_instances, InstanceIds=found.alive), problems)


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
