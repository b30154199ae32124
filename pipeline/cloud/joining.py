"""Waiting for instances that were started to join their cluster."""

from __future__ import annotations

import logging
import time

from pipeline.cloud import document
from pipeline.cloud.aws import Account
from pipeline.cloud.inventory import is_alive, take_inventory
from pipeline.cloud.logs import last_lines
from pipeline.cloud.names import Place, tags_of
from pipeline.cloud.plan import in_words
from pipeline.cloud.store import Store
from pipeline.errors import CloudError

__all__ = ["wait_for_workers"]

log = logging.getLogger(__name__)

START_SECONDS = 900.0
"""Time for all workers to be there."""

_TICK = 2.0


def wait_for_workers(
    account: Account, place: Place, store: Store, cluster_id: str, count: int, launch_id: str = "first"
) -> None:
    """Wait until the worker instances of a launch have joined.

    Parameters
    ----------
    account : `~pipeline.cloud.aws.Account`
        Where.
    place : `~pipeline.cloud.names.Place`
        Place of the cluster.
    store : `~pipeline.cloud.store.Store`
        Where its documents are.
    cluster_id : `str`
        The cluster.
    count : `int`
        How many were launched.
    launch_id : `str`, optional
        Which launch; others may come and go.

    Raises
    ------
    CloudError
        If an instance ends, or it takes too long; the end of its log is shown.
    """
    begin = time.time()
    said = -1
    while True:
        now = time.time()
        status = store.read_json("status.json") or {}
        joined = status.get("workers", {}).keys() if status.get("id") == cluster_id else set()
        there = len(joined & _launched(account, place, store, cluster_id, launch_id))
        if there >= count:
            return
        if there != said:
            log.info("%d of %d workers are there, after %s", there, count, in_words(now - begin))
            said = there
        if now - begin > START_SECONDS:
            raise CloudError(
                f"Only {there} of {count} workers have joined within {in_words(START_SECONDS)}. "
                + last_lines(account, place, store, cluster_id)
            )
        time.sleep(_TICK)


def _launched(account: Account, place: Place, store: Store, cluster_id: str, launch_id: str) -> set[str]:
    """Return the instances of a launch.

    Raises
    ------
    CloudError
        If one of them, or the head, has ended.
    """
    found = document.read(store)
    if found is None or found[0].id != cluster_id or found[0].phase == "ending":
        raise CloudError(f"Somebody else has ended the cluster of {store.uri()} meanwhile.")
    head = found[0].head.get("instance")
    inventory = take_inventory(account, place, found[0].name, {cluster_id})
    ours = {
        item["InstanceId"]: item
        for item in inventory.instances
        if tags_of(item).get("isr:launch") == launch_id or item["InstanceId"] == head
    }
    for name, item in ours.items():
        if not is_alive(item):
            reason = item.get("StateReason", {}).get("Message") or item.get("StateTransitionReason", "")
            raise CloudError(
                f"The instance {name} has ended ({reason or 'no reason given'}). "
                + last_lines(account, place, store, cluster_id, name)
            )
    return set(ours)
