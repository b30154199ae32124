"""Whole jobs on one detector: cold commands, and what a warm worker needs for the next raw; local and S3."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from lsst.daf.butler import Butler

from benchmarks.data import DETECTOR, RAW_NAME, VISIT, basic_config
from benchmarks.measure import SCRIPTS, race, run
from isr import hsc_config
from pipeline.file_mode import FileJob

QUERY = f"instrument='HSC' AND exposure={VISIT} AND detector={DETECTOR}"


def test_cold_file_mode(benchmark, data, folder):
    """``isr-run RAW``: full configuration, a process of its own, plain files."""
    raw = data / "raw" / RAW_NAME
    race(
        benchmark,
        {"isr-run": lambda: run("isr-run", raw, "--calibs", data, "-o", folder, "--overwrite")},
        rounds=5,
    )


def test_cold_file_mode_s3(benchmark, s3_data):
    """The same with raw, calibrations and output on an S3 server on loopback."""
    uri, variables = s3_data
    command = ("isr-run", f"{uri}/raw/{RAW_NAME}", "--calibs", uri, "-o", f"{uri}/out", "--overwrite")
    race(benchmark, {"isr-run": lambda: run(*command, **variables)}, rounds=3)


@pytest.fixture
def new_run(repository: Path) -> Iterator[Iterator[str]]:
    """Names of RUNs, which are removed in the end."""
    yield (f"bench/job/{number}" for number in itertools.count())
    with Butler.from_config(str(repository), writeable=True) as butler:
        butler.removeRuns(list(butler.collections.query("bench/job/*")))


def test_cold_butler(benchmark, repository, folder, new_run):
    """``isr-run -b`` beside ``pipetask run``, both with this package's task."""
    log = folder / "log.json"
    what = ("run", "-b", repository, "-i", "HSC/defaults", "-d", QUERY)
    phases: list[dict[str, float]] = []

    def ours() -> None:
        log.unlink(missing_ok=True)
        options = ("--no-log-tty", "--log-file", log, "--log-level", "pipeline.butler_mode=DEBUG")
        run("isr-run", *what[1:], "--output-run", next(new_run), *options)
        phases.append(read_phases(log))

    def pipetask() -> None:
        task = ("-t", "pipeline.task.IsrTask:isr", "--register-dataset-types")
        run("pipetask", *what, "--output-run", next(new_run), *task)

    race(benchmark, {"isr-run -b": ours, "pipetask run": pipetask}, rounds=3, warm_up=False)
    benchmark.extra_info["phases"] = {name: [found[name] for found in phases] for name in phases[0]}


def read_phases(log: Path) -> dict[str, float]:
    """Return the CPU seconds of each phase of ``isr-run -b``, from its log."""
    phases, last = {}, 0.0
    for line in log.read_text().splitlines():
        if found := re.match(r"Phase (\w+) ended at ([\d.]+) s", json.loads(line)["message"]):
            phases[found[1]], last = float(found[2]) - last, float(found[2])
    return phases


def reduce_new(job: FileJob, raw: object) -> None:
    """Reduce a raw; the output must not be there."""
    outcome = job.reduce(str(raw))
    assert not outcome.error, outcome.error


@pytest.mark.parametrize("compression", ["none", "gzip2"])
def test_warm_job(benchmark, data, folder, compression):
    """Plain raw in, a new file out, calibrations in memory; basic ISR with HSC's overscan."""
    job = FileJob(str(data), str(folder), basic_config("AKIMA_SPLINE"), compression=compression)

    def reduce() -> None:
        for path in folder.glob("*.fits"):
            path.unlink()
        reduce_new(job, data / "raw" / RAW_NAME)

    race(benchmark, {"hsc-isr": reduce}, rounds=7 if compression == "none" else 3)


@pytest.mark.parametrize("compression", ["none", "gzip2"])
def test_warm_job_s3(benchmark, s3_data, monkeypatch, compression):
    """The same from and to an S3 server on loopback."""
    uri, variables = s3_data
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    job = FileJob(uri, f"{uri}/warm", basic_config("AKIMA_SPLINE"), compression=compression, overwrite=True)
    race(benchmark, {"hsc-isr": lambda: reduce_new(job, f"{uri}/raw/{RAW_NAME}")}, rounds=3)


@pytest.mark.parametrize("compression", ["none", "gzip2"])
def test_several_raws(benchmark, data, folder, compression):
    """Six raws in file mode, full configuration: the next is read and the last written meanwhile, or not.

    Look at the wall time.
    """
    job = FileJob(str(data), str(folder), hsc_config(), compression=compression, overwrite=True)
    raws = [str(data / "raw" / RAW_NAME)] * 6

    def overlapping() -> None:
        assert not any(outcome.error for outcome in job.reduce_all(raws))

    def one_by_one() -> None:
        for raw in raws:
            reduce_new(job, raw)

    race(benchmark, {"overlapping": overlapping, "one by one": one_by_one}, rounds=3)


def test_two_workers(benchmark, data, folder):
    """The same in two processes at once on two processors, as workers are: it does not pay there.

    A process that sees one processor does one raw after the other.
    """
    raws = [data / "raw" / RAW_NAME] * 6
    taskset = shutil.which("taskset") or pytest.skip("there is no taskset, which says what a process sees")
    processors = sorted(os.sched_getaffinity(0))[:2]

    def both(*seen: str) -> None:
        with ThreadPoolExecutor(2) as threads:
            started = []
            for number, part in enumerate(seen):
                command = (taskset, "-c", part, SCRIPTS / "isr-run", *raws, "--calibs", data)
                started.append(threads.submit(run, *command, "-o", folder / str(number), "--overwrite"))
        for process in started:
            process.result()

    everything = ",".join(map(str, processors))
    race(
        benchmark,
        {
            "one by one": lambda: both(*map(str, processors)),
            "overlapping": lambda: both(everything, everything),
        },
        rounds=3,
    )
