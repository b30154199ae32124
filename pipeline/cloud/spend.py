"""What a cluster has cost, from when its instances ran."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pipeline.cloud.document import Cluster
from pipeline.cloud.inventory import ALIVE

__all__ = ["Spend", "spend"]

_HOUR = 3600.0
_SHORTEST = 60.0  # seconds; EC2 charges at least those
_ENDED_AT = re.compile(r"\((\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) (?:GMT|UTC)\)")


@dataclass(frozen=True)
class Spend:
    """An upper limit of what was spent, and how sure it is.

    Attributes
    ----------
    usd : `float`
        At on-demand prices, with disks and addresses.
    instance_hours : `float`
        Their sum.
    is_estimated : `bool`
        Whether the end of an instance is not known: AWS forgets it after an hour.
    """

    usd: float
    instance_hours: float
    is_estimated: bool

    @property
    def text(self) -> str:
        """A short text."""
        about = ", the ends of some instances are estimated" if self.is_estimated else ""
        return f"at most ${self.usd:.4f} ({self.instance_hours:.2f} instance hours{about})"


def spend(
    cluster: Cluster, instances: Sequence[Mapping[str, Any]], status: Mapping[str, Any] | None, now: float
) -> Spend:
    """Return what a cluster has cost until now.

    Parameters
    ----------
    cluster : `~pipeline.cloud.document.Cluster`
        Knows what was started, and its prices.
    instances : `~collections.abc.Sequence`
        What EC2 lists of it.
    status : `~collections.abc.Mapping` or `None`
        The last that the head has said.
    now : `float`
        Seconds since 1970.
    """
    listed = {item["InstanceId"]: item for item in instances}
    noted = {item for launch in cluster.launches for item in launch.instances}
    seconds = usd = 0.0
    is_estimated = False
    dearest = max((price for launch in cluster.launches for price in launch.price.values()), default=0.0)
    for launch in cluster.launches:
        for item, kind in launch.instances.items():
            end, is_known = _end(listed.get(item), item, cluster, status, now)
            duration = max(_SHORTEST, end - launch.started)
            is_estimated |= not is_known
            seconds += duration
            usd += duration / _HOUR * launch.price.get(kind, dearest)
    for item, instance in listed.items():
        if item not in noted:  # the command that started it was killed before it could note it
            end, is_known = _end(instance, item, cluster, status, now)
            duration = max(_SHORTEST, end - instance["LaunchTime"].timestamp())
            seconds += duration
            usd += duration / _HOUR * dearest
            is_estimated = True
    return Spend(usd, seconds / _HOUR, is_estimated)


def _end(
    instance: Mapping[str, Any] | None,
    name: str,
    cluster: Cluster,
    status: Mapping[str, Any] | None,
    now: float,
) -> tuple[float, bool]:
    """Return when an instance has ended, or now; and whether that is known."""
    latest = min(now, cluster.lease_until + _SHORTEST)
    if instance is not None and instance["State"]["Name"] in ALIVE:
        return now, True
    if instance is not None and (match := _ENDED_AT.search(instance.get("StateTransitionReason", ""))):
        return datetime.strptime(match[1], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC).timestamp(), True
    if seen := (status or {}).get("seen", {}).get(name):  # it stopped itself soon after that
        return min(latest, float(seen[1]) + 2 * _SHORTEST), False
    return latest, False
