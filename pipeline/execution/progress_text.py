"""Words and numbers of the view of a run."""

from __future__ import annotations

from itertools import pairwise

from pipeline.execution.progress_state import Snapshot
from pipeline.execution.rates import Rates

__all__ = [
    "beginning_line",
    "counts",
    "digits",
    "duration",
    "end_line",
    "number_of",
    "rate",
    "short_address",
    "state_line",
    "time_left",
    "traffic",
]

_UNITS = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))


def duration(seconds: float) -> str:
    """Return e.g. ``"46 s"`` or ``"2 h 5 min"``: two units at most."""
    rest = max(0, round(seconds))
    for (unit, size), (small, small_size) in pairwise(_UNITS):
        if rest >= size:
            big, little = divmod(round(rest / small_size) * small_size, size)
            return f"{big} {unit} {little // small_size} {small}" if little else f"{big} {unit}"
    return f"{rest} s"


def rate(rates: Rates) -> str:
    """Return e.g. ``"1.9 quanta/s"``, or per minute or hour if that is readable."""
    units = {"s": 1, "min": 60, "h": 3600}
    unit = next((unit for unit, size in units.items() if rates.quanta * size >= 0.5), "h")
    return f"{digits(rates.quanta * units[unit])} quanta/{unit}"


def traffic(rates: Rates) -> str:
    """Return e.g. ``"210 MB/s read, 55 MB/s written"``."""
    return f"{digits(rates.read / 1e6)} MB/s read, {digits(rates.written / 1e6)} MB/s written"


def digits(number: float) -> str:
    """Return a number with two digits, or all before the point."""
    if number >= 9.95:
        return f"{number:.0f}"
    return f"{number:.1f}" if number >= 0.95 or number == 0 else f"{number:.2g}"


def time_left(snapshot: Snapshot) -> str:
    """Return e.g. ``"about 46 s left"``, or nothing if that cannot be told."""
    return f"about {duration(max(1.0, snapshot.left))} left" if snapshot.left else ""


def counts(snapshot: Snapshot) -> str:
    """Return e.g. ``"12 of 99 quanta done, 2 running, 0 failed, 1 retried"``."""
    tally = snapshot.all
    return _join(
        f"{tally.done} of {tally.total} quanta done",
        f"{tally.running} running" if tally.running else "",
        f"{tally.failed} failed",
        f"{snapshot.blocked} blocked" if snapshot.blocked else "",
        f"{tally.retried} retried",
    )


def beginning_line(snapshot: Snapshot, dashboard: str) -> str:
    """Return the line with which a run begins."""
    tasks = _join(*(f"{tally.total} {tally.label}" for tally in snapshot.tallies))
    line = f"{snapshot.all.total} quanta to do" + (f" ({tasks})" if tasks else "")
    return f"{line}; dashboard of Dask: {dashboard}" if dashboard else line


def state_line(snapshot: Snapshot) -> str:
    """Return the line that says how far a run is."""
    rates = snapshot.rates
    speed = _join(rate(rates) if rates else "", time_left(snapshot))
    workers = number_of(snapshot.worker_count, "worker")
    return _join(counts(snapshot), speed, workers, traffic(rates) if rates else "", by="; ")


def end_line(snapshot: Snapshot) -> str:
    """Return the line with which a run ends, with the rates over the whole run."""
    line, mean = f"{counts(snapshot)} in {duration(snapshot.elapsed)}", snapshot.mean
    return _join(line, _join(rate(mean), traffic(mean)) if mean else "", by="; ")


def number_of(count: int, what: str) -> str:
    """Return e.g. ``"1 worker"`` or ``"2 workers"``."""
    return f"{count} {what}" + ("" if count == 1 else "s")


def short_address(worker: str) -> str:
    """Return the address of a worker without its protocol."""
    return worker.rpartition("://")[2]


def _join(*parts: str, by: str = ", ") -> str:
    return by.join(part for part in parts if part)
