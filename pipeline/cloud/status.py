"""What a cluster is doing, as any machine can see it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from pipeline.cloud.document import is_abandoned
from pipeline.cloud.inventory import ALIVE, take_inventory
from pipeline.cloud.names import tags_of
from pipeline.cloud.opened import Opened
from pipeline.cloud.plan import in_words
from pipeline.cloud.spend import spend

__all__ = ["Row", "Status", "look_at"]

_STALE = 60.0  # seconds
_EVENTS = 8


@dataclass(frozen=True)
class Row:
    """An instance: its role, id, type, market, zone, EC2's state, and what it does."""

    role: str
    instance: str
    kind: str
    market: str
    zone: str
    state: str
    doing: str


@dataclass(frozen=True)
class Status:
    """A cluster at one moment.

    Attributes
    ----------
    title : `str`
        What it is, whose, and in what phase.
    rows : `list` [`Row`]
        Its instances.
    lines : `list` [`str`]
        Jobs, lease, costs, and the latest events.
    document : `dict`
        The same for machines.
    """

    title: str
    rows: list[Row]
    lines: list[str]
    document: dict[str, Any]


def look_at(opened: Opened) -> Status:
    """Return what a cluster is doing."""
    cluster, now = opened.cluster, time.time()
    said = opened.status()
    inventory = take_inventory(opened.account, opened.place, cluster.name)
    rows = [
        _row(item, said)
        for item in sorted(inventory.instances, key=lambda item: tags_of(item).get("isr:role", ""))
        if item["State"]["Name"] in ALIVE
    ]
    spent = spend(cluster, inventory.instances, said, now)
    phase = _phase(opened, said, inventory.alive, now)
    title = f"Cluster {cluster.name} of {cluster.owner}, {cluster.region}: {phase}"
    lines = [f"cannot be told: {problem}" for problem in inventory.problems]
    jobs = said.get("jobs", {})
    lines += [f"job {name}: {state}" for name, state in jobs.items()]
    if not jobs:
        lines.append("no jobs")
    lines.append(f"lease: {in_words(cluster.lease_until - now)} left; spent {spent.text}")
    budget = f", budget ${cluster.budget:.2f}" if cluster.budget is not None else ""
    lines.append(f"ends after {in_words(cluster.idle)} without work{_idle(said, cluster.idle, now)}{budget}")
    for event in said.get("events", [])[-_EVENTS:]:
        when = time.strftime("%H:%M:%S", time.gmtime(event["time"]))
        lines.append(f"{when} UTC {event['kind']} {event.get('instance') or ''}: {event.get('text') or ''}")
    return Status(
        title,
        rows,
        lines,
        {
            "cluster": cluster.to_json(),
            "phase": phase,
            "status": said,
            "instances": [row.__dict__ for row in rows],
            "spent_usd_at_most": round(spent.usd, 4),
            "problems": inventory.problems,
        },
    )


def _row(item: dict[str, Any], said: dict[str, Any]) -> Row:
    name = item["InstanceId"]
    worker = said.get("workers", {}).get(name)
    doing = ""
    if worker:
        doing = f"{worker['processes']} processes, {worker['executing']} busy"
        doing += "" if worker["state"] == "running" else f", {worker['state']}"
    return Row(
        role=tags_of(item).get("isr:role", "?"),
        instance=name,
        kind=item["InstanceType"],
        market=item.get("InstanceLifecycle", "on-demand"),
        zone=item["Placement"]["AvailabilityZone"],
        state=item["State"]["Name"],
        doing=doing,
    )


def _phase(opened: Opened, said: dict[str, Any], alive: list[str], now: float) -> str:
    cluster = opened.cluster
    if not alive and (cluster.phase == "running" or is_abandoned(cluster, now)):
        reason = (
            said.get("reason") or "its lease was over" if now > cluster.lease_until else said.get("reason")
        )
        return f"has ended ({reason or 'why is not known'}); isr-cluster down {cluster.name} removes the rest"
    if said and now - said["time"] > _STALE:
        return f"{cluster.phase}, but its head is silent for {in_words(now - said['time'])}"
    if said.get("phase") == "stopping":
        return f"is stopping ({said.get('reason')})"
    return str(cluster.phase)


def _idle(said: dict[str, Any], limit: int, now: float) -> str:
    since = said.get("idle_since")
    return f" (in {in_words(limit - (now - since))})" if since else ""
