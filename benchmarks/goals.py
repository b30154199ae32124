"""What was promised, and how each number is read from the JSON of pytest-benchmark."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

type Results = Mapping[str, Mapping[str, Any]]
"""Name of a benchmark -> its ``extra_info``."""


@dataclass(frozen=True)
class Goal:
    """One line of the table.

    Attributes
    ----------
    what : `str`
        What is measured.
    benchmark, subject, peer : `str`
        Name of the benchmark, of the contestant, and of the one that it is compared with.
    kind : `str`
        ``"ratio"``: CPU time over the peer's; ``"speed-up"``: the peer's over ours; ``"s"``: CPU seconds;
        ``"MB"``: peak memory.
    must, stretch : `float`
        At most this; of a speed-up, at least.
    """

    what: str
    benchmark: str
    subject: str
    kind: Literal["ratio", "speed-up", "s", "MB"]
    must: float
    stretch: float
    peer: str = ""


@dataclass(frozen=True)
class Measured:
    """A goal and what was found: the best round, which decides, and the median."""

    goal: Goal
    best: float
    median: float

    def meets(self, limit: float) -> bool:
        """Tell whether the best round keeps a limit."""
        return self.best >= limit if self.goal.kind == "speed-up" else self.best <= limit

    @property
    def verdict(self) -> str:
        """``"stretch"``, ``"must"`` or ``"MISSED"``."""
        return (
            "stretch" if self.meets(self.goal.stretch) else "must" if self.meets(self.goal.must) else "MISSED"
        )

    @property
    def part_of_limit(self) -> float:
        """How much of what "must" allows is used; 1 is the limit, less is better."""
        if self.goal.kind == "speed-up":
            return self.goal.must / self.best
        return self.best / self.goal.must


GOALS = (
    Goal(
        "basic ISR, overscan per row / memcpy of the same bytes",
        *("test_basic_per_row", "hsc-isr", "ratio", 2.0, 1.25, "memcpy"),
    ),
    Goal(
        "basic ISR with HSC's Akima overscan (IsrTask: 0.73 s)",
        *("test_basic_akima", "hsc-isr", "s", 0.06, 0.04),
    ),
    Goal(
        "basic ISR, overscan per row, against ccdproc",
        *("test_basic_per_row", "hsc-isr", "speed-up", 40, 60, "ccdproc"),
    ),
    Goal("full HSC configuration (IsrTask: 15.0 s)", "test_full", "hsc-isr", "s", 0.8, 0.5),
    Goal("warm job, plain FITS in and out, basic", "test_warm_job[none]", "hsc-isr", "s", 0.12, 0.09),
    Goal("warm job, lossless compressed output", "test_warm_job[gzip2]", "hsc-isr", "s", 0.8, 0.5),
    Goal("reading a `.fz` raw", "test_read_raw[fz]", "hsc-isr", "s", 0.045, 0.030),
    Goal("`isr-run`, files, cold process, full", "test_cold_file_mode", "isr-run", "s", 2.0, 1.2),
    Goal("peak memory, one raw", "test_one_shot[none]", "isr-run", "MB", 450, 350),
    Goal("peak memory, worker", "test_worker", "worker", "MB", 900, 700),
)


def results_of(document: Mapping[str, Any]) -> Results:
    """Return what each benchmark of a JSON file noted."""
    return {benchmark["name"]: benchmark["extra_info"] for benchmark in document["benchmarks"]}


def measure(results: Results) -> list[Measured]:
    """Return what was found for each goal that the results know of."""
    return [_measure(goal, results[goal.benchmark]) for goal in GOALS if goal.benchmark in results]


def _measure(goal: Goal, info: Mapping[str, Any]) -> Measured:
    if goal.kind == "MB":
        values = info["peak_mb"][goal.subject]
        return Measured(goal, min(values), statistics.median(values))
    values = info["cpu"][goal.subject]
    if goal.kind == "s":
        return Measured(goal, min(values), statistics.median(values))
    peer = info["cpu"][goal.peer]
    over, under = (peer, values) if goal.kind == "speed-up" else (values, peer)
    pairs = [a / b for a, b in zip(over, under, strict=True)]
    return Measured(goal, min(over) / min(under), statistics.median(pairs))
