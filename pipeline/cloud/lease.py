"""The end of a cluster that AWS itself brings: a one-time schedule of EventBridge Scheduler."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from pipeline.cloud import document
from pipeline.cloud.aws import Account, explained, is_missing
from pipeline.cloud.document import Cluster
from pipeline.cloud.names import Place
from pipeline.cloud.store import Store
from pipeline.errors import CloudError

__all__ = ["LATE", "MOST_FLEETS", "arm", "end_schedule", "has_schedule", "put_schedule"]

LATE = 120
"""Seconds that AWS waits longer than the machines themselves, which end in good order."""

MOST_FLEETS = 25
"""Fleets of type ``instant`` that AWS deletes at once; of more it deletes none."""

_NEW = 300.0  # seconds
_TRIES = 10
_TARGET = "scheduler:::aws-sdk:ec2:deleteFleets"


def put_schedule(account: Account, place: Place, name: str, fleets: Sequence[str], until: int) -> None:
    """Let AWS end fleets and their instances at a time, whatever becomes of us.

    Parameters
    ----------
    account : `~pipeline.cloud.aws.Account`
        Whose scheduler.
    place : `~pipeline.cloud.names.Place`
        Place of the cluster.
    name : `str`
        Its name.
    fleets : `~collections.abc.Sequence` [`str`]
        Ids of all its fleets.
    until : `int`
        End of the lease, in seconds since 1970.
    """
    scheduler = account.client("scheduler")
    moment = datetime.fromtimestamp(until + LATE, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    role = f"arn:{account.partition}:iam::{account.identity['Account']}:role/{place.role('lease')}"
    request: dict[str, Any] = {
        "Name": place.schedule(name),
        "ScheduleExpression": f"at({moment})",
        "ScheduleExpressionTimezone": "UTC",
        "FlexibleTimeWindow": {"Mode": "OFF"},
        "State": "ENABLED",
        "ActionAfterCompletion": "DELETE",
        "Target": {
            "Arn": f"arn:{account.partition}:{_TARGET}",
            "RoleArn": role,
            "Input": json.dumps({"FleetIds": list(fleets), "TerminateInstances": True}),
        },
    }
    with explained("arm the end of the lease at AWS (EventBridge Scheduler)"):
        if has_schedule(account, place, name):
            scheduler.update_schedule(**request)
        else:
            scheduler.create_schedule(**request)


def arm(account: Account, place: Place, store: Store, cluster_id: str) -> None:
    """Let AWS end a cluster as its document says, also if others change that at the same time.

    Fleets of which no instance is left do not count.

    Raises
    ------
    CloudError
        If the cluster is not there any more, or has too many fleets.
    """
    for _ in range(_TRIES):
        found = document.read(store)
        if found is None or found[0].id != cluster_id:
            raise CloudError(f"The cluster of {store.uri()} was ended by somebody else meanwhile.")
        cluster = found[0]
        fleets = live_fleets(account, cluster)
        if len(fleets) > MOST_FLEETS:
            raise CloudError(
                f"The cluster {cluster.name} has {len(fleets)} fleets; AWS ends {MOST_FLEETS} at once. "
                "Scale it in larger steps, or make another cluster."
            )
        put_schedule(account, place, cluster.name, fleets, cluster.lease_until)
        again = document.read(store)
        if again is not None and (again[0].launches, again[0].lease_until) == (
            cluster.launches,
            cluster.lease_until,
        ):
            return
    raise CloudError(f"{store.uri()} is being changed by others all the time. Give the same command again.")


def live_fleets(account: Account, cluster: Cluster) -> list[str]:
    """Return the fleets of which an instance is alive, or may be: a new one is not listed at once."""
    alive: set[str] = set()
    states = ["pending", "running", "stopping", "stopped", "shutting-down"]
    filters = [
        {"Name": "tag:isr:id", "Values": [cluster.id]},
        {"Name": "instance-state-name", "Values": states},
    ]
    with explained("list instances"):
        for page in account.client("ec2").get_paginator("describe_instances").paginate(Filters=filters):
            for reservation in page["Reservations"]:
                alive.update(item["InstanceId"] for item in reservation["Instances"])
    new = time.time() - _NEW
    return [one.fleet for one in cluster.launches if one.started > new or one.instances.keys() & alive]


def has_schedule(account: Account, place: Place, name: str) -> bool:
    """Tell whether there is a schedule for a cluster."""
    try:
        with explained("look for the schedule of the lease"):
            account.client("scheduler").get_schedule(Name=place.schedule(name))
    except CloudError as error:
        if is_missing(error):
            return False
        raise
    return True


def end_schedule(account: Account, place: Place, name: str) -> None:
    """Remove the schedule of a cluster, if there is one."""
    try:
        with explained("remove the schedule of the lease"):
            account.client("scheduler").delete_schedule(Name=place.schedule(name))
    except CloudError as error:
        if not is_missing(error):
            raise
