"""The cache of calibrations below a Butler: what is kept, and what is not fetched again."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from lsst.daf.butler import DataCoordinate, DatasetRef, DatasetType, FileDataset, QuantumBackedButler

from isr.calibs import CalibInfo, Defects
from isr.camera import Box
from isr.fits.calib import encode_calib
from pipeline.dataset_types import CALIB_TYPES, dataset_type
from pipeline.execution import calib_cache
from pipeline.execution.calib_cache import CacheStatistics, CalibCache
from tests.builders import exposure
from tests.pipeline.execution.calib_frames import assert_equal, files, frame

PLENTY = 1 << 30
RUN = "calibs"
NUMBER = 22


def calib(kind: str) -> Any:
    """A small calibration of a kind."""
    info = CalibInfo(kind, detector=NUMBER, physical_filter="HSC-R" if kind in ("flat", "fringe") else "")
    if kind == "defects":
        return Defects(info, np.array([[1, 2, 3, 4]], np.int32))
    return replace(frame(NUMBER), info=info, metadata={"A": 1})


@pytest.fixture
def stored(butler) -> dict[str, Any]:
    """References of calibrations in a repository, by kind."""
    found = {}
    butler.registry.registerRun(RUN)
    for kind in ("bias", "dark", "flat", "fringe", "defects"):
        butler.registry.registerDatasetType(dataset_type(kind, butler.dimensions))
        values = {"instrument": "HSC", "detector": NUMBER}
        if "physical_filter" in CALIB_TYPES[kind].dimensions:
            values["physical_filter"] = "HSC-R"
        found[kind] = butler.put(calib(kind), kind, values, run=RUN)
    return found


@pytest.fixture
def cache(tmp_path) -> Iterator[CalibCache]:
    """The cache of this process."""
    made = CalibCache(tmp_path / "c", PLENTY, PLENTY)
    calib_cache.install(made)
    yield made
    calib_cache.install(None)


def counts(cache: CalibCache) -> CacheStatistics:
    return replace(cache.statistics(), held_bytes=0)


def for_quanta(butler, refs) -> QuantumBackedButler:
    """A Butler as workers have it: what it knows came with the quantum."""
    return QuantumBackedButler.from_predicted(
        butler._config,
        [ref.id for ref in refs],
        [],
        butler.dimensions,
        butler._datastore.export_records(refs),
        dataset_types={ref.datasetType.name: ref.datasetType for ref in refs},
    )


def test_nothing_is_kept_without_a_cache(butler, stored):
    assert butler.get(stored["bias"]) is not butler.get(stored["bias"])


def test_from_one_process_to_the_next(butler, stored, cache, tmp_path):
    calib_cache.install(None)
    expected = {kind: butler.get(ref) for kind, ref in stored.items()}
    calib_cache.install(cache)
    first = {kind: butler.get(ref) for kind, ref in stored.items()}
    assert counts(cache) == CacheStatistics(misses=5)
    assert len(files(tmp_path / "c")) == 4
    other = CalibCache(tmp_path / "c", PLENTY, PLENTY)
    calib_cache.install(other)
    defects_only = stored.pop("defects")
    for ref in stored.values():
        butler.getURI(ref).remove()  # so that nothing can be read
    with for_quanta(butler, list(stored.values())) as worker:
        for _ in range(2):
            for kind, ref in stored.items():
                assert_equal(worker.get(ref), expected[kind])
                assert_equal(first[kind], expected[kind])
                assert expected[kind].info.uuid == str(ref.id)
                assert expected[kind].info.run == RUN
    assert_equal(butler.get(defects_only), expected["defects"])
    assert counts(other) == CacheStatistics(memory_hits=4, disk_hits=4, misses=1)


def test_parts_are_read_from_the_file(butler, stored, cache):
    ref = stored["bias"]
    whole = butler.get(ref)
    box = Box(3, 4, 10, 5)
    part = butler.get(ref, parameters={"bbox": box})
    np.testing.assert_array_equal(part.image, whole.image[box.slices])
    assert butler.get(ref.makeComponentRef("dimensions")) == (40, 50)
    assert counts(cache) == CacheStatistics(misses=1)
    assert butler.get(ref) is whole


def test_only_calibrations_are_kept(butler, cache, tmp_path):
    """Others are read once, and would fill the memory."""
    butler.registry.registerRun(RUN)
    kind = DatasetType("picture", ("instrument", "detector"), "Exposure", universe=butler.dimensions)
    butler.registry.registerDatasetType(kind)
    ref = butler.put(exposure(), "picture", instrument="HSC", detector=NUMBER, run=RUN)
    assert butler.get(ref) is not butler.get(ref)
    assert counts(cache) == CacheStatistics()
    assert files(tmp_path / "c") == []


def test_a_calibration_that_cannot_be_read(butler, stored, cache):
    butler.getURI(stored["dark"]).write(b"x" * butler.getURI(stored["dark"]).size())
    for _ in range(2):
        with pytest.raises(ValueError, match="Failure from formatter"):
            butler.get(stored["dark"])
    assert counts(cache) == CacheStatistics()


@pytest.fixture
def requests(monkeypatch) -> Counter[str]:
    """Requests to an object store by operation, e.g. GetObject."""
    from botocore.client import BaseClient

    found: Counter[str] = Counter()
    call = BaseClient._make_api_call

    def count(self, operation, arguments):
        found[operation] += 1
        return call(self, operation, arguments)

    monkeypatch.setattr(BaseClient, "_make_api_call", count)
    return found


@pytest.mark.parametrize("mode", ["datasets=4", "disabled"])
def test_nothing_is_fetched_again_from_an_object_store(
    butler, s3, s3_bucket, cache, requests, tmp_path, monkeypatch, mode
):
    """Also with the Butler's own cache of files, which copies them before a formatter reads."""
    monkeypatch.setenv("DAF_BUTLER_CACHE_EXPIRATION_MODE", mode)
    monkeypatch.setenv("DAF_BUTLER_CACHE_DIRECTORY", str(tmp_path / "files"))
    content = encode_calib(calib("bias"))
    s3.client().put_object(Bucket=s3_bucket.removeprefix("s3://"), Key="bias.fits", Body=content)
    kind = dataset_type("bias", butler.dimensions)
    butler.registry.registerDatasetType(kind)
    butler.registry.registerRun(RUN)
    data_id = DataCoordinate.standardize(instrument="HSC", detector=NUMBER, universe=butler.dimensions)
    ref = DatasetRef(kind, data_id, RUN)
    butler.ingest(FileDataset(f"{s3_bucket}/bias.fits", [ref]), transfer="direct")
    requests.clear()

    def get() -> Any:
        shutil.rmtree(tmp_path / "files", ignore_errors=True)
        with for_quanta(butler, [ref]) as worker:
            return worker.get(ref)

    first = get()
    once = requests.copy()
    assert once["GetObject"] == 1
    assert get() is first
    calib_cache.install(CalibCache(tmp_path / "c", PLENTY, PLENTY))
    assert_equal(get(), first)
    assert requests == once
    calib_cache.install(None)
    assert_equal(get(), first)
    assert requests["GetObject"] == 2
