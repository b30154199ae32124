"""HSC's whole configuration gives the same bits whatever the threads, the layout and the byte order."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numba
import numpy as np
import pytest

from isr.calibs import CalibInfo, Crosstalk, Linearizer, StrayLight
from isr.errors import ProcessingError
from isr.exposure import RawFrame
from isr.hsc.facts import crosstalk_matrix
from isr.run import run_isr
from tests.isr.test_bad_input import full_config, make_input
from tests.isr.test_run import assert_same

pytestmark = pytest.mark.skipif(
    bool(numba.config.DISABLE_JIT), reason="whole frames take minutes if nothing is compiled"
)


@pytest.fixture(scope="module")
def given():
    """A frame and all calibrations, those of the camera and the configuration as datasets, too."""
    raw, some = make_input()
    info = CalibInfo("any")
    names = [amp.name for amp in raw.detector.amplifiers]
    table = np.random.default_rng(0).normal(0, 2, (4, 70000)).astype(np.float32)
    lookup = {name: np.array([i, 0.0]) for i, name in enumerate(names)}
    linearizer = Linearizer(info, dict.fromkeys(names, "LookupTable"), lookup, table)
    random = np.random.default_rng(1)
    variance = random.uniform(0, 1e-4, some.flat.image.shape).astype(np.float32)
    mask = np.where(random.random(some.flat.image.shape) < 0.01, 1, 0).astype(np.int32)
    flat = replace(some.flat, variance=variance, mask=mask)
    return raw, replace(some, flat=flat, linearizer=linearizer, crosstalk=Crosstalk(info, crosstalk_matrix()))


@pytest.fixture(scope="module")
def expected(given):
    return run_isr(*given, full_config())


def converted(raw, some, convert):
    """Frame and calibrations with every array converted."""

    def each(calib, *names):
        arrays = {name: getattr(calib, name) for name in names}
        return replace(calib, **{name: convert(a) for name, a in arrays.items() if a is not None})

    frames = {
        k: each(getattr(some, k), "image", "mask", "variance") for k in ("bias", "dark", "flat", "fringe")
    }
    others = {
        "defects": each(some.defects, "boxes"),
        "linearizer": each(some.linearizer, "table"),
        "crosstalk": each(some.crosstalk, "coeffs"),
        "bfKernel": each(some.bfKernel, "kernel"),
    }
    return each(raw, "pixels"), replace(some, **frames, **others)


def strided(array):
    """A view into a larger array, every second row and column, stored backwards."""
    large = np.zeros((2 * array.shape[0] + 3, 2 * array.shape[1] + 5), array.dtype)
    view = large[::-1, ::-1][2 : 2 * array.shape[0] + 2 : 2, 4 : 2 * array.shape[1] + 4 : 2]
    view[...] = array
    assert not view.flags.forc
    return view


def swapped(array):
    found = array.astype(array.dtype.newbyteorder())
    assert not found.dtype.isnative
    return found


def read_only(array):
    view = array.view()
    view.setflags(write=False)
    return view


CONVERSIONS = {
    "copy": np.copy,
    "read only": read_only,
    "byte-swapped": swapped,
    "Fortran": np.asfortranarray,
    "strided": strided,
}


@pytest.mark.parametrize("how", CONVERSIONS)
def test_layout_and_byte_order(given, expected, how):
    raw, some = converted(*given, CONVERSIONS[how])
    assert_same(run_isr(raw, some, full_config()), expected)


def test_repeated_runs_and_threads(given, expected):
    for _ in range(2):
        assert_same(run_isr(*given, full_config()), expected)
    with ThreadPoolExecutor(2) as pool:
        for result in pool.map(lambda _: run_isr(*given, full_config()), range(6)):
            assert_same(result, expected)


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.float32, ">i2"])
def test_raw_pixels_of_another_type_are_refused(given, dtype):
    raw, _ = given
    with pytest.raises(ProcessingError, match="expected uint16"):
        RawFrame(raw.pixels.astype(dtype), raw.detector, raw.visit_info)


def test_stray_light_of_another_byte_order():
    cube = np.arange(24, dtype=">f4").reshape(2, 3, 4)
    calib = StrayLight(CalibInfo("yBackground"), (cube, cube), (6, 8), (1, 1, 1))
    for found in calib.cubes:
        assert found.dtype == np.float32
        assert found.dtype.isnative
        np.testing.assert_array_equal(found, cube)
