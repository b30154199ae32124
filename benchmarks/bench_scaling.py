"""One to N workers, one to 100,000 quanta, and a whole visit beside ``pipetask run``."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
from lsst.daf.butler import Butler, Timespan

from benchmarks.data import VISIT
from benchmarks.measure import race, run
from benchmarks.memory import peaks

DETECTORS = 100
HERE = Path(__file__).parents[1]
PIPELINE = HERE / "pipeline" / "pipelines" / "visit.yaml"
WORKERS = [1 << i for i in range((os.cpu_count() or 1).bit_length())]


def execution_of(summary: Path) -> dict[str, Any]:
    return json.loads(summary.read_text())["execution"]


def remove_runs(repository: Path, pattern: str) -> None:
    with Butler.from_config(str(repository), writeable=True) as butler:
        butler.removeRuns(list(butler.collections.query(pattern)))


@pytest.mark.parametrize("workers", WORKERS)
def test_workers(benchmark, repository, folder, workers):
    """Both detectors of the repository, full configuration; ``execution``: seconds with workers up."""
    summary, name = folder / "summary.json", f"bench/workers/{workers}"
    command = (
        *("isr-run", "-b", repository, "-i", "HSC/defaults", "--output-run", name),
        *("-d", f"instrument='HSC' AND exposure={VISIT}", "--dask", f"local:{workers}"),
        *("--summary", summary, "--log-level", "WARNING"),
    )
    try:
        race(benchmark, {f"{workers} workers": lambda: run(*command)}, rounds=1, warm_up=False)
    finally:
        remove_runs(repository, name)
    execution = execution_of(summary)
    benchmark.extra_info |= {
        "quanta": execution["counts"]["done"],
        "execution": execution["seconds"]["execution"],
    }


@pytest.fixture(scope="module")
def empty_repository(request, tmp_path_factory) -> Path:
    """A repository that knows of exposures, without files."""
    root = tmp_path_factory.mktemp("graph") / "repo"
    exposures = 1000 if request.config.getoption("--long") else 10
    run("isr-repo", "create", root)
    with Butler.from_config(str(root), writeable=True) as butler:
        butler.collections.register("empty")
        registry, day = butler.registry, 20200101
        registry.insertDimensionData("day_obs", {"instrument": "HSC", "id": day})
        registry.insertDimensionData(
            "group", *({"instrument": "HSC", "name": str(number)} for number in range(exposures))
        )
        common = {
            "instrument": "HSC",
            "physical_filter": "HSC-R",
            "day_obs": day,
            "timespan": Timespan(None, None),
            "has_simulated": True,
        }
        own = ({"id": n, "obs_id": f"HSCA{n:08d}", "group": str(n)} for n in range(exposures))
        registry.insertDimensionData("exposure", *(common | record for record in own))
    return root


SIZES = [1, 100, 1000, *(pytest.param(size, marks=pytest.mark.long) for size in (10_000, 100_000))]


@pytest.mark.parametrize("quanta", SIZES)
def test_graph_size(benchmark, empty_repository, folder, quanta):
    """Quanta that do nothing, on two workers: what this package and LSST's add to each.

    The Dask scheduler lives in the process of the command: its memory is the driver's.
    """
    summary, found = folder / "summary.json", []
    exposures, detectors = max(1, quanta // DETECTORS), min(quanta, DETECTORS)
    command = (
        *("isr-run", "-b", empty_repository, "-i", "empty", "--output-run", f"run/{quanta}"),
        *("-t", "benchmarks.trivial_task.TrivialTask:trivial", "--no-versions"),
        *("--instrument", "lsst.obs.subaru.HyperSuprimeCam", "--dask", "local:2"),
        *("-d", f"instrument='HSC' AND exposure < {exposures} AND detector < {detectors}"),
        *("--summary", summary, "--log-level", "WARNING"),
    )
    path = os.pathsep.join(filter(None, (str(HERE), os.environ.get("PYTHONPATH"))))
    contestants = {f"{quanta} quanta": lambda: found.append(peaks(*command, PYTHONPATH=path))}
    race(benchmark, contestants, rounds=1, warm_up=False)
    execution = execution_of(summary)
    assert execution["counts"]["done"] == quanta
    driver, worker = found[0]
    benchmark.extra_info |= {
        "quanta": quanta,
        "execution": execution["seconds"]["execution"],
        "registration": execution["seconds"]["registration"],
        "peak_mb": {"driver": [driver], "worker": [worker]},
    }


@pytest.mark.long
def test_visit(benchmark, tmp_path):
    """33 detectors through three tasks on the same quantum graph; the pixels must be the same."""
    repository, graph, workers = tmp_path / "repo", tmp_path / "graph.qg", max(WORKERS)
    run("isr-repo", "demo", repository, "--all", "-j", workers, "--log-level", "WARNING")
    what = (
        "-b",
        repository,
        "-i",
        "HSC/defaults",
        "-d",
        f"instrument='HSC' AND visit={VISIT}",
        "-p",
        PIPELINE,
    )
    run("pipetask", "qgraph", *what, "--output-run", "graph", "-q", graph, "--qgraph-datastore-records")
    commands = {
        f"isr-run --dask local:{workers}": ("isr-run", "--dask", f"local:{workers}"),
        f"pipetask run -j {workers}": ("pipetask", "run", "--register-dataset-types", "-j", workers),
        "pipetask run": ("pipetask", "run", "--register-dataset-types"),
    }

    def execute(number: int, command: tuple[object, ...]) -> None:
        name, own = f"bench/visit/{number}", tmp_path / f"{number}.qg"
        run("pipetask", "update-graph-run", graph, name, own)
        run(*command, "-b", repository, "-g", own, "--output-run", name)

    contestants = {
        name: lambda number=number, command=command: execute(number, command)
        for number, (name, command) in enumerate(commands.items())
    }
    race(benchmark, contestants, rounds=1, warm_up=False)
    first, *others = (hash_pixels(repository, f"bench/visit/{number}") for number in range(len(commands)))
    assert len(first) == 33
    assert all(found == first for found in others)


def hash_pixels(repository: Path, name: str) -> dict[int, str]:
    """Return a hash of the image, mask and variance of each detector."""
    from pipeline import Butler as OurButler

    found = {}
    with OurButler(str(repository), collections=name, instrument="HSC") as butler:
        for ref in butler.query_datasets("postISRCCD"):
            exposure = butler.get(ref)
            digest = hashlib.sha256()
            for plane in (exposure.image, exposure.mask, exposure.variance):
                digest.update(plane.tobytes())
            found[ref.dataId["detector"]] = digest.hexdigest()
    return found
