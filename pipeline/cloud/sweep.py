"""Clusters that nobody looks after any more, and what others have left."""

from __future__ import annotations

import time
from dataclasses import dataclass

from pipeline.cloud.aws import Account
from pipeline.cloud.document import Cluster, is_abandoned
from pipeline.cloud.inventory import Inventory, find_names, take_inventory
from pipeline.cloud.names import Place, tags_of
from pipeline.cloud.opened import Opened, find_cluster
from pipeline.cloud.plan import in_words
from pipeline.errors import CloudError

__all__ = ["Found", "look_at", "look_for_orphans"]

_SILENT = 900.0  # seconds without a status; a head that works writes one every ten
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
    ids : `frozenset` [`str`] or `None`
        Ids of the clusters that have the name, if they can be told.
    """

    name: str
    owner: str
    reason: str
    state: str
    account: Account
    inventory: Inventory
    ids: frozenset[str] | None


def look_for_orphans(account: Account, place: Place) -> tuple[list[Found], list[str]]:
    """Look at all clusters of a place.

    Parameters
    ----------
    account : `~pipeline.cloud.aws.Account`
        Where.
    place : `~pipeline.cloud.names.Place`
        The place. What belongs to other places is left alone.

    Returns
    -------
    found : `list` [`Found`]
        By name.
    problems : `list` [`str`]
        What could not be listed.
    """
    names, problems = find_names(account, place)
    return [look_at(account, place, name) for name in sorted(names)], problems


def look_at(account: Account, place: Place, name: str) -> Found:
    """Look at a cluster: is anybody looking after it?"""
    now = time.time()
    opened, problem, is_broken = None, "", False
    try:
        opened = find_cluster(account, place, name)
    except CloudError as error:  # AWS does not give it, or nobody can read it
        problem, is_broken = str(error), error.__cause__ is None
    there = opened.account if opened else account
    inventory = take_inventory(there, place, name)
    alive = [item for item in inventory.instances if item["InstanceId"] in inventory.alive]
    leases = [int(tags_of(item).get("isr:lease-until", "0")) for item in alive]
    if problem and not (is_broken and now > max(leases, default=0)):
        inventory.problems.append(problem)
    owner = opened.cluster.owner if opened else next((tags_of(i).get("isr:owner", "?") for i in alive), "?")

    def found(reason: str, state: str = "") -> Found:
        ids = None if problem else frozenset(inventory.ids | ({opened.cluster.id} if opened else set()))
        return Found(name, owner, reason, state, there, inventory, ids)

    if inventory.problems:
        return found("", f"how it is cannot be told: {inventory.problems[0]}")
    if opened is None:
        newest = max((item["LaunchTime"].timestamp() for item in alive), default=0.0)
        if now - newest < _NEW:
            return found("", "its instances are new, and there is no document yet")
        return found("there is no document of it" if alive else "it has ended, and left something")
    if reason := _reason(opened, inventory, now):
        return found(reason)
    return found("", _state(opened.cluster, now))


def _reason(opened: Opened, inventory: Inventory, now: float) -> str:
    """Return why a cluster has to be ended; ``""`` if it has not."""
    cluster = opened.cluster
    if is_abandoned(cluster, now):
        return "the command that started it was lost"
    if cluster.phase == "starting":
        return ""
    if now > cluster.lease_until:
        return "its lease is over"
    if cluster.phase == "ending":
        return "" if now - cluster.heartbeat < _ENDING else "it was to be ended, and something is left"
    if not inventory.alive:
        return "it has ended, and left something"
    if cluster.head.get("instance") not in inventory.alive:
        return "its head has ended"
    said = opened.status()
    silence = now - float(said.get("time", cluster.created))
    return f"its head has been silent for {in_words(silence)}" if silence > _SILENT else ""


def _state(cluster: Cluster, now: float) -> str:
    """Say how a cluster is that somebody looks after."""
    if cluster.phase == "starting":
        return f"is being started, last sign of life {now - cluster.heartbeat:.0f} s ago"
    if cluster.phase == "ending":
        return f"is being ended, since {now - cluster.heartbeat:.0f} s"
    return "runs"
