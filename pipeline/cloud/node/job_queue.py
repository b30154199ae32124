"""The jobs of a cluster on its head: found in the place, executed one after the other, the oldest first."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress

from pipeline.cloud.jobs import Job, JobError, Jobs
from pipeline.cloud.node.job_process import JobProcess
from pipeline.cloud.node.repeat import log
from pipeline.errors import CloudError

__all__ = ["JobQueue"]

_CANCEL_PATIENCE = 120.0  # seconds for a job that was cancelled
_FINISH_SECONDS = 20.0  # for the last words of a job when the cluster ends
_TICK = 0.5
_SHOWN = 10  # jobs that have ended, in the status


class JobQueue:
    """Executes jobs.

    Parameters
    ----------
    jobs : `~pipeline.cloud.jobs.Jobs`
        Where they are.
    cluster_id : `str`
        Jobs of earlier clusters of the same name are left alone.
    scheduler : `str`
        Address of the scheduler.
    note : `~collections.abc.Callable`
        Called with what happens to a job.
    """

    def __init__(self, jobs: Jobs, cluster_id: str, scheduler: str, note: Callable[[str], object]) -> None:
        self._jobs, self._cluster_id, self._scheduler, self._note = jobs, cluster_id, scheduler, note
        self._known: set[str] = set()
        self._waiting: dict[str, Job] = {}
        self._running: JobProcess | None = None
        self._ended: dict[str, str] = {}
        self._is_stopping = False
        self._lock = asyncio.Lock()  # one look at a time

    @property
    def is_empty(self) -> bool:
        """Whether no job waits or runs."""
        return not self._waiting and self._running is None

    @property
    def is_executing(self) -> bool:
        """Whether the quanta of the last job are being executed, so that who is idle is not needed."""
        return not self._waiting and self._running is not None and self._running.is_executing

    def document(self) -> dict[str, str]:
        """Return what the status says of jobs."""
        running = {self._running.job.id: "running"} if self._running else {}
        return self._ended | dict.fromkeys(self._waiting, "waiting") | running

    async def look(self) -> None:
        """Find new jobs, see what becomes of the one that runs, begin another."""
        async with self._lock:
            if self._running:
                await self._look_at(self._running)
            if self._is_stopping:
                return
            problem = await self._meet_all()
            for job in list(self._waiting):
                if await asyncio.to_thread(self._jobs.is_cancelled, job):
                    await self._reject(job, "it was cancelled before it began")
            if self._running is None and self._waiting:
                oldest = min(self._waiting.values(), key=lambda job: (job.submitted, job.id))
                await self._begin(oldest.id)
            if problem:
                raise problem

    async def _meet_all(self) -> CloudError | None:
        """Look at all that are new; none may keep another from beginning.

        Returns
        -------
        problem : `CloudError` or `None`
            Why one of them cannot be read now. It is looked at again.
        """
        problem = None
        for name in await asyncio.to_thread(self._jobs.ids):
            if name in self._known:
                continue
            try:
                await self._meet(name)
            except Exception as error:  # anybody may have written it
                if isinstance(error, CloudError) and not isinstance(error, JobError):
                    problem = error
                    continue
                await self._reject(name, str(error) or type(error).__name__)
                self._known.add(name)
        return problem

    async def _meet(self, name: str) -> None:
        """Look at a job that is new here."""
        document = await asyncio.to_thread(self._jobs.read, name)
        if document is None:  # it is being submitted
            return
        if document.get("cluster_id") != self._cluster_id:
            self._known.add(name)
            return
        state = (await asyncio.to_thread(self._jobs.state, name))["state"]
        job = Job.of_json(name, document)
        if state == "waiting":
            self._waiting[name] = job
            self._note(f"{name} waits")
        elif state == "running":
            await self._reject(name, "the head of the cluster was started anew while it ran")
        self._known.add(name)

    async def _reject(self, name: str, error: str) -> None:
        """End a job that does not run."""
        await asyncio.to_thread(self._jobs.write_state, name, "ended", ended=time.time(), error=error)
        self._waiting.pop(name, None)
        self._remember(name, error)

    def _remember(self, name: str, text: str) -> None:
        self._note(f"{name} ended: {text}")
        self._ended[name] = "ended"
        while len(self._ended) > _SHOWN:
            del self._ended[min(self._ended)]

    async def _begin(self, name: str) -> None:
        try:
            process = await asyncio.to_thread(JobProcess, self._jobs, self._waiting[name], self._scheduler)
        except (JobError, OSError, ValueError) as error:  # the last: text that no command line can have
            await self._reject(name, str(error))
            return
        self._running = process
        del self._waiting[name]
        self._note(f"{name} begins, of {process.job.owner}")
        await asyncio.to_thread(self._jobs.write_state, name, "running", started=process.started)

    async def _look_at(self, process: JobProcess, error: str = "") -> None:
        """Pass on what a job says, and note its end."""
        await asyncio.to_thread(process.kill_if_late)
        await asyncio.to_thread(process.show)
        if process.exit_code is not None:
            await asyncio.to_thread(process.finish, error)  # again and again if S3 is away
            self._running = None
            self._remember(process.job.id, error or f"exit code {process.exit_code}")
            return
        await asyncio.to_thread(process.upload)
        if await asyncio.to_thread(self._jobs.is_cancelled, process.job.id):
            process.end(_CANCEL_PATIENCE)

    async def stop(self, reason: str, patience: float) -> None:
        """Begin nothing more; let the job that runs register what it has finished.

        Parameters
        ----------
        reason : `str`
            Why the cluster ends.
        patience : `float`
            Seconds for the job.
        """
        self._is_stopping = True
        if self._running:
            self._running.end(patience)
        with suppress(TimeoutError):  # S3 may be away
            async with asyncio.timeout(patience + _FINISH_SECONDS), self._lock:
                await self._finish_all(f"the cluster ends ({reason})")

    async def _finish_all(self, error: str) -> None:
        while self._running:
            try:
                await self._look_at(self._running, error)
            except CloudError as problem:
                log.warning("%s", problem)
            await asyncio.sleep(_TICK)
        for name in list(self._waiting):
            with suppress(CloudError):
                await self._reject(name, f"{error}, and it had not begun")

    def abandon(self) -> None:
        """Kill what runs: the process ends."""
        if self._running:
            self._running.end(0.0)
            self._running.kill_if_late()
            self._running.clear()
