"""Decoded calibrations: what is kept, for how long, and that results are the same bits."""

from __future__ import annotations

import os
import shutil
import stat
from dataclasses import replace

import numba
import numpy as np
import pytest

from isr.calibs import CalibImage, CalibInfo, Calibs, Defects, StrayLight
from isr.numerics import pointwise
from isr.run import run_isr
from pipeline.execution import calib_cache
from pipeline.execution.calib_cache import CacheStatistics, CalibCache
from tests.isr.test_bad_input import full_config, make_input
from tests.isr.test_run import assert_same
from tests.pipeline.execution.calib_frames import SHAPE, Loader, assert_equal, files, frame, refuse

PLENTY = 1 << 30
PLANES = 3 * 4 * SHAPE[0] * SHAPE[1]  # bytes of one frame


def use(path, used: float) -> None:
    """Let a file be used last at a time."""
    os.utime(path, (used, used))


def test_nothing_is_installed_unless_asked():
    assert calib_cache.current() is None
    cache = CalibCache(None, 0, 0)
    calib_cache.install(cache)
    assert calib_cache.current() is cache
    calib_cache.install(None)
    assert calib_cache.current() is None


def test_memory():
    cache, load = CalibCache(None, PLENTY, 0), Loader()
    first = cache.get("a", load)
    assert cache.get("a", refuse) is first
    assert_equal(first, frame())
    assert cache.get("b", load) is not first
    assert load.count == 2
    found = cache.statistics()
    assert replace(found, held_bytes=0) == CacheStatistics(memory_hits=1, misses=2)
    assert 2 * PLANES < found.held_bytes < 2 * PLANES + 20_000


def test_memory_drops_what_was_not_used_for_longest():
    cache, load = CalibCache(None, int(3.5 * PLANES), 0), Loader()
    for key in ("a", "b", "c", "a", "d"):
        cache.get(key, load)
    assert load.count == 4
    for key in ("a", "c", "d"):
        cache.get(key, refuse)
    cache.get("b", load)  # drops a
    assert cache.statistics().held_bytes < 3.5 * PLANES
    cache.get("a", load)
    assert load.count == 6


def test_what_is_larger_than_the_memory_is_not_kept_and_drops_nothing():
    cache, load = CalibCache(None, 2 * PLANES, 0), Loader()
    cache.get("a", load)
    cache.get("large", lambda: frame(shape=(200, 200)))
    cache.get("a", refuse)
    assert load.count == 1
    assert CalibCache(None, 0, 0).get("a", load) is not None


def test_nothing_is_kept_of_what_cannot_be_read(tmp_path):
    cache = CalibCache(tmp_path / "c", PLENTY, PLENTY)
    with pytest.raises(AssertionError, match="decoded"):
        cache.get("a", refuse)
    assert cache.statistics() == CacheStatistics()
    assert files(tmp_path / "c") == []
    assert_equal(cache.get("a", frame), frame())


def test_tables_are_kept_in_memory_only(tmp_path):
    cache = CalibCache(tmp_path / "c", PLENTY, PLENTY)
    cubes = (np.zeros((3, 50, 40), np.float32), np.zeros((3, 50, 40), np.float32))
    tables = {
        "a": Defects(CalibInfo("defects"), np.zeros((5, 4), np.int32)),
        "b": StrayLight(CalibInfo("yBackground"), cubes, (50, 40), (1, 1, 1)),
    }
    for key, table in tables.items():
        assert cache.get(key, lambda table=table: table) is table
        assert cache.get(key, refuse) is table
    assert cache.statistics().held_bytes > 2 * 3 * 50 * 40 * 4
    assert files(tmp_path / "c") == []


@pytest.mark.parametrize("has_planes", [True, False])
def test_files_are_for_other_processes(tmp_path, has_planes):
    cache = CalibCache(tmp_path / "c", PLENTY, PLENTY)
    assert_equal(cache.get("a", lambda: frame(has_planes=has_planes)), frame(has_planes=has_planes))
    cache.get("a", refuse)
    other = CalibCache(tmp_path / "c", PLENTY, PLENTY)
    found = other.get("a", refuse)
    assert_equal(found, frame(has_planes=has_planes))
    assert other.get("a", refuse) is found
    assert replace(other.statistics(), held_bytes=0) == CacheStatistics(memory_hits=1, disk_hits=1)
    (path,) = files(tmp_path / "c")
    assert stat.S_IMODE((tmp_path / "c").stat().st_mode) == 0o700
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (0, 4), (7, 0)])
def test_any_shape(tmp_path, shape):
    expected = CalibImage(CalibInfo("flat"), np.full(shape, 2, np.float32), np.full(shape, 1, np.int32))
    for load in (lambda: expected, refuse):
        assert_equal(CalibCache(tmp_path / "c", 0, PLENTY).get("a", load), expected)


def test_mapped_planes_are_ordinary_arrays_to_the_kernels(tmp_path):
    for load in (frame, refuse):
        found = CalibCache(tmp_path / "c", 0, PLENTY).get("a", load)
        for plane in (found.image, found.mask, found.variance):
            assert type(plane) is np.ndarray
            assert plane.flags.carray
            assert not plane.flags.owndata  # mapped
            assert numba.typeof(plane) == numba.typeof(np.empty(SHAPE, plane.dtype))


def test_whoever_writes_to_a_plane_does_not_change_the_file(tmp_path):
    found = CalibCache(tmp_path / "c", 0, PLENTY).get("a", frame)
    found.image[...] = 7
    assert_equal(CalibCache(tmp_path / "c", 0, PLENTY).get("a", refuse), frame())


@pytest.mark.parametrize(
    "calib",
    [
        replace(frame(), metadata={"tuple": (1, 2)}),
        replace(frame(), metadata={"number": np.float64(1)}),
        replace(frame(), metadata={"object": object()}),
        replace(frame(), metadata={1: 2}),
        replace(frame(), image=np.zeros((2, *SHAPE))),
    ],
    ids=["tuple", "NumPy", "object", "key", "cube"],
)
def test_what_would_not_come_back_as_it_is_stays_in_memory(tmp_path, calib):
    cache = CalibCache(tmp_path / "c", PLENTY, PLENTY)
    assert cache.get("a", lambda: calib) is calib
    assert cache.get("a", refuse) is calib
    assert files(tmp_path / "c") == []


def test_planes_that_are_not_contiguous(tmp_path):
    large = frame(shape=(2 * SHAPE[0], SHAPE[1]))
    calib = replace(large, image=large.image[::2], mask=None, variance=None)
    for load in (lambda: calib, refuse):
        found = CalibCache(tmp_path / "c", 0, PLENTY).get("a", load)
        np.testing.assert_array_equal(found.image, calib.image)
        assert found.image.flags.carray


def test_files_that_were_not_used_for_longest_are_removed(tmp_path):
    folder = tmp_path / "c"
    paths, size = {}, 0
    for number, key in enumerate("abc"):
        CalibCache(folder, 0, PLENTY).get(key, frame)
        (paths[key],) = set(files(folder)) - set(paths.values())
        use(paths[key], 1_000_000.0 + number)
        size = paths[key].stat().st_size
    cache = CalibCache(folder, PLENTY, int(3.5 * size))
    kept = cache.get("b", refuse)
    use(paths["b"], 0.0)
    assert cache.get("b", refuse) is kept  # in memory, but its file was used again
    CalibCache(folder, 0, PLENTY).get("a", refuse)
    cache.get("d", frame)
    assert paths["a"].exists()
    assert paths["b"].exists()
    assert not paths["c"].exists()
    assert sum(path.stat().st_size for path in files(folder)) <= 3.5 * size
    cache.get("large", lambda: frame(shape=(300, 300)))  # no file, and none is removed
    assert len(files(folder)) == 3


def test_half_of_the_free_disk_is_left_to_others(tmp_path, monkeypatch):
    folder = tmp_path / "c"
    cache = CalibCache(folder, 0, PLENTY)
    cache.get("a", frame)
    (oldest,) = files(folder)
    use(oldest, 1_000_000.0)
    size, disk = oldest.stat().st_size, shutil.disk_usage(folder)

    def usage(path):
        taken = sum(file.stat().st_size for file in files(folder))
        return disk._replace(free=5 * size - taken)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    cache.get("b", frame)
    assert oldest.exists(), "two of five"
    cache.get("c", frame)
    assert not oldest.exists()
    assert len(files(folder)) == 2


def test_a_removed_file_stays_with_those_who_have_mapped_it(tmp_path):
    found = CalibCache(tmp_path / "c", 0, PLENTY).get("a", frame)
    for path in files(tmp_path / "c"):
        path.unlink()
    assert_equal(found, frame())


def test_another_version_of_this_package_decodes_for_itself(tmp_path, monkeypatch):
    CalibCache(tmp_path / "c", 0, PLENTY).get("a", frame)
    monkeypatch.setattr("pipeline.execution.calib_files.version", lambda name: "0.0.0")
    load = Loader()
    CalibCache(tmp_path / "c", 0, PLENTY).get("a", load)
    assert load.count == 1


@pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="whole frames take minutes if nothing is compiled")
def test_the_steps_give_the_same_bits_and_write_to_no_calibration(tmp_path):
    raw, some = make_input()
    random = np.random.default_rng(1)
    mask = np.where(random.random(some.flat.image.shape) < 0.01, 1, 0).astype(np.int32)
    variance = random.uniform(0, 1e-4, some.flat.image.shape).astype(np.float32)
    some = replace(
        some,
        **{
            kind: replace(getattr(some, kind), mask=mask, variance=variance)
            for kind in ("bias", "dark", "flat", "fringe")
        },
    )
    expected = run_isr(raw, some, full_config())
    compiled = len(pointwise.correct.signatures)
    contents: list[list[bytes]] = []

    def reduce(cache: CalibCache) -> None:
        cached = {kind: cache.get(kind, lambda calib=calib: calib) for kind, calib in some.items()}
        before = {kind: _bytes(calib) for kind, calib in cached.items()}
        assert_same(run_isr(raw, Calibs(**cached), full_config()), expected)
        assert {kind: _bytes(calib) for kind, calib in cached.items()} == before
        contents.append([path.read_bytes() for path in files(tmp_path / "c")])

    first, second = (CalibCache(tmp_path / "c", PLENTY, PLENTY) for _ in range(2))
    for cache in (first, first, second, second):
        reduce(cache)
    frames, tables = 4, 2
    assert len(contents[0]) == frames
    assert contents == 4 * contents[:1]
    assert len(pointwise.correct.signatures) == compiled
    found = replace(second.statistics(), held_bytes=0)
    assert found == CacheStatistics(memory_hits=frames + tables, disk_hits=frames, misses=tables)


def _bytes(calib) -> bytes:
    arrays = [getattr(calib, name, None) for name in ("image", "mask", "variance", "boxes", "kernel")]
    return b"".join(array.tobytes() for array in arrays if array is not None)
