"""Where the time of a run went: wall seconds and bytes of each quantum, percentiles, the summary file."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, get_args
from uuid import UUID

import numpy as np

from pipeline.execution.outcome import PARTS, Outcome, Status

if TYPE_CHECKING:
    from lsst.pipe.base.quantum_reports import Report
    from numpy.typing import NDArray
    from rich.table import Table

__all__ = ["ALL_TASKS", "Timings", "percentile_table", "percentiles", "summary_document", "throughput"]

ALL_TASKS = "all tasks"
"""Stands for a task label in percentiles, if there are several tasks."""

_STATUSES: tuple[Status, ...] = get_args(Status.__value__)
_COLUMNS = {"min": 0, "median": 50, "p90": 90, "p99": 99, "max": 100}
_ID_BYTES = 16


class Timings:
    """Numbers of the last attempt at each quantum, in some 60 bytes for each and the names of the data.

    Parameters
    ----------
    outcomes : `~collections.abc.Iterable` [`~pipeline.execution.outcome.Outcome`], optional
        What to begin with.
    """

    def __init__(self, outcomes: Iterable[Outcome] = ()) -> None:
        self._ids = bytearray()
        self._seconds = array("f")  # by part; NaN if the quantum was not executed
        self._bytes = array("q")  # read, written
        self._statuses = array("B")
        self._attempts = array("H")
        # Numbers of strings, which many quanta have in common.
        self._labels, self._data, self._workers = array("I"), array("I"), array("I")
        self._numbers: dict[str, int] = {}
        for outcome in outcomes:
            self.add(outcome)

    def __len__(self) -> int:
        return len(self._statuses)

    def add(self, outcome: Outcome, attempts: int = 0) -> None:
        """Add a quantum that will not be tried again.

        Parameters
        ----------
        outcome : `~pipeline.execution.outcome.Outcome`
            What became of it; not kept.
        attempts : `int`, optional
            How often it was tried; 0 if that is not known.
        """
        self._ids += outcome.quantum_id.bytes
        missing = 0.0 if outcome.seconds else np.nan
        self._seconds.extend(outcome.seconds.get(part, missing) for part in PARTS)
        self._bytes.extend((outcome.read_bytes, outcome.written_bytes))
        self._statuses.append(_STATUSES.index(outcome.status))
        self._attempts.append(attempts)
        self._labels.append(self._number(outcome.label))
        self._data.append(self._number(outcome.data))
        self._workers.append(self._number(outcome.worker))

    def seconds(self) -> dict[str, NDArray[np.float32]]:
        """Return the wall seconds of the quanta that are done.

        Returns
        -------
        seconds : `dict` [`str`, `numpy.ndarray`]
            By task label, in the order in which they first ended; each array
            has a row for each quantum and a column for each of
            `~pipeline.execution.outcome.PARTS`. Without failures and quanta
            that had nothing to do: these would make a task look fast.
        """
        rows = np.array(self._seconds, dtype=np.float32).reshape(-1, len(PARTS))
        is_done = np.array(self._statuses) == _STATUSES.index("done")
        is_done &= ~np.isnan(rows).any(axis=1)
        labels = np.array(self._labels)
        names = list(self._numbers)
        found = dict.fromkeys(labels[is_done].tolist())
        return {names[number]: rows[is_done & (labels == number)] for number in found}

    def counts(self) -> dict[str, int]:
        """Return how many quanta there are of each status."""
        counted = Counter(self._statuses)
        return {status: counted[number] for number, status in enumerate(_STATUSES)}

    def executed(self) -> int:
        """Return how many quanta were executed or tried: all but those that were done before."""
        return len(self) - self.counts()["skipped"]

    def total_bytes(self) -> tuple[int, int]:
        """Return the bytes read and written."""
        return sum(self._bytes[::2]), sum(self._bytes[1::2])

    def quanta(self) -> Iterator[dict[str, Any]]:
        """Yield what is known of each quantum, ready for JSON."""
        names = list(self._numbers)
        width = len(PARTS)
        for i in range(len(self)):
            entry: dict[str, Any] = {
                "id": str(UUID(bytes=bytes(self._ids[_ID_BYTES * i : _ID_BYTES * (i + 1)]))),
                "label": names[self._labels[i]],
                "data": names[self._data[i]],
                "status": _STATUSES[self._statuses[i]],
                "worker": names[self._workers[i]],
            }
            if self._attempts[i]:
                entry["attempts"] = self._attempts[i]
            seconds = self._seconds[width * i : width * (i + 1)]
            if not np.isnan(seconds[0]):
                entry["seconds"] = {part: _short(value) for part, value in zip(PARTS, seconds, strict=True)}
                entry["read_bytes"], entry["written_bytes"] = self._bytes[2 * i : 2 * i + 2]
            yield entry

    def _number(self, text: str) -> int:
        return self._numbers.setdefault(text, len(self._numbers))


def percentiles(timings: Timings) -> dict[str, dict[str, dict[str, float]]]:
    """Return statistics of the wall seconds of the quanta that are done.

    Parameters
    ----------
    timings : `Timings`
        What was measured.

    Returns
    -------
    statistics : `dict`
        By task label (`ALL_TASKS` too, if there are several), then by part
        (``"total"`` is the sum of the parts): ``"count"``, ``"min"``,
        ``"median"``, ``"p90"``, ``"p99"``, ``"max"``, ``"sum"`` in seconds,
        and ``"share"``: of the sum over all tasks and parts. Percentiles are
        interpolated between quanta.
    """
    by_task = timings.seconds()
    if len(by_task) > 1:
        by_task[ALL_TASKS] = np.concatenate(list(by_task.values()))
    whole = max((float(rows.sum(dtype=np.float64)) for rows in by_task.values()), default=0.0)
    return {label: _statistics(rows, whole) for label, rows in by_task.items()}


def _statistics(rows: NDArray[np.float32], whole: float) -> dict[str, dict[str, float]]:
    columns = rows.astype(np.float64)
    columns = np.column_stack([columns, columns.sum(axis=1)])
    result: dict[str, dict[str, float]] = {}
    for part, values in zip((*PARTS, "total"), columns.T, strict=True):
        found = np.percentile(values, list(_COLUMNS.values()))
        total = float(values.sum())
        result[part] = {
            "count": len(values),
            **{name: _short(value) for name, value in zip(_COLUMNS, found, strict=True)},
            "sum": _short(total),
            "share": _short(total / whole) if whole else 0.0,
        }
    return result


def percentile_table(timings: Timings) -> Table:
    """Return a table of `percentiles`, for people.

    Parameters
    ----------
    timings : `Timings`
        What was measured.

    Returns
    -------
    table : `rich.table.Table`
        One row for each task and part.
    """
    from rich.table import Table
    from rich.text import Text

    table = Table("task", "part", title="Wall seconds of the quanta that are done")
    for name in ("quanta", "min", "median", "90 %", "99 %", "max", "sum", "share"):
        table.add_column(name, justify="right", no_wrap=True)
    for label, parts in percentiles(timings).items():
        for part, row in parts.items():
            is_total = part == "total"
            table.add_row(
                Text(label if part == PARTS[0] else ""),
                part,
                f"{row['count']:.0f}" if part == PARTS[0] else "",
                *(f"{row[name]:.3f}" for name in _COLUMNS),
                f"{row['sum']:.1f}",
                f"{row['share']:.1%}",
                style="bold" if is_total else None,
                end_section=is_total,
            )
    return table


def throughput(timings: Timings, wall_seconds: float) -> dict[str, float]:
    """Return how much was done per second.

    Parameters
    ----------
    timings : `Timings`
        What was measured.
    wall_seconds : `float`
        Duration of the run.

    Returns
    -------
    numbers : `dict` [`str`, `float`]
        Quanta (those that were done before do not count) and megabytes
        (1,000,000 bytes) per second, and the bytes.
    """
    read, written = timings.total_bytes()

    def per_second(number: float) -> float:
        return _short(number / wall_seconds) if wall_seconds > 0 else 0.0

    return {
        "quanta_per_second": per_second(timings.executed()),
        "read_megabytes_per_second": per_second(read / 1e6),
        "written_megabytes_per_second": per_second(written / 1e6),
        "read_bytes": read,
        "written_bytes": written,
    }


def summary_document(
    report: Report,
    timings: Timings,
    *,
    workers: int,
    retries: int,
    wall_seconds: float,
    cache: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return what ``--summary`` writes: upstream's report and one more key, ``"execution"``.

    Parameters
    ----------
    report : `lsst.pipe.base.quantum_reports.Report`
        What became of the quanta; readers of upstream's summary find it unchanged.
    timings : `Timings`
        What was measured.
    workers : `int`
        Number of workers.
    retries : `int`
        Number of attempts that were made again.
    wall_seconds : `float`
        Duration of the run.
    cache : `~collections.abc.Mapping`, optional
        Numbers of the cache of calibrations, ready for JSON.

    Returns
    -------
    document : `dict`
        Ready for JSON.
    """
    document: dict[str, Any] = report.model_dump(mode="json", exclude_none=True)
    document["execution"] = {
        "workers": workers,
        "retries": retries,
        "wall_seconds": _short(wall_seconds),
        "counts": timings.counts(),
        "throughput": throughput(timings, wall_seconds),
        "percentiles": percentiles(timings),
        **({"cache": dict(cache)} if cache is not None else {}),
        "quanta": list(timings.quanta()),
    }
    return document


def _short(number: float) -> float:
    """Round to microseconds: float32 has no more, and JSON would show its binary tail."""
    return round(float(number), 6)
