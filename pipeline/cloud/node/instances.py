"""The worker instances of a cluster, as its scheduler sees them; each has one worker process or several."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from distributed.core import Status

from pipeline.cloud.node.worker import DRAIN, SPOT, SPOT_LIMIT, TOPIC

if TYPE_CHECKING:
    from distributed import Scheduler
    from distributed.scheduler import WorkerState

__all__ = ["Instance", "Instances", "instance_of"]

_SHOWN_EVENTS = 50
_PROCESS = re.compile("(i-[0-9a-f]+)(-[0-9]+)?")  # how `dask worker --nworkers` names its processes


def instance_of(name: str) -> str:
    """Return the instance of a worker process."""
    match = _PROCESS.fullmatch(name)
    return match[1] if match else name


@dataclass
class Instance:
    """A worker instance.

    Attributes
    ----------
    id : `str`
        Its EC2 id.
    workers : `list`
        Dask's state of its worker processes.
    idle_since : `float` or `None`
        Since when it has had nothing to do, in monotonic seconds.
    is_leaving : `bool`
        Whether it gets nothing more.
    """

    id: str
    workers: list[WorkerState] = field(default_factory=list)
    idle_since: float | None = None
    is_leaving: bool = False

    @property
    def executing(self) -> int:
        """Number of its processes that are at work."""
        return sum(bool(worker.processing) for worker in self.workers)

    @property
    def is_busy(self) -> bool:
        """Whether it is at work, or has results that somebody wants."""
        return any(worker.processing or worker.has_what for worker in self.workers)

    def document(self) -> dict[str, Any]:
        """Return what the status says of it."""
        return {
            "processes": len(self.workers),
            "executing": self.executing,
            "state": "draining" if self.is_leaving else "running",
        }


class Instances:
    """Knows which instances there are and were, and lets some leave.

    Parameters
    ----------
    scheduler : `distributed.Scheduler`
        The scheduler.
    clock : `~collections.abc.Callable`, optional
        Returns the time in seconds, for what is idle.
    """

    def __init__(self, scheduler: Scheduler, clock: Callable[[], float] = time.monotonic) -> None:
        self._scheduler, self._clock = scheduler, clock
        self._there: dict[str, Instance] = {}
        self._leaving: dict[str, str] = {}  # instances that were told to leave, or must: why
        self.seen: dict[str, list[float]] = {}

    def look(self) -> None:
        """See who has come and gone, and who is idle."""
        now, old = self._clock(), self._there
        there: dict[str, Instance] = {}
        for worker in self._scheduler.workers.values():
            name = instance_of(str(worker.name))
            there.setdefault(name, Instance(name)).workers.append(worker)
        for _, event in self._scheduler.get_events(TOPIC):
            if event["kind"] == SPOT:
                self._leaving.setdefault(instance_of(event["name"]), SPOT)
        for name, instance in there.items():
            before = old.get(name)
            since = before.idle_since if before else None
            instance.idle_since = None if instance.is_busy else now if since is None else since
            # A paused worker that was not told to leave is short of memory, and comes back.
            instance.is_leaving = name in self._leaving
            self.seen.setdefault(name, [time.time(), 0.0])[1] = time.time()
            if before is None:
                self.note("joined", name, f"{len(instance.workers)} worker processes")
        for name in old.keys() - there.keys():
            reason = self._leaving.pop(name, "")
            self.note("left" if reason else "lost", name, f"it was told to leave: {reason}" if reason else "")
        self._there = there

    def note(self, kind: str, instance: str, text: str) -> None:
        """Note something that whoever looks at the cluster shall know."""
        self._scheduler.log_event(TOPIC, {"kind": kind, "name": instance, "text": text})

    def events(self) -> list[dict[str, Any]]:
        """Return the latest events; that EC2 takes an instance once, though each process has seen it."""
        found: dict[tuple[Any, ...], dict[str, Any]] = {}
        for number, (when, event) in enumerate(self._scheduler.get_events(TOPIC)):
            instance = instance_of(event["name"])
            key = (SPOT, instance) if event["kind"] == SPOT else (number,)
            shown = {"time": when, "kind": event["kind"], "instance": instance, "text": event["text"]}
            found.setdefault(key, shown)
        return list(found.values())[-_SHOWN_EVENTS:]

    def staying(self) -> list[Instance]:
        """Return the instances that get work, those first that can be done without most easily."""
        staying = [instance for instance in self._there.values() if not instance.is_leaving]
        return sorted(staying, key=lambda one: (one.is_busy, one.executing, one.idle_since or 0.0, one.id))

    def forget_idleness(self) -> None:
        """Let the time that each has been idle begin anew."""
        for instance in self._there.values():
            instance.idle_since = None

    def idle(self, seconds: float) -> list[Instance]:
        """Return those that have been idle for so long."""
        latest = self._clock() - seconds
        return [one for one in self.staying() if one.idle_since is not None and one.idle_since <= latest]

    async def dismiss(self, instances: Iterable[Instance], reason: str) -> None:
        """Let instances leave when they have finished what they execute."""
        for instance in instances:
            self._leaving[instance.id] = reason
            instance.is_leaving = True
            self.note("leaves", instance.id, reason)
            await self._ask(instance.workers, reason)

    async def remind(self) -> None:
        """Ask again those that were not reached, or that a nanny has started in place of another."""
        for name, reason in self._leaving.items():
            if name in self._there:
                workers = self._there[name].workers
                await self._ask([one for one in workers if one.status == Status.running], reason)

    async def _ask(self, workers: Iterable[WorkerState], reason: str) -> None:
        if addresses := [worker.address for worker in workers]:
            limit = SPOT_LIMIT if reason == SPOT else None
            message = {"op": DRAIN, "reason": reason, "limit": limit}
            await self._scheduler.broadcast(msg=message, workers=addresses, on_error="ignore")

    def document(self) -> dict[str, Any]:
        """Return what the status says of all."""
        return {name: instance.document() for name, instance in sorted(self._there.items())}
