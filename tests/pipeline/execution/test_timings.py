"""Where the time went: percentiles, throughput, the summary file."""

from __future__ import annotations

import io
import json
import tracemalloc
from uuid import UUID

import numpy as np
import pytest
from lsst.pipe.base.graph import QgraphSummary
from lsst.pipe.base.quantum_reports import QuantumReport, Report
from rich.console import Console

from pipeline.execution.outcome import PARTS, Outcome
from pipeline.execution.timings import (
    ALL_TASKS,
    Timings,
    percentile_table,
    percentiles,
    summary_document,
    throughput,
)


def outcome(number: int, *seconds: float, label: str = "isr", status: str = "done", **more) -> Outcome:
    """One quantum; ``seconds`` by `PARTS`."""
    parts = dict(zip(PARTS, seconds, strict=True)) if seconds else {}
    data = f"exposure 903334 detector {number}"
    return Outcome(UUID(int=number), label, data, status, seconds=parts, worker="tcp://w:1", **more)


def hundred_and_one() -> Timings:
    """Quanta that read for 0, 0.01 ... 1 s, compute 1 s, write 0.5 s."""
    order = np.random.default_rng(1).permutation(101)
    return Timings(outcome(int(n), n / 100, 1.0, 0.5, 0.0) for n in order)


def test_percentiles_of_known_numbers():
    found = percentiles(hundred_and_one())
    assert list(found) == ["isr"]
    assert list(found["isr"]) == [*PARTS, "total"]
    assert found["isr"]["read"] == {
        "count": 101,
        "min": 0.0,
        "median": 0.5,
        "p90": 0.9,
        "p99": 0.99,
        "max": 1.0,
        "sum": 50.5,
        "share": 0.25,
    }
    total = found["isr"]["total"]
    assert (total["min"], total["median"], total["max"], total["sum"], total["share"]) == (
        1.5,
        2.0,
        2.5,
        202.0,
        1.0,
    )


def test_shares_are_of_all_tasks():
    found = percentiles(
        Timings(
            [
                outcome(1, 1.0, 2.0, 0.5, 0.5, label="isr"),
                outcome(2, 1.0, 0.0, 0.0, 0.0, label="qa"),
                outcome(3, 3.0, 0.0, 0.0, 0.0, label="qa"),
            ]
        )
    )
    assert list(found) == ["isr", "qa", ALL_TASKS]
    shares = {label: {part: row["share"] for part, row in parts.items()} for label, parts in found.items()}
    assert shares == {
        "isr": {"read": 0.125, "compute": 0.25, "write": 0.0625, "overhead": 0.0625, "total": 0.5},
        "qa": {"read": 0.5, "compute": 0.0, "write": 0.0, "overhead": 0.0, "total": 0.5},
        ALL_TASKS: {"read": 0.625, "compute": 0.25, "write": 0.0625, "overhead": 0.0625, "total": 1.0},
    }
    assert [parts["total"]["count"] for parts in found.values()] == [1, 2, 3]


def test_only_quanta_that_are_done_count_in_percentiles():
    timings = Timings(
        [
            outcome(1, 1.0, 1.0, 1.0, 1.0),
            outcome(2, 9.0, 9.0, 9.0, 9.0, status="failed"),
            outcome(3, 0.0, 0.0, 0.0, 0.0, status="idle"),
            outcome(4, status="skipped"),
            outcome(5, status="failed"),
            outcome(6),  # done, and nobody knows how long it took
        ]
    )
    assert percentiles(timings)["isr"]["total"]["count"] == 1
    assert percentiles(timings)["isr"]["total"]["sum"] == 4.0
    assert timings.counts() == {"done": 2, "skipped": 1, "idle": 1, "failed": 2, "refused": 0}
    assert timings.executed() == 5
    assert len(timings) == 6


def test_a_part_that_was_not_measured_is_nothing():
    made = Outcome(UUID(int=1), "isr", "d", "done", seconds={"compute": 2.0})
    assert percentiles(Timings([made]))["isr"]["read"]["sum"] == 0.0
    assert percentiles(Timings([made]))["isr"]["total"]["sum"] == 2.0


def test_seconds_are_float32_by_task():
    timings = Timings([outcome(1, 1.0, 2.0, 3.0, 4.0, label="b"), outcome(2, 5.0, 6.0, 7.0, 8.0, label="a")])
    seconds = timings.seconds()
    assert list(seconds) == ["b", "a"]
    assert seconds["b"].dtype == np.float32
    assert seconds["b"].tolist() == [[1.0, 2.0, 3.0, 4.0]]


def test_nothing_was_executed():
    timings = Timings()
    assert percentiles(timings) == {}
    assert throughput(timings, 0.0) == {
        "quanta_per_second": 0.0,
        "read_megabytes_per_second": 0.0,
        "written_megabytes_per_second": 0.0,
        "read_bytes": 0,
        "written_bytes": 0,
    }
    assert list(timings.quanta()) == []
    assert percentile_table(timings).row_count == 0


def test_throughput():
    timings = Timings(
        outcome(n, 1.0, 1.0, 1.0, 0.0, read_bytes=10**11, written_bytes=5 * 10**10) for n in range(4)
    )
    timings.add(outcome(9, status="skipped"))
    assert throughput(timings, 8.0) == {
        "quanta_per_second": 0.5,
        "read_megabytes_per_second": 50_000.0,
        "written_megabytes_per_second": 25_000.0,
        "read_bytes": 4 * 10**11,
        "written_bytes": 2 * 10**11,
    }


def test_table_for_people():
    timings = hundred_and_one()
    timings.add(outcome(500, 0.1, 0.2, 0.3, 0.4, label="[qa]"))
    console = Console(file=io.StringIO(), width=100, color_system=None)
    console.print(percentile_table(timings))
    rows = [line.replace("│", " ").split() for line in console.file.getvalue().splitlines()]
    assert ["read", "101", "0.000", "0.500", "0.900", "0.990", "1.000", "50.5", "24.9%"] in [
        row[1:] for row in rows if row[:1] == ["isr"]
    ]
    assert ["total", "1.500", "2.000", "2.400", "2.490", "2.500", "202.0", "99.5%"] in rows
    assert ["[qa]", "read", "1", "0.100", "0.100", "0.100", "0.100", "0.100", "0.1", "0.0%"] in rows


def test_summary_is_upstreams_report_and_one_more_key():
    quantum = QuantumReport({"instrument": "HSC", "detector": 1}, "isr", quantumId=UUID(int=1))
    report = Report(
        qgraphSummary=QgraphSummary(outputRun="u/run"), quantaReports=[quantum], cmdLine=["isr-run"]
    )
    timings = Timings()
    timings.add(outcome(1, 0.1, 0.2, 0.3, 0.4, read_bytes=2**33, written_bytes=5), attempts=2)
    timings.add(outcome(2, status="skipped"))
    document = summary_document(report, timings, workers=2, retries=1, wall_seconds=2.0, cache={"hits": 3})
    document = json.loads(json.dumps(document, allow_nan=False))
    ours = document.pop("execution")
    assert document == json.loads(report.model_dump_json(exclude_none=True))
    assert Report.model_validate({**document, "execution": ours}) == report
    assert {name: ours[name] for name in ("workers", "retries", "wall_seconds", "cache")} == {
        "workers": 2,
        "retries": 1,
        "wall_seconds": 2.0,
        "cache": {"hits": 3},
    }
    assert ours["counts"]["skipped"] == 1
    assert ours["throughput"] == throughput(timings, 2.0)
    assert ours["percentiles"] == percentiles(timings)
    assert ours["quanta"] == [
        {
            "id": str(UUID(int=1)),
            "label": "isr",
            "data": "exposure 903334 detector 1",
            "status": "done",
            "worker": "tcp://w:1",
            "attempts": 2,
            "seconds": {"read": 0.1, "compute": 0.2, "write": 0.3, "overhead": 0.4},
            "read_bytes": 2**33,
            "written_bytes": 5,
        },
        {
            "id": str(UUID(int=2)),
            "label": "isr",
            "data": "exposure 903334 detector 2",
            "status": "skipped",
            "worker": "tcp://w:1",
        },
    ]


def test_summary_without_a_cache():
    report = Report(qgraphSummary=QgraphSummary())
    document = summary_document(report, Timings(), workers=0, retries=0, wall_seconds=0.0)
    assert "cache" not in document["execution"]


def test_little_memory_for_each_quantum():
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        timings = Timings(outcome(n % 1000, 1.0, 1.0, 1.0, 1.0, report="x" * 1000) for n in range(20_000))
        size = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert len(timings) == 20_000
    assert size / 20_000 < 100


@pytest.mark.parametrize("status", ["done", "skipped", "idle", "failed", "refused"])
def test_each_status_comes_back(status):
    (entry,) = Timings([outcome(1, status=status)]).quanta()
    assert entry["status"] == status
    assert "seconds" not in entry
    assert "attempts" not in entry
