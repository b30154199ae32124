"""A running cluster gets more or fewer workers, or more time."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pipeline.cloud import document
from pipeline.cloud.aws import explained
from pipeline.cloud.document import Cluster
from pipeline.cloud.end import SETTLE, end_instances, undisturbed
from pipeline.cloud.inventory import Inventory, is_alive, take_inventory
from pipeline.cloud.joining import wait_for_workers
from pipeline.cloud.lease import MOST_FLEETS, arm, live_fleets
from pipeline.cloud.names import tag_list, tags_of
from pipeline.cloud.opened import Opened
from pipeline.cloud.plan import check_budget, in_words
from pipeline.cloud.spend import spend
from pipeline.cloud.up import add_workers
from pipeline.cloud.user_data import LONGEST_LEASE
from pipeline.errors import CloudError

__all__ = ["Forecast", "extend", "forecast", "scale"]

log = logging.getLogger(__name__)

_HOUR = 3600.0
_SHORTEST = 300  # seconds of lease that must be left to start something
_PATIENCE = 300.0  # seconds for new instances to be gone again
_TICK = 2.0
_SILENT = 60.0  # seconds after which a head may have ended


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
    _refuse_if_stopping(opened, now)
    if cluster.head.get("instance") not in found.staying:
        raise CloudError(
            f"The head of {cluster.name} has ended ({opened.status().get('reason') or 'why is not known'}). "
            f"The cluster is over: isr-cluster up {cluster.name} makes another."
        )
    dearest = max(prices.values(), default=0.0)
    head = next((max(launch.price.values()) for launch in cluster.launches if launch.role == "head"), dearest)
    hourly = head + workers * dearest
    ceiling = hourly * max(0.0, lease_until - now) / _HOUR
    spent = spend(cluster, found.instances, opened.status(), now).usd
    present = len(_workers_of(found, opened.status()))
    if workers > present or lease_until > cluster.lease_until:  # what is cheaper is never refused
        check_budget(ceiling, cluster.budget, spent)
    return Forecast(spent, hourly, ceiling, present)


def _refuse_if_stopping(opened: Opened, now: float) -> None:
    said, name = opened.status(), opened.cluster.name
    if said.get("phase") == "stopping":
        raise CloudError(
            f"The cluster {name} is ending ({said.get('reason')}). isr-cluster up {name} makes another."
        )
    if said and now - said["time"] > _SILENT:
        raise CloudError(
            f"The head of {name} has been silent for {in_words(now - said['time'])}: isr-cluster status "
            f"{name} shows more, isr-cluster down {name} ends it."
        )


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
    if missing <= 0:
        _want(opened, workers)
        return
    if len(live_fleets(opened.account, cluster)) > MOST_FLEETS - 2:  # spot, and on-demand in their place
        raise CloudError(
            f"{cluster.name} was scaled too often: AWS ends {MOST_FLEETS} fleets at once. "
            "Make another cluster."
        )
    launch_id = uuid.uuid4().hex[:8]
    with _or_as_before(opened, workers, launch_id):
        wanted = _want(opened, workers)
        prices = worker_prices(cluster)
        add_workers(opened.account, opened.place, opened.store, wanted, missing, prices, launch_id)
        wait_for_workers(opened.account, opened.place, opened.store, cluster.id, missing, launch_id)


def _want(opened: Opened, workers: int) -> Cluster:
    return document.update(
        opened.store, opened.cluster.id, lambda current: setattr(current, "workers", workers)
    )


@contextmanager
def _or_as_before(opened: Opened, workers: int, launch_id: str) -> Iterator[None]:
    """End the workers that were just started, if not all of them could be, or somebody interrupts."""

    def restore(current: Cluster) -> None:
        if current.workers == workers:  # else somebody else has another wish meanwhile
            current.workers = opened.cluster.workers

    name = opened.cluster.name
    try:
        yield
    except BaseException as error:
        with undisturbed():
            log.warning("Ending the workers that were just started; please wait")
            problems = _end_new(opened, launch_id)  # first: else the head might end others
            try:
                document.update(opened.store, opened.cluster.id, restore)
            except CloudError as problem:
                problems.append(str(problem))
        if problems:
            said = str(error) if isinstance(error, CloudError) else f"{type(error).__name__}."
            raise CloudError(
                f"{said} What was started of {name} could not be ended completely: {'; '.join(problems)} It "
                f"ends with the lease; isr-cluster status {name} shows it, isr-cluster down {name} ends all."
            ) from error
        log.warning("The new workers are ended; the cluster %s is as before", name)
        raise


def _end_new(opened: Opened, launch_id: str) -> list[str]:
    """End the workers of a launch, also those that nobody could note.

    Returns
    -------
    problems : `list` [`str`]
        What is left, or could not be looked at.
    """
    settled, deadline = time.monotonic() + SETTLE, time.monotonic() + _PATIENCE
    cluster = opened.cluster
    while True:  # a new instance is not listed at once
        problems: list[str] = []
        found = take_inventory(opened.account, opened.place, cluster.name, {cluster.id})
        new = [
            item["InstanceId"]
            for item in found.instances
            if is_alive(item) and tags_of(item).get("isr:launch") == launch_id
        ]
        end_instances(opened.account, (), new, problems)
        if not new and not found.problems and time.monotonic() > settled:
            return []
        if time.monotonic() > (settled if found.is_refused else deadline):
            return [*found.problems, *problems, *(f"The instance {item} does not end." for item in new)]
        time.sleep(_TICK)


def extend(opened: Opened, until: int) -> None:
    """Let a cluster live longer: its machines read the document, AWS is told what it says.

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

    def change(current: Cluster) -> None:
        if current.phase != "running":
            raise CloudError(f"Somebody is ending the cluster {cluster.name}.")
        current.lease_until = max(until, current.lease_until)

    def restore(current: Cluster) -> None:
        if current.lease_until == until:
            current.lease_until = cluster.lease_until

    document.update(opened.store, cluster.id, change)
    try:
        arm(opened.account, opened.place, opened.store, cluster.id)
    except CloudError:  # else the machines would live longer than AWS lets them
        document.update(opened.store, cluster.id, restore)
        raise
    found = take_inventory(opened.account, opened.place, cluster.name, {cluster.id})
    if found.alive:
        with explained("tag the instances with the new end of the lease"):
            opened.account.client("ec2").create_tags(
                Resources=found.alive, Tags=tag_list({"isr:lease-until": str(until)})
            )


def _workers_of(found: Inventory, status: Mapping[str, Any]) -> list[str]:
    """Return the workers that are there and stay: not those that are about to end, or told to."""
    leaving = {name for name, one in status.get("workers", {}).items() if one["state"] == "draining"}
    return [
        item["InstanceId"]
        for item in found.instances
        if item["InstanceId"] in {*found.staying} - leaving and tags_of(item).get("isr:role") == "worker"
    ]
