"""Preload of the Dask scheduler on EC2: jobs, status, and the end of what nobody needs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pipeline.cloud.document import ABANDONED
from pipeline.cloud.jobs import Jobs
from pipeline.cloud.node.identity import Identity
from pipeline.cloud.node.instances import Instances
from pipeline.cloud.node.job_queue import JobQueue
from pipeline.cloud.node.lease_file import write_lease
from pipeline.cloud.node.repeat import end_within, log, repeat

if TYPE_CHECKING:
    from distributed import Scheduler

__all__ = ["Head", "dask_setup", "dask_teardown"]

LEASE_MARGIN = 120.0
"""Seconds before the end of the lease at which a cluster ends by itself, in good order."""

STARTING_MARGIN = 30.0
"""The same while it is starting: there is no job yet that could register anything."""

JOB_PATIENCE = 60.0
"""Seconds for a job to register what it has finished when the cluster ends."""

_DOCUMENT_INTERVAL = 10.0  # seconds between looks at cluster.json
_JOB_INTERVAL = 2.0
_STATUS_INTERVAL = 2.0
_TICK = 1.0
_LONGEST_START = 900.0  # seconds for instances to join, in which a cluster is not idle
_LONGEST_SILENCE = 10.0  # seconds without a new status though nothing has changed
_REPORT_SECONDS = 10.0  # for a last status, if S3 is slow
_CLOSE_SECONDS = 20.0  # for the workers to hand over what somebody may still want
_LAST_SECONDS = 30.0  # for the process, when the scheduler has ended
_NOBODY = "fire-and-forget"  # a client that every Dask scheduler has

_heads: list[Head] = []


async def dask_setup(scheduler: Scheduler) -> None:
    """Begin; Dask calls it when the scheduler listens."""
    node = Identity.of_environment()
    head = Head(scheduler, node, Jobs(node.account(), node.place, node.cluster))
    _heads.append(head)
    head.start()


async def dask_teardown(scheduler: Scheduler) -> None:  # noqa: ARG001
    """End what still runs; Dask calls it when the scheduler ends, for whatever reason."""
    while _heads:
        _heads.pop().end()
        end_within(_LAST_SECONDS)


class Head:
    """What the head of a cluster does beside Dask's scheduler.

    Everything runs in the scheduler's event loop; what talks to S3, in threads.

    Parameters
    ----------
    scheduler : `distributed.Scheduler`
        The scheduler.
    node : `~pipeline.cloud.node.identity.Identity`
        The cluster.
    jobs : `~pipeline.cloud.jobs.Jobs`
        Its jobs; ``jobs.store`` has its other objects.
    clock : `~collections.abc.Callable`, optional
        Returns monotonic seconds.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        node: Identity,
        jobs: Jobs,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._scheduler, self._node, self._clock = scheduler, node, clock
        self._store = jobs.store
        self._instances = Instances(scheduler, clock)
        self._queue = JobQueue(jobs, node.cluster_id, scheduler.address, self._note_job)
        self._document: dict[str, Any] = {}
        self._launched: dict[str, float] = {}  # worker instances: since when they are known
        self._beat = (0.0, clock())  # last sign of life of `isr-cluster up`, and since when it is known
        self._idle_since: float | None = None
        self._idle_time: int | None = None  # the same, since 1970
        self._reason = ""  # why the cluster ends
        self._is_orphan = False
        self._written: dict[str, Any] = {}
        self._written_at = -_LONGEST_SILENCE
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin."""
        loops = (
            (self.read_document, _DOCUMENT_INTERVAL),
            (self._queue.look, _JOB_INTERVAL),
            (self.govern, _TICK),
            (self.report, _STATUS_INTERVAL),
        )
        self._tasks = [asyncio.create_task(repeat(step, seconds)) for step, seconds in loops]

    def end(self) -> None:
        """End the loops and what is left of a job."""
        for task in self._tasks:
            task.cancel()
        self._queue.abandon()

    def _note_job(self, text: str) -> None:
        log.info("Job %s", text)
        self._instances.note("job", self._node.instance, text)

    async def read_document(self) -> None:
        """See what is wanted of the cluster."""
        document = await asyncio.to_thread(self._store.read_json, "cluster.json")
        if document is None or document["id"] != self._node.cluster_id:
            self._is_orphan = True  # the status belongs to another cluster now
            self.stop("it is not there any more")
            return
        self._document = document
        await asyncio.to_thread(write_lease, document["lease_until"])
        for launch in document["launches"]:
            if launch["role"] == "worker":
                self._launched |= dict.fromkeys(launch["instances"].keys() - self._launched, self._clock())
        if document["heartbeat"] != self._beat[0]:
            self._beat = (document["heartbeat"], self._clock())
        if document["phase"] == "starting" and self._clock() - self._beat[1] > ABANDONED:
            self.stop("the command that started it was lost")

    async def govern(self) -> None:
        """Decide what has to end."""
        if not self._document or self._stopping:
            self._instances.look()
            return
        if not self._queue.is_executing:
            self._instances.forget_idleness()
        self._instances.look()
        self._see_whether_idle()
        idle = float(self._document["idle"])
        margin = STARTING_MARGIN if self._document["phase"] == "starting" else LEASE_MARGIN
        if self._document["phase"] == "ending":
            self.stop("isr-cluster down")
        elif self._document["lease_until"] - time.time() < margin:
            self.stop("lease")
        elif self._idle_since is not None and self._clock() - self._idle_since >= idle:
            self.stop(f"idle for {idle:.0f} s")
        else:
            await self._dismiss_some(idle)

    def _see_whether_idle(self) -> None:
        is_busy = (
            self._document["phase"] == "starting"
            or self._expects_more()
            or not self._queue.is_empty
            or bool(self._scheduler.tasks)
            or bool(self._scheduler.clients.keys() - {_NOBODY})
        )
        if is_busy:
            self._idle_since = self._idle_time = None
        elif self._idle_since is None:
            self._idle_since, self._idle_time = self._clock(), round(time.time())

    def _expects_more(self) -> bool:
        """Tell whether instances are on their way, which takes AWS minutes."""
        if len(self._instances.staying()) >= int(self._document["workers"]):
            return False  # those that are missing belong to a `scale` that has failed
        missing = self._launched.keys() - self._instances.seen
        return any(self._clock() - self._launched[name] < _LONGEST_START for name in missing)

    async def _dismiss_some(self, idle: float) -> None:
        """Let instances go that are too many, or idle though a job runs; one stays."""
        await self._instances.remind()
        staying = self._instances.staying()
        if self._surplus(len(staying)):
            await self.read_document()  # new ones may have joined before the wish for them was seen
        if surplus := self._surplus(len(staying)):
            await self._instances.dismiss(staying[:surplus], "there are more than wanted")
            staying = staying[surplus:]
        if self._queue.is_executing:
            dispensable = self._instances.idle(idle)[: len(staying) - 1]
            await self._instances.dismiss(dispensable, f"idle for {idle:.0f} s while others work")

    def _surplus(self, staying: int) -> int:
        """Return how many instances there are more than wanted."""
        return max(0, staying - int(self._document["workers"])) if self._document["phase"] == "running" else 0

    def stop(self, reason: str) -> None:
        """Begin to end the cluster."""
        if self._stopping is None:
            log.warning("The cluster ends: %s", reason)
            self._reason = reason
            self._instances.note("stopping", self._node.instance, reason)
            self._stopping = asyncio.create_task(self._stop())

    async def _stop(self) -> None:
        try:
            await self._try_to_report()
            await self._queue.stop(self._reason, JOB_PATIENCE)
            await self._try_to_report()
            await self._instances.dismiss(self._instances.staying(), "the cluster ends")
            deadline = time.monotonic() + _CLOSE_SECONDS
            while self._scheduler.workers and time.monotonic() < deadline:
                await asyncio.sleep(0.1)
            await asyncio.sleep(_TICK)  # for the farewell of the last
        finally:  # also of workers that would not go: their instances end, too
            await self._scheduler.close(reason=self._reason)

    async def _try_to_report(self) -> None:
        try:
            await asyncio.wait_for(self.report(), _REPORT_SECONDS)
        except Exception as error:
            log.warning("The status cannot be written: %s", error)

    async def report(self) -> None:
        """Write the status if it has changed, or is old."""
        self._instances.look()
        status = self._status()
        if status == self._written and self._clock() - self._written_at < _LONGEST_SILENCE:
            return
        if self._is_orphan:
            return
        await asyncio.to_thread(
            self._store.write, "status.json", {**status, "time": time.time()} | self._seen()
        )
        self._written, self._written_at = status, self._clock()

    def _status(self) -> dict[str, Any]:
        """Return the status but for what changes all the time."""
        return {
            "id": self._node.cluster_id,
            "phase": "stopping" if self._stopping else "running",
            "reason": self._reason,
            "workers": self._instances.document(),
            "jobs": self._queue.document(),
            "idle_since": self._idle_time,
            "lease_until": self._document.get("lease_until"),
            "events": self._instances.events(),
        }

    def _seen(self) -> dict[str, Any]:
        return {
            "seen": {name: [round(when, 1) for when in span] for name, span in self._instances.seen.items()}
        }
