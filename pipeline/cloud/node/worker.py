"""Preload of Dask workers on EC2: they hand over before their instance goes; nothing is computed twice."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from distributed.core import Status

from pipeline.cloud.node.metadata import INTERRUPTION, Metadata
from pipeline.cloud.node.repeat import log, repeat

if TYPE_CHECKING:
    from distributed import Worker

__all__ = ["DRAIN", "SPOT", "SPOT_LIMIT", "TOPIC", "Leaver", "dask_setup"]

DRAIN = "isr_drain"
"""Name of the request to a worker to leave when it has finished what it executes."""

TOPIC = "isr-node"
"""Dask's topic of the events that the head writes into its status."""

SPOT = "spot"
"""Kind of the event that EC2 takes an instance."""

SPOT_LIMIT = 90.0
"""Seconds for what is executing after a notice; EC2 takes the instance after 120."""

INTERVAL = 5.0  # seconds between looks for a spot notice
_HANDOVER = 10.0  # seconds until those who wait for results have fetched them
_TICK = 0.1

metadata = Metadata()
_tasks: list[asyncio.Task[None]] = []


async def dask_setup(worker: Worker) -> None:
    """Begin to watch; Dask calls it in each worker process.

    Each polls for itself: an instance has a few, and none depends on another.
    """
    leaver = Leaver(worker)
    worker.handlers[DRAIN] = leaver.drain
    _tasks.append(asyncio.create_task(repeat(leaver.look, INTERVAL)))


class Leaver:
    """Lets a worker leave the cluster: it begins nothing more, finishes, hands over, and ends.

    Parameters
    ----------
    worker : `distributed.Worker`
        The worker.
    """

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._leaving: asyncio.Task[None] | None = None

    async def look(self) -> None:
        """See whether EC2 takes the instance."""
        if self._leaving or self._worker.status == Status.init:  # nobody would hear of it
            return
        notice = await asyncio.to_thread(metadata.get, INTERRUPTION)
        if notice:
            self._worker.log_event(TOPIC, {"kind": SPOT, "name": str(self._worker.name), "text": notice})
            await self.drain(SPOT, SPOT_LIMIT)

    async def drain(self, reason: str, limit: float | None = None) -> str:
        """Begin to leave; returns at once.

        Parameters
        ----------
        reason : `str`
            For the log.
        limit : `float`, optional
            Seconds after which it leaves although something is executing.
        """
        if self._leaving is None:
            self._leaving = asyncio.create_task(self._leave(reason, limit))
        return "OK"

    async def _leave(self, reason: str, limit: float | None) -> None:
        worker = self._worker
        if worker.status not in (Status.running, Status.paused):
            return
        # Dask's monitor of memory wakes up workers that are paused and have memory enough.
        worker.memory_manager.memory_pause_fraction = False
        worker.status = Status.paused
        log.info("Leaving (%s): %d executing", reason, worker.state.executing_count)
        begin = time.monotonic()
        while self._executes() and (limit is None or time.monotonic() < begin + limit):
            await asyncio.sleep(_TICK)
        handover = time.monotonic() + _HANDOVER
        # A result that somebody waits for is fetched at once, and then released.
        while not self._executes() and worker.data and time.monotonic() < handover:
            await asyncio.sleep(_TICK)
        log.info("Nothing executes after %.1f s", time.monotonic() - begin)
        await worker.close_gracefully(restart=False, reason=reason)

    def _executes(self) -> bool:
        return bool(self._worker.state.executing_count or self._worker.state.long_running)
