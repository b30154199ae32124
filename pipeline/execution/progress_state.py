"""Counts of quanta and workers behind the view of a run."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Self
from uuid import UUID

from pipeline.execution.outcome import Outcome
from pipeline.execution.rates import Rates, RecentRates

__all__ = ["Failure", "Snapshot", "State", "Tally", "WorkerRow"]

SHOWN_FAILURES = 5


@dataclass(slots=True)
class Tally:
    """Numbers of quanta of a task.

    Attributes
    ----------
    label : `str`
        Task label.
    total : `int` or `None`
        All its quanta; `None` if that is not known.
    done, running, failed : `int`
        What became of them; quanta that had nothing to do are done.
    retried : `int`
        Attempts that are made again.
    ready : `int`
        Quanta whose inputs are there, also those that have ended.
    blocked : `int`
        Quanta that cannot be executed because others failed.
    """

    label: str
    total: int | None = None
    done: int = 0
    running: int = 0
    failed: int = 0
    retried: int = 0
    ready: int = 0
    blocked: int = 0


class Failure(NamedTuple):
    """A quantum that failed: its name and the first line of the reason."""

    name: str
    reason: str


class WorkerRow(NamedTuple):
    """A worker: quanta that ended there, per minute, what it runs now and for how many seconds."""

    address: str
    done: int
    per_minute: float | None
    now: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A run at one moment.

    Attributes
    ----------
    elapsed : `float`
        Seconds since the beginning.
    tallies : `tuple` [`Tally`]
        By task, in the order of the pipeline.
    all : `Tally`
        Their sum; its ``total`` is never `None`.
    blocked : `int`
        Quanta that cannot be executed because others failed.
    rates : `Rates` or `None`
        Rates of late; `None` if nothing has ended yet.
    mean : `Rates` or `None`
        Rates since the beginning.
    left : `float` or `None`
        Seconds that the rest will take; `None` if that cannot be told yet.
    workers : `tuple` [`WorkerRow`]
        Those that run something first.
    worker_count : `int`
        Number of workers.
    failures : `tuple` [`Failure`]
        The latest.
    last_retry : `Failure` or `None`
        The latest attempt that is made again.
    """

    elapsed: float
    tallies: tuple[Tally, ...]
    all: Tally
    blocked: int
    rates: Rates | None
    mean: Rates | None
    left: float | None
    workers: tuple[WorkerRow, ...]
    worker_count: int
    failures: tuple[Failure, ...]
    last_retry: Failure | None

    @classmethod
    def of_json(cls, document: Mapping[str, Any]) -> Self:
        """Return what `dataclasses.asdict` and JSON have made of a snapshot."""

        def each(kind: Callable[..., Any], name: str) -> tuple[Any, ...]:
            return tuple(kind(*item) for item in document[name])

        rates, mean, retry = (document[name] for name in ("rates", "mean", "last_retry"))
        return cls(
            **{name: document[name] for name in ("elapsed", "blocked", "left", "worker_count")},
            tallies=tuple(Tally(**tally) for tally in document["tallies"]),
            all=Tally(**document["all"]),
            rates=Rates(**rates) if rates else None,
            mean=Rates(**mean) if mean else None,
            workers=each(WorkerRow, "workers"),
            failures=each(Failure, "failures"),
            last_retry=Failure(*retry) if retry else None,
        )


class _Running(NamedTuple):
    label: str
    data: str
    worker: str
    since: float


@dataclass(slots=True)
class _Worker:
    since: float
    last_end: float
    done: int = 0


class State:
    """Counts what happens to quanta; keeps nothing of those that have ended.

    Parameters
    ----------
    total : `int` or `~collections.abc.Mapping` [`str`, `int`]
        Number of quanta, or of those of each task.
    now : `float`
        Time at which the run begins, in seconds.
    """

    def __init__(self, total: int | Mapping[str, int], now: float) -> None:
        by_label = {} if isinstance(total, int) else total
        self._total = total if isinstance(total, int) else sum(total.values())
        self._tallies = {label: Tally(label, number) for label, number in by_label.items()}
        self._begin = now
        self._running: dict[UUID, _Running] = {}
        self._workers: dict[str, _Worker] = {}
        self._worker_count: int | None = None
        self._executed = self._read_bytes = self._written_bytes = 0
        self._done = self._failed = self._retried = self._blocked = 0
        self._rates = RecentRates()
        self._failures: deque[Failure] = deque(maxlen=SHOWN_FAILURES)
        self._last_retry: Failure | None = None

    @property
    def total(self) -> int:
        """All quanta."""
        return self._total

    @property
    def ended(self) -> int:
        """Number of quanta that need no more attempts."""
        return self._done + self._failed + self._blocked

    def started(self, quantum_id: UUID, label: str, data: str, worker: str, now: float) -> None:
        """Count an attempt that begins."""
        self._rates.start(now)
        if quantum_id not in self._running:
            self._tally(label).running += 1
        self._running[quantum_id] = _Running(label, data, worker, now)
        if worker not in self._workers:
            self._workers[worker] = _Worker(now, now)

    def finished(self, outcome: Outcome, now: float) -> Failure | None:
        """Count a quantum that has ended; return what to say about it if it failed.

        Of a short quantum nobody may have heard that it began.
        """
        running = self._stop(outcome.quantum_id)
        tally = self._tally(outcome.label)
        if outcome.status != "skipped":
            begin = running.since if running else now - sum(outcome.seconds.values())
            self._executed += 1
            self._read_bytes += outcome.read_bytes
            self._written_bytes += outcome.written_bytes
            self._rates.start(begin)
            self._rates.add(now, outcome.read_bytes, outcome.written_bytes)
            address = outcome.worker or (running.worker if running else "")
            if address:
                worker = self._workers.setdefault(address, _Worker(begin, begin))
                worker.done += 1
                worker.last_end = now
        if outcome.status not in ("failed", "refused"):
            tally.done += 1
            self._done += 1
            return None
        tally.failed += 1
        self._failed += 1
        failure = Failure(f"{outcome.label} {outcome.data}", _first_line(outcome.error))
        self._failures.append(failure)
        return failure

    def retried(self, what: Outcome | UUID, reason: str) -> Failure:
        """Count an attempt that is made again; return what to say about it."""
        quantum_id = what.quantum_id if isinstance(what, Outcome) else what
        known = self._stop(quantum_id) or (what if isinstance(what, Outcome) else None)
        self._retried += 1
        if known:
            self._tally(known.label).retried += 1
        name = f"{known.label} {known.data}" if known else str(quantum_id)
        self._last_retry = Failure(name, _first_line(reason))
        return self._last_retry

    def add_ready(self, label: str) -> None:
        """Count a quantum whose inputs are there."""
        self._tally(label).ready += 1

    def add_blocked(self, label: str, count: int) -> None:
        """Count quanta that cannot be executed any more."""
        self._tally(label).blocked += count
        self._blocked += count

    def set_workers(self, count: int) -> None:
        """Set the number of workers."""
        self._worker_count = count

    def tallies(self) -> dict[str, Tally]:
        """Return the numbers of quanta by task label, as a copy."""
        return {label: replace(tally) for label, tally in self._tallies.items()}

    def snapshot(self, now: float) -> Snapshot:
        """Return the state at a moment, as a copy."""
        running = len(self._running)
        workers = self._worker_rows(now)
        count = len(workers) if self._worker_count is None else self._worker_count
        rates = self._rates.rates(now, max(5, 3 * count))
        return Snapshot(
            elapsed=now - self._begin,
            tallies=tuple(self.tallies().values()),
            all=Tally("all", self._total, self._done, running, self._failed, self._retried),
            blocked=self._blocked,
            rates=rates,
            mean=self._mean(now - self._begin),
            left=self._seconds_left(rates, count),
            workers=workers[:count],
            worker_count=count,
            failures=tuple(self._failures),
            last_retry=self._last_retry,
        )

    def _tally(self, label: str) -> Tally:
        if label not in self._tallies:
            self._tallies[label] = Tally(label)
        return self._tallies[label]

    def _stop(self, quantum_id: UUID) -> _Running | None:
        running = self._running.pop(quantum_id, None)
        if running:
            self._tally(running.label).running -= 1
        return running

    def _mean(self, elapsed: float) -> Rates | None:
        if not self._executed or elapsed <= 0:
            return None
        return Rates(self._executed / elapsed, self._read_bytes / elapsed, self._written_bytes / elapsed)

    def _seconds_left(self, rates: Rates | None, workers: int) -> float | None:
        # Before each worker has ended one, on average, the rate says little: the first quanta
        # of a worker take longer, and those of equal length end together.
        if rates is None or self._executed < min(max(2, workers), self._total / 2):
            return None
        return (self._total - self.ended) / rates.quanta

    def _worker_rows(self, now: float) -> tuple[WorkerRow, ...]:
        current: dict[str, _Running] = {}
        for quantum in self._running.values():
            current.setdefault(quantum.worker, quantum)  # the others wait for the first
        rows = []
        for address, worker in self._workers.items():
            minutes = (now - worker.since) / 60
            per_minute = worker.done / minutes if worker.done and minutes > 0 else None
            name, since = "", worker.last_end
            if address in current:
                first = current[address]
                name = f"{first.label} {first.data}"
                since = max(first.since, worker.last_end)
            rows.append(WorkerRow(address, worker.done, per_minute, name, now - since))
        rows.sort(key=lambda row: not row.now)  # those that are dead come last, and drop out
        return tuple(rows)


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0].rstrip()
