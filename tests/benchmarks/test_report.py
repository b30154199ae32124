"""The report of the benchmarks: limits, tables, README's section."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.goals import GOALS, measure, results_of
from benchmarks.report import (
    MARKS,
    condense,
    contests_table,
    details,
    draw,
    goals_table,
    projection_section,
    readme_section,
    update,
)

ROOT = Path(__file__).parents[2]
KEPT = ROOT / "docs" / "performance.json"


def document() -> dict:
    """A result in which ours takes 2 s, then 3 s, and each peer 100 s."""
    names = {goal.benchmark for goal in GOALS}
    subjects = {"hsc-isr": [3.0, 2.0], "isr-run": [3.0, 2.0], "memcpy": [1.0, 1.0], "ccdproc": [100.0, 100.0]}
    info = {
        "cpu": subjects,
        "wall": subjects,
        "peak_mb": {"isr-run": [450.0, 460.0], "worker": [901.0]},
        "steps": {"assemble": [0.1, 0.2]},
        "bytes": {"hsc-isr": 10**8},
    }
    machine = {
        "cpu": "a CPU",
        "cores": 2,
        "memory_gb": 1,
        "system": "Linux",
        "load": 0.5,
        "date": "2026-01-02",
        "versions": {"python": "3"},
    }
    return {
        "machine_info": {"described": machine},
        "benchmarks": [{"name": name, "extra_info": info} for name in sorted(names)],
    }


def test_limits():
    found = {measured.goal.what: measured for measured in measure(results_of(document()))}
    assert len(found) == len(GOALS)
    ratio = found["basic ISR, overscan per row / memcpy of the same bytes"]
    assert (ratio.best, ratio.median, ratio.verdict) == (2.0, 2.5, "must")
    speed_up = found["basic ISR, overscan per row, against ccdproc"]
    assert (speed_up.best, speed_up.verdict) == (50.0, "must")
    assert speed_up.part_of_limit == pytest.approx(0.8)
    assert found["full HSC configuration (IsrTask: 15.0 s)"].verdict == "MISSED"
    assert found["peak memory, one raw"].verdict == "must"
    assert found["peak memory, worker"].verdict == "MISSED"


def test_tables(tmp_path):
    results = results_of(document())
    table = goals_table(measure(results))
    assert len(table) == len(GOALS) + 2
    assert any("| 50× |" in line and line.endswith("| must |") for line in table)
    assert any("| ccdproc | 100000.0 ms |" in line for line in contests_table(results))
    assert "| assemble | 100.0 ms | 150.0 ms |" in details(results)
    picture = tmp_path / "picture.png"
    draw(measure(results), document()["machine_info"]["described"], picture)
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_section_is_replaced():
    begin, end = MARKS["speed"]
    text = update(f"before\n{begin}\nold\n{end}\nafter\n", document())
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "\nold\n" not in text
    assert "a CPU, 2 cores" in text
    with pytest.raises(ValueError, match="marks"):
        update("nothing", document())


def test_what_is_kept_gives_the_same_section():
    kept = json.loads(json.dumps(condense(document())))
    assert readme_section(kept) == readme_section(document())


@pytest.mark.parametrize("path", ["README.md", "docs/performance.md"])
def test_texts_say_what_was_measured(path):
    """Their numbers are those of docs/performance.json, and were not written by hand."""
    if not KEPT.exists():
        pytest.skip("no run of the benchmarks has been kept in docs/performance.json yet")
    text = (ROOT / path).read_text()
    assert update(text, json.loads(KEPT.read_text())) == text


def test_projection():
    """2 s a detector on two cores: 1 s, 1 / 3600 of 0.192 USD; or the network, if it takes longer."""
    result = document()
    names = ("test_warm_job_s3", "test_write_exposure")
    for name in (f"{name}[{kind}]" for name in names for kind in ("none", "gzip2")):
        result["benchmarks"].append({"name": name, "extra_info": result["benchmarks"][0]["extra_info"]})
    section = projection_section(result)
    assert "Projection, not measured" in section
    assert "| plain, 100 MB | basic | 2.50 | CPU | 1.25 | 0.067 | 0.0075 |" in section
