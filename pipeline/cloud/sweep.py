"""Clusters that nobody looks after any more, and what others have left."""

from __future__ import annotations

import time
from dataclasses import dataclass

from pipeline.cloud.aws import Account
from pipeline.cloud.inventory import Inventory, cluster_names, take_inventory
from pipeline.cloud.names import Place, tags_of
from pipeline.cloud.opened import find_cluster
from pipeline.cloud.up import is_abandoned
from pipeline.errors import CloudError

__all__ = ["Found", "look_for_orphans"]

_ENDING = 300.0  # seconds for `isr-cluster down`: jobs register what they have finished, machines end
_NEW = 60.0  # seconds in which an instance may belong to a command whose note is on its way


@dataclass(frozen=True)
class Found:
    """A cluster of which there is something.

    Attributes
    ----------
    name, owner : `str`
        Its name, and who made it.
    reason : `str`
        Why it has to be ended; ``""`` if it is well.
    state : `str`
        What it is, if it is well.
    account : `~pipeline.cloud.aws.Account`
        In its region.
    inventory : `~pipeline.cloud.inventory.Inventory`
        What there is of it.
    """

    name: str
    owner: str
    reason: str
    state: str
    account: Account
    inventory: Inventory


def look_for_orphans(account: Account, place: Place) -> list[Found]:
    """Look at all clusters of a place.

    Parameters
    ----------
    account : `~pipeline.cloud.aws.Account`
        Where.
    place : `~pipeline.cloud.names.Place`
        The place. What belongs to other places is left alone.

    Raises
    ------
    CloudError
        If something cannot be listed.
    """
    return [_look_at(account, place, name) for name in sorted(cluster_names(account, place))]


def _look_at(account: Account, place: Place, name: str) -> Found:
    now = time.time()
    opened, problem = None, ""
    try:
        opened = find_cluster(account, place, name)
    except CloudError as error:
        if error.__cause__ is not None:  # AWS does not give it; one that is broken protects nothing
            problem = str(error)
    there = opened.account if opened else account
    inventory = take_inventory(there, place, name)
    inventory.problems += [problem] if problem else []
    alive = [item for item in inventory.instances if item["InstanceId"] in inventory.alive]
    owner = opened.cluster.owner if opened else next((tags_of(i).get("isr:owner", "?") for i in alive), "?")

    def found(reason: str, state: str = "") -> Found:
        return Found(name, owner, reason, state, there, inventory)

    if inventory.problems:
        return found("", f"how it is cannot be told: {inventory.problems[0]}")
    if opened is None:
        newest = max((item["LaunchTime"].timestamp() for item in alive), default=0.0)
        if now - newest < _NEW:
            return found("", "its instances are new, and there is no document yet")
        return found("there is no document of it" if alive else "it has ended, and left something")
    cluster = opened.cluster
    ids = {tags_of(item).get("isr:id") for item in alive}
    if is_abandoned(cluster, now):
        return found("the command that started it was lost")
    if cluster.phase == "starting":
        return found("", f"is being started, last sign of life {now - cluster.heartbeat:.0f} s ago")
    if now > cluster.lease_until:
        return found("its lease is over")
    if cluster.phase == "ending" and now - cluster.heartbeat < _ENDING:
        return found("", f"is being ended, since {now - cluster.heartbeat:.0f} s")
    if cluster.phase == "ending":
        return found("it was to be ended, and something is left")
    if not alive:
        return found("it has ended, and left something")
    if cluster.head.get("instance") not in inventory.alive:
        return found("its head has ended")
    if ids - {cluster.id}:
        return found("", "has instances of an earlier cluster of that name; they end with their lease")
    return found("", "runs")
