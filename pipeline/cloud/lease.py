"""The end of a cluster that AWS itself brings: a one-time schedule of EventBridge Scheduler."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from pipeline.cloud.aws import Account, explained, is_missing
from pipeline.cloud.names import Place
from pipeline.errors import CloudError

__all__ = ["LATE", "end_schedule", "has_schedule", "put_schedule"]

LATE = 120
"""Seconds that AWS waits longer than the machines themselves, which end in good order."""

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
