"""Hands out the quanta of a graph to the workers of a Dask cluster, a few at a time."""

from __future__ import annotations

import heapq
import itertools
import logging
import pickle
import queue
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from uuid import UUID

from distributed import wait
from lsst.pipe.base.graph_walker import GraphWalker
from lsst.pipe.base.quantum_graph_executor import QuantumGraphExecutor
from lsst.pipe.base.quantum_reports import ExecutionStatus, QuantumReport, Report

from pipeline.errors import RepositoryError
from pipeline.execution.ask import collect
from pipeline.execution.environment import refusal
from pipeline.execution.flights import Flight, State
from pipeline.execution.journal import take_quantum
from pipeline.execution.outcome import Outcome
from pipeline.execution.quantum_names import QuantumNames
from pipeline.execution.worker import run_quantum
from pipeline.execution.workers import Workers
from pipeline.quanta import QuantumError

if TYPE_CHECKING:
    from distributed import Client
    from lsst.pipe.base.quantum_graph import PredictedQuantumGraph

    from pipeline.execution.progress import Progress
    from pipeline.execution.timings import Timings

__all__ = ["DaskGraphExecutor"]

log = logging.getLogger(__name__)

TRIES = 3
"""How often a quantum is tried if machines fail."""

_TRIES_OF_HANGS = 2
_PAUSE = 1.0  # seconds before a second try, twice as long before a third
_LONG = 2.0  # seconds that a quantum waits at a busy worker while another is idle
_TICK = 0.5  # seconds between looks at workers and clocks
_LONGEST_ALONE = 300.0  # seconds without any worker
_LONGEST_WAIT = 60.0  # seconds for running quanta after an interruption
_LOST = (
    "The connection to the Dask scheduler is lost. What was finished is registered; "
    "the same command again, with a scheduler that runs, does the rest."
)
_WORKER_LOST = "its worker {} was lost: killed, out of memory, or its machine is gone"
_numbers = itertools.count()


class DaskGraphExecutor(QuantumGraphExecutor):
    """Executes a quantum graph on a Dask cluster.

    The workers read and write files and nothing else: the graph must hold
    datastore records, and what they wrote must be registered afterwards
    (`pipeline.execution.journal.register`).

    Parameters
    ----------
    client : `distributed.Client`
        The cluster; its workers must know the `RunContext` ``run``.
    run : `str`
        Name of the context.
    progress : `pipeline.execution.progress.Progress`
        Shows what happens.
    timings : `pipeline.execution.timings.Timings`
        Collects what the quanta took.
    versions : `~collections.abc.Mapping` [`str`, `str`]
        What the workers must have, see `pipeline.execution.environment.versions`.
    is_new : `bool`
        Whether there is no output in the RUN.
    timeout : `float` or `None`, optional
        Seconds after which a quantum hangs: its worker is ended, and it is
        tried once more.
    fail_fast : `bool`, optional
        Stop at the first failure.

    Attributes
    ----------
    is_done : `dict` [`uuid.UUID`, `bool`]
        Whether a quantum succeeded; those that were not executed are not in it.
    retries : `int`
        Tries beyond the first.
    most_workers : `int`
        Number of workers, at the best time.
    """

    def __init__(
        self,
        client: Client,
        run: str,
        progress: Progress,
        timings: Timings,
        *,
        versions: Mapping[str, str],
        is_new: bool,
        timeout: float | None = None,
        fail_fast: bool = False,
    ) -> None:
        self._client, self._run, self._versions = client, run, versions
        self._progress, self._timings = progress, timings
        self._is_new, self._timeout, self._fail_fast = is_new, timeout, fail_fast
        self._events: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self._report: Report | None = None
        self.is_done: dict[UUID, bool] = {}
        self.retries = self.most_workers = 0

    def execute(
        self,
        graph: PredictedQuantumGraph,  # type: ignore[override] # graphs of the old kind are converted before
        *,
        provenance_graph_file: str | None = None,  # noqa: ARG002
    ) -> None:
        """Execute a quantum graph; failures are in the report.

        Raises
        ------
        RepositoryError
            If the cluster is lost, or none of its workers is fit for the run.
        """
        self._graph, self._names = graph, QuantumNames(graph)
        self._report = Report(qgraphSummary=graph._make_summary())
        self._state = State(GraphWalker(graph.quantum_only_xgraph.copy()))
        self._workers = Workers(self._client, self._versions, lambda: self._events.put(("answered", None)))
        self._client.subscribe_topic(self._run, lambda event: self._events.put(("started", event[1])))
        try:
            self._add_ready()
            self._loop()
        except BaseException as error:
            self._wind_down()
            if isinstance(error, OSError):  # a question to the scheduler that nobody answers
                raise RepositoryError(_LOST) from error
            raise
        finally:
            with suppress(Exception):  # a client that has lost its scheduler is closed
                self._client.unsubscribe_topic(self._run)
            self._workers.finish_restarts()
        failed = any(not done for done in self.is_done.values()) or len(self.is_done) < len(graph)
        self._report.status = ExecutionStatus.FAILURE if failed else ExecutionStatus.SUCCESS

    def getReport(self) -> Report:  # noqa: N802
        """Return what became of the quanta."""
        if self._report is None:
            raise RuntimeError("getReport() called before execute()")
        return self._report

    # The loop: one thread, which nothing else touches; others put events into the queue.

    def _loop(self) -> None:
        state = self._state
        next_tick = 0.0
        while state.in_flight or (not state.is_stopping and (len(state.placement) or state.waiting)):
            now = time.monotonic()
            if now >= next_tick:
                self._tick(now)
                next_tick = now + _TICK
            self._submit()
            self._handle(self._take_events(next_tick - now))

    def _take_events(self, patience: float) -> list[tuple[str, Any]]:
        """Wait for an event and take all that are there."""
        events = []
        try:
            events.append(self._events.get(timeout=max(0.0, patience)))
            while True:
                events.append(self._events.get_nowait())
        except queue.Empty:
            return events

    def _tick(self, now: float) -> None:
        """Look at the workers and the clock."""
        if self._client.status not in ("running", "connecting"):
            raise RepositoryError(_LOST)
        self._look_at_workers()
        self.most_workers = max(self.most_workers, len(self._workers.fit))
        self._state.alone_since = None if self._workers.fit else self._state.alone_since or now
        if self._state.alone_since is not None and now - self._state.alone_since > _LONGEST_ALONE:
            raise RepositoryError(
                f"There has been no worker for {_LONGEST_ALONE:.0f} s. What was finished is registered; "
                "start workers, then the same command again does the rest."
            )
        self._progress.workers(len(self._workers.fit))
        while self._state.waiting and self._state.waiting[0][0] <= now:
            _, quantum_id = heapq.heappop(self._state.waiting)
            self._state.placement.add(quantum_id, self._names.group(quantum_id), first=True)
        if self._workers.has_idle() and not len(self._state.placement):
            self._call_back(now)
        if self._timeout is not None:
            for flight in list(self._state.in_flight.values()):
                if flight.started is not None and now - flight.started > self._timeout:
                    self._end_hang(flight)

    def _look_at_workers(self) -> None:
        """See who has come and gone."""
        gone, dismissed = self._workers.refresh()
        for worker in gone:
            self._state.placement.remove_worker(worker)
            self._recall(worker)
        for worker in dismissed:
            self._progress.message(f"The worker {worker} gets nothing: {self._workers.unfit[worker]}.")
        if self._workers.none_is_fit and not self._state.in_flight:
            raise RepositoryError(refusal(self._workers.unfit))

    def _recall(self, worker: str) -> None:
        """Take back what a worker had that is gone; a quantum that it was executing has been tried."""
        for flight in [flight for flight in self._state.in_flight.values() if flight.worker == worker]:
            if flight.future.status == "finished":  # it will be handled
                continue
            flight.future.cancel()
            self._land(flight)
            if flight.started is None:
                self._put_back(flight.quantum_id)
            else:
                self._try_again(flight.quantum_id, _WORKER_LOST.format(worker))

    def _put_back(self, quantum_id: UUID) -> None:
        """Let a quantum that was not begun go to another worker."""
        self._state.placement.add(quantum_id, self._names.group(quantum_id), first=True)

    def _call_back(self, now: float) -> None:
        """Take a quantum from a worker that is busy with a long one, for one that is idle."""
        for flight in self._state.in_flight.values():
            if (
                flight.started is None
                and now - flight.sent > _LONG
                and not self._workers.is_alone(flight.worker)
            ):
                flight.future.cancel()
                self._land(flight)
                self._put_back(flight.quantum_id)
                return

    def _submit(self) -> None:
        """Give each worker what it can take."""
        for worker in () if self._state.is_stopping else self._workers.with_free_slot():
            quantum_id = self._state.placement.next(worker, is_idle=self._workers.is_idle(worker))
            if quantum_id is not None:
                self._send(quantum_id, worker)

    def _send(self, quantum_id: UUID, worker: str) -> None:
        quantum = take_quantum(self._graph, quantum_id)
        label, tries = self._names.label(quantum_id), self._state.tries.get(quantum_id, 0)
        future = self._client.submit(
            run_quantum,
            self._run,
            label,
            self._names.data(quantum_id),
            pickle.dumps(quantum),
            quantum_id,
            self._is_new and not tries,
            key=f"{label}-{quantum_id}-{next(_numbers)}",
            workers=[worker],  # Dask would give it to one that is not fit, too
            pure=False,
        )
        self._state.in_flight[quantum_id] = Flight(quantum_id, future, worker, time.monotonic())
        self._workers.give(worker, quantum_id)
        future.add_done_callback(lambda done: self._events.put(("ended", (quantum_id, done))))

    def _handle(self, events: Iterable[tuple[str, Any]]) -> None:
        ended: list[Flight] = []
        for kind, what in events:
            if kind == "answered":
                self._look_at_workers()
                continue
            if kind == "started":
                self._start(UUID(hex=what["quantum"]), what["worker"])
                continue
            flight = self._state.in_flight.get(what[0])
            if flight is not None and flight.future.key == what[1].key:  # else it was given up before
                self._land(flight)
                ended.append(flight)
        outcomes = collect(self._client, [f.future for f in ended if f.future.status == "finished"])
        found = {outcome.quantum_id: outcome for outcome in outcomes}
        for flight in ended:
            if flight.quantum_id in found:
                self._finish(found[flight.quantum_id])
            else:
                self._lose(flight)
            flight.future.release()

    def _land(self, flight: Flight) -> None:
        del self._state.in_flight[flight.quantum_id]
        self._workers.take_back(flight.worker, flight.quantum_id)

    def _start(self, quantum_id: UUID, worker: str) -> None:
        flight = self._state.in_flight.get(quantum_id)
        if flight is not None:
            flight.started = time.monotonic()
            self._progress.started(
                quantum_id, self._names.label(quantum_id), self._names.data(quantum_id), worker
            )

    # What becomes of a try.

    def _finish(self, outcome: Outcome) -> None:
        """Act on what a worker has sent back."""
        if outcome.status == "refused":
            self._dismiss(outcome)
        elif outcome.status == "failed" and outcome.is_transient:
            self._try_again(outcome.quantum_id, outcome.error.partition("\n")[0], outcome)
        else:
            self._end(outcome)

    def _lose(self, flight: Flight) -> None:
        """Act on a worker that was lost, or a future that Dask gave up."""
        error = flight.future.exception() if flight.future.status == "error" else None
        if self._client.status != "running" or flight.future.status == "cancelled":
            raise RepositoryError(_LOST)
        if flight.started is None and type(error).__name__ == "KilledWorker":
            # It only waited at a worker that was ended by another quantum.
            self._put_back(flight.quantum_id)
            return
        reason = f"{type(error).__name__}: {error}"
        if error is None or type(error).__name__ == "KilledWorker":
            reason = _WORKER_LOST.format(flight.worker)
        self._try_again(flight.quantum_id, reason)

    def _end_hang(self, flight: Flight) -> None:
        """End the worker of a quantum that takes too long."""
        flight.future.cancel()
        self._land(flight)
        self._workers.restart(flight.worker)
        self._state.placement.remove_worker(flight.worker)
        self._try_again(
            flight.quantum_id, f"it took longer than --timeout {self._timeout:g} s", most=_TRIES_OF_HANGS
        )

    def _dismiss(self, outcome: Outcome) -> None:
        """Do without a worker whose packages differ; give up if there is no other."""
        self._state.placement.remove_worker(outcome.worker)
        self._workers.dismiss(outcome.worker, outcome.error)
        self._progress.message(f"The worker {outcome.worker} gets nothing: {outcome.error}.")
        self._put_back(outcome.quantum_id)

    def _try_again(
        self, quantum_id: UUID, reason: str, outcome: Outcome | None = None, most: int = TRIES
    ) -> None:
        """Put a quantum back after a failure of machines, or give it up after several."""
        tries = self._state.tries[quantum_id] = self._state.tries.get(quantum_id, 0) + 1
        if tries < most and not self._state.is_stopping:
            self.retries += 1
            self._progress.retried(quantum_id, reason)
            heapq.heappush(self._state.waiting, (time.monotonic() + _PAUSE * tries, quantum_id))
            return
        error = f"{reason} (tried {tries} times)" if tries > 1 else reason
        if outcome is None:
            outcome = Outcome(
                quantum_id, self._names.label(quantum_id), self._names.data(quantum_id), "failed"
            )
        report = QuantumReport.from_exception(
            QuantumError(error), self._names.data_id(quantum_id), outcome.label, quantumId=quantum_id
        )
        self._state.tries[quantum_id] -= 1  # those before this one
        self._end(replace(outcome, error=error, report=report.model_dump_json()))

    def _end(self, outcome: Outcome) -> None:
        """Note the last outcome of a quantum and see what can follow."""
        assert self._report is not None
        quantum_id = outcome.quantum_id
        tries = self._state.tries.pop(quantum_id, 0)
        if outcome.report:
            self._report.quantaReports.append(QuantumReport.model_validate_json(outcome.report))
        self.is_done[quantum_id] = outcome.status != "failed"
        self._progress.finished(outcome)
        self._timings.add(outcome, tries + 1)
        if self.is_done[quantum_id]:
            self._state.walker.finish(quantum_id)
            self._add_ready()
            return
        blocked = self._state.walker.fail(quantum_id)
        self._block(blocked)
        self._state.is_stopping |= self._fail_fast

    def _block(self, quantum_ids: list[UUID]) -> None:
        """Report what cannot be executed because of a failure."""
        assert self._report is not None
        for quantum_id in quantum_ids:
            self._report.quantaReports.append(
                QuantumReport(
                    quantumId=quantum_id,
                    status=ExecutionStatus.SKIPPED,
                    dataId=self._names.data_id(quantum_id),
                    taskLabel=self._names.label(quantum_id),
                )
            )
        for label, count in Counter(map(self._names.label, quantum_ids)).items():
            self._progress.blocked(label, count)

    def _add_ready(self) -> None:
        with suppress(StopIteration):
            for quantum_id in sorted(next(self._state.walker), key=self._names.order):
                self._state.placement.add(quantum_id, self._names.group(quantum_id))
                self._progress.ready(self._names.label(quantum_id))

    def _wind_down(self) -> None:
        """Let running quanta end, so that nobody writes when the output is registered; drop the others."""
        flights = list(self._state.in_flight.values())
        running = {flight.quantum_id: flight for flight in flights if flight.started is not None}
        with suppress(Exception), self._client.as_current():  # the cluster may be lost; wait needs a current
            self._client.cancel([flight.future for flight in flights if flight.started is None])
            if running and self._client.status == "running":
                self._progress.message(f"Waiting for {len(running)} running quanta; Ctrl-C again: not.")
                wait([flight.future for flight in running.values()], timeout=self._timeout or _LONGEST_WAIT)
                self._state.is_stopping = True
                done = [f.future for f in running.values() if f.future.status == "finished"]
                for outcome in collect(self._client, done):
                    self._end(outcome)
