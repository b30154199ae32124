"""A running cluster gets more or fewer workers, or more time."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.cloud import document
from pipeline.cloud.aws import explained
from pipeline.cloud.document import Cluster
from pipeline.cloud.inventory import Inventory, take_inventory
from pipeline.cloud.lease import put_schedule
from pipeline.cloud.names import tag_list, tags_of
from pipeline.cloud.opened import Opened
from pipeline.cloud.plan import check_budget
from pipeline.cloud.spend import spend
from pipeline.cloud.up import add_workers, wait_for_workers
from pipeline.cloud.user_data import LONGEST_LEASE
from pipeline.errors import CloudError

__all__ = ["Forecast", "extend", "forecast", "scale"]

log = logging.getLogger(__name__)

_HOUR = 3600.0
_SHORTEST = 300  # seconds of lease that must be left to start something


@dataclass(frozen=True)
class Forecast:
    """What a change may cost.

    Attributes
    ----------
    spent : `float`
        At most, until now, in USD.
    hourly : `float`
        The most that an hour costs from now on, in USD.
    ceiling : `float`
        The most that may still come until the end of the lease, in USD.
    present : `int`
        Worker instances that are alive now.
    """

    spent: float
    hourly: float
    ceiling: float
    present: int


def forecast(opened: Opened, workers: int, lease_until: int, prices: Mapping[str, float]) -> Forecast:
    """Return what a cluster may cost with another number of workers or another lease.

    Raises
    ------
    CloudError
        If it does not run, or it would be over its budget.
    """
    cluster, now = opened.cluster, time.time()
    if cluster.phase != "running":
        raise CloudError(f"The cluster {cluster.name} is {cluster.phase}; only one that runs can be changed.")
    found = take_inventory(opened.account, opened.place, cluster.name)
    if found.problems:
        raise CloudError(f"What there is of {cluster.name} cannot be told: {found.problems[0]}")
    if cluster.head.get("instance") not in found.alive:
        raise CloudError(
            f"The head of {cluster.name} has ended ({opened.status().get('reason') or 'why is not known'}). "
            f"The cluster is over: isr-cluster up {cluster.name} makes another."
        )
    dearest = max(prices.values(), default=0.0)
    head = next((max(launch.price.values()) for launch in cluster.launches if launch.role == "head"), dearest)
    hourly = head + workers * dearest
    ceiling = hourly * max(0.0, lease_until - now) / _HOUR
    spent = spend(cluster, found.instances, opened.status(), now).usd
    check_budget(ceiling, cluster.budget, spent)
    return Forecast(spent, hourly, ceiling, len(_workers_of(found)))


def worker_prices(cluster: Cluster) -> dict[str, float]:
    """Return the types of the workers, and the most that an hour of each costs, in USD."""
    return next((dict(launch.price) for launch in cluster.launches if launch.role == "worker"), {})


def scale(opened: Opened, workers: int, present: int) -> None:
    """Bring a cluster to a number of worker instances.

    New ones are started here; those that are too many are ended by the head,
    after the quanta that they execute.

    Parameters
    ----------
    opened : `~pipeline.cloud.opened.Opened`
        The cluster.
    workers : `int`
        How many it shall have.
    present : `int`
        How many it has.

    Raises
    ------
    CloudError
        If AWS has fewer; then the cluster stays as it was.
    """
    cluster = opened.cluster
    missing = workers - present
    if missing > 0 and cluster.lease_until - time.time() < _SHORTEST:
        raise CloudError(
            f"The lease of {cluster.name} is over soon. First: isr-cluster extend {cluster.name} 1h"
        )
    old = cluster.workers
    opened_to = document.update(
        opened.store, cluster.id, lambda current: setattr(current, "workers", workers)
    )
    if missing <= 0:
        return
    known = {launch.fleet for launch in cluster.launches}
    try:
        add_workers(opened.account, opened.place, opened.store, opened_to, missing, worker_prices(cluster))
        wait_for_workers(opened.account, opened.place, opened.store, cluster.id, workers)
    except BaseException:
        log.warning("Ending the workers that were just started; please wait")
        document.update(opened.store, cluster.id, lambda current: setattr(current, "workers", old))
        _end_new(opened, known)
        raise


def _end_new(opened: Opened, known: set[str]) -> None:
    """End the instances of the fleets that were not there before."""
    ec2 = opened.account.client("ec2")
    found = document.read(opened.store)
    new = [launch for launch in (found[0].launches if found else ()) if launch.fleet not in known]
    for launch in new:
        if launch.instances:
            with explained(f"end the fleet {launch.fleet}"):
                ec2.delete_fleets(FleetIds=[launch.fleet], TerminateInstances=True)


def extend(opened: Opened, until: int) -> None:
    """Let a cluster live longer: at AWS first, then on its machines, which read the document.

    Parameters
    ----------
    opened : `~pipeline.cloud.opened.Opened`
        The cluster.
    until : `int`
        New end of the lease, in seconds since 1970.

    Raises
    ------
    CloudError
        If that is too long, or no later than now.
    """
    cluster = opened.cluster
    if until <= cluster.lease_until:
        raise CloudError(f"The lease of {cluster.name} is longer already; to end it: isr-cluster down.")
    if until > cluster.created + LONGEST_LEASE:
        raise CloudError(
            f"No cluster lives longer than {LONGEST_LEASE // 86400} days: its certificates end then. "
            f"isr-cluster down {cluster.name}, then up makes another."
        )
    fleets = [launch.fleet for launch in cluster.launches]
    put_schedule(opened.account, opened.place, cluster.name, fleets, until)
    document.update(opened.store, cluster.id, lambda current: setattr(current, "lease_until", until))
    found = take_inventory(opened.account, opened.place, cluster.name)
    if found.alive:
        with explained("tag the instances with the new end of the lease"):
            opened.account.client("ec2").create_tags(
                Resources=found.alive, Tags=tag_list({"isr:lease-until": str(until)})
            )


def _workers_of(found: Inventory) -> list[str]:
    return [
        item["InstanceId"]
        for item in found.instances
        if item["InstanceId"] in found.alive and tags_of(item).get("isr:role") == "worker"
    ]
