"""Peak resident memory: a command that reduces one raw, and a worker that reduces several detectors."""

from __future__ import annotations

import uuid

import pytest
from lsst.daf.butler import Butler

from benchmarks.data import RAW_NAME, VISIT
from benchmarks.measure import race
from benchmarks.memory import peaks


@pytest.mark.parametrize("compression", ["none", "gzip2"])
def test_one_shot(benchmark, data, folder, compression):
    """``isr-run RAW`` in the full configuration."""
    raw, found = data / "raw" / RAW_NAME, []
    command = ("isr-run", raw, "--calibs", data, "-o", folder, "--overwrite", "--compress", compression)
    race(benchmark, {"isr-run": lambda: found.append(peaks(*command)[0])}, rounds=2, warm_up=False)
    benchmark.extra_info["peak_mb"] = {"isr-run": found}


def test_worker(benchmark, repository):
    """A Dask worker with the calibrations of two detectors; its command has the scheduler."""
    name, found = f"bench/memory/{uuid.uuid4().hex}", []
    command = ("isr-run", "-b", repository, "-i", "HSC/defaults", "--output-run", name, "--dask", "local:1")
    query = ("-d", f"instrument='HSC' AND exposure={VISIT} AND detector IN (22, 23)")
    try:
        race(benchmark, {"worker": lambda: found.append(peaks(*command, *query))}, rounds=1, warm_up=False)
    finally:
        with Butler.from_config(str(repository), writeable=True) as butler:
            butler.removeRuns(list(butler.collections.query(name)))
    benchmark.extra_info["peak_mb"] = {
        "worker": [others for _, others in found],
        "command with scheduler": [own for own, _ in found],
    }
