"""What the machines of a cluster have said: CloudWatch, and the console of one that never got so far."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from pipeline.cloud.aws import Account, code_of, explained, is_missing
from pipeline.cloud.names import Place
from pipeline.cloud.store import Store
from pipeline.errors import CloudError

__all__ = ["Line", "last_lines", "read_console", "read_logs"]

_SHOWN = 15  # lines


@dataclass(frozen=True)
class Line:
    """A line of a log.

    Attributes
    ----------
    time : `float`
        Seconds since 1970.
    stream : `str`
        ``CLUSTER/ID/ROLE/INSTANCE``.
    text : `str`
        What was said.
    """

    time: float
    stream: str
    text: str


def read_logs(account: Account, place: Place, prefix: str, *, since: float = 0.0) -> Iterator[Line]:
    """Yield what the machines have said, by time.

    Parameters
    ----------
    account : `~pipeline.cloud.aws.Account`
        Whose CloudWatch.
    place : `~pipeline.cloud.names.Place`
        Place of the cluster.
    prefix : `str`
        What the names of the streams begin with.
    since : `float`, optional
        Only what was said later, in seconds since 1970.
    """
    request = {
        "logGroupName": place.log_group,
        "logStreamNamePrefix": prefix,
        "startTime": int(since * 1000),
    }
    try:
        with explained(f"read the logs {place.log_group}"):
            pages = account.client("logs").get_paginator("filter_log_events").paginate(**request)
            for page in pages:
                for event in page["events"]:
                    yield Line(event["timestamp"] / 1000, event["logStreamName"], event["message"].rstrip())
    except CloudError as error:
        if not is_missing(error):
            raise


def read_console(account: Account, instance: str) -> str:
    """Return what a machine has written on its console while it started; ``""`` if nothing is kept."""
    try:
        with explained(f"read the console of {instance}"):
            output = _console(account.client("ec2"), instance)
    except CloudError as error:
        if is_missing(error):
            return ""
        raise
    try:
        return base64.b64decode(output, validate=True).decode(errors="replace")
    except (binascii.Error, ValueError):  # the SDK has decoded it
        return str(output)


def _console(ec2: Any, instance: str) -> str:
    """Return the console as it is now, or the newest that AWS has of it."""
    try:
        answer = ec2.get_console_output(InstanceId=instance, Latest=True)
    except ClientError as error:
        if code_of(error) != "UnsupportedOperation":
            raise
        # A machine of before the Nitro system: what it had said when AWS looked last.
        answer = ec2.get_console_output(InstanceId=instance)
    return str(answer.get("Output", ""))


def last_lines(account: Account, place: Place, store: Store, cluster_id: str, instance: str = "") -> str:
    """Return the end of the logs, for an error message; what cannot be read is said, not raised."""
    name = store.uri().rstrip("/").rpartition("/")[2]
    try:
        lines = [
            line.text
            for line in read_logs(account, place, f"{name}/{cluster_id}/")
            if line.stream.endswith(instance)
        ]
        if not lines and instance:
            lines = read_console(account, instance).splitlines()
    except CloudError as error:
        return f"(Its log cannot be read: {error})"
    if not lines:
        return f"There is no log of it yet: isr-cluster logs {name} shows it later."
    return "Its log ends:\n" + "\n".join(f"  {line}" for line in lines[-_SHOWN:]) + "\n"
