"""Hands out the quanta of a graph to the workers of a Dask cluster, a few at a time."""

from __future__ import annotations

import heapq
import itertools
import logging
import pickle
import queue
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from uuid import UUID

from distributed import wait
from lsst.pipe.base.graph_walker import GraphWalker
from lsst.pipe.base.quantum_graph_executor import QuantumGraphExecutor

from pipeline.errors import RepositoryError
from pipeline.execution.ask import collect
from pipeline.execution.environment import refusal
from pipeline.execution.flights import Flight, State
from pipeline.execution.journal import take_quantum
from pipeline.execution.ledger import Ledger
from pipeline.execution.worker import run_quantum
from pipeline.execution.workers import Workers

if TYPE_CHECKING:
    from distributed import Client
    from lsst.pipe.base.quantum_graph import PredictedQuantumGraph
    from lsst.pipe.base.quantum_reports import Report

    from pipeline.execution.outcome import Outcome
    from pipeline.execution.progress import Progress

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
    ledger : `pipeline.execution.ledger.Ledger`
        Notes what becomes of the quanta.
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
    most_workers : `int`
        Number of workers, at the best time.
    """

    def __init__(
        self,
        client: Client,
        run: str,
        progress: Progress,
        ledger: Ledger,
        *,
        versions: Mapping[str, str],
        is_new: bool,
        timeout: float | None = None,
        fail_fast: bool = False,
    ) -> None:
        self._client, self._run, self._versions = client, run, versions
        self._progress, self._ledger, self._names = progress, ledger, ledger.names
        self._is_new, self._timeout, self._fail_fast = is_new, timeout, fail_fast
        self._events: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self.most_workers = 0

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
        self._graph = graph
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
        self._ledger.close()

    def getReport(self) -> Report:  # noqa: N802
        """Return what became of the quanta."""
        return self._ledger.report

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
        self.most_workers = max(self.most_workers, len(self._workers.fit))
        for worker in gone:
            self._state.placement.remove_worker(worker)
            self._recall(worker)
        for worker in self._workers.resting():
            self._state.placement.remove_worker(worker)
            self._relieve(worker)
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
                self._ledger.abandoned.add(flight.quantum_id)
                self._try_again(flight.quantum_id, _WORKER_LOST.format(worker))

    def _relieve(self, worker: str) -> None:
        """Take back what a worker has not begun that was paused; what it executes, it will finish."""
        for flight in [flight for flight in self._state.in_flight.values() if flight.worker == worker]:
            if flight.started is None and flight.future.status == "pending":
                self._take_back(flight)

    def _take_back(self, flight: Flight) -> None:
        """Take a quantum from a worker that has not begun it."""
        flight.future.cancel()
        self._land(flight)
        self._put_back(flight.quantum_id)

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
                self._take_back(flight)
                return

    def _submit(self) -> None:
        """Give each worker what it can take."""
        for worker in () if self._state.is_stopping else self._workers.with_free_slot():
            quantum_id = self._state.placement.next(worker, is_idle=self._workers.is_idle(worker))
            if quantum_id is not None:
                self._send(quantum_id, worker)

    def _send(self, quantum_id: UUID, worker: str) -> None:
        quantum = take_quantum(self._graph, quantum_id)
        label = self._names.label(quantum_id)
        future = self._client.submit(
            run_quantum,
            self._run,
            label,
            self._names.data(quantum_id),
            pickle.dumps(quantum),
            quantum_id,
            self._is_new and not self._ledger.failed_tries(quantum_id),
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
            self._ledger.abandoned.add(flight.quantum_id)
        self._try_again(flight.quantum_id, reason)

    def _end_hang(self, flight: Flight) -> None:
        """End the worker of a quantum that takes too long."""
        flight.future.cancel()
        self._land(flight)
        self._workers.restart(flight.worker)
        self._ledger.abandoned.add(flight.quantum_id)
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
        if self._ledger.failed_tries(quantum_id) + 1 < most and not self._state.is_stopping:
            tries = self._ledger.retry(quantum_id, reason)
            heapq.heappush(self._state.waiting, (time.monotonic() + _PAUSE * tries, quantum_id))
        else:
            self._end(self._ledger.give_up(quantum_id, reason, outcome))

    def _end(self, outcome: Outcome) -> None:
        """Note the last outcome of a quantum and see what can follow."""
        if self._ledger.end(outcome):
            self._state.walker.finish(outcome.quantum_id)
            self._add_ready()
        else:
            self._ledger.block(self._state.walker.fail(outcome.quantum_id))
            self._state.is_stopping |= self._fail_fast

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
