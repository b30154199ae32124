"""Dark subtraction and its scale."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import pytest

from isr.errors import ProcessingError
from isr.mask import MaskPlanes
from isr.steps.dark import dark_scale, subtract_dark
from tests.builders import VISIT_INFO, calib_image, exposure


def exposed(dark_time):
    return replace(exposure(), visit_info=replace(VISIT_INFO, dark_time=dark_time))


@pytest.mark.parametrize(
    ("of_exposure", "of_dark", "scale"), [(30.5, 1.0, 30.5), (47.3, 300.0, 47.3 / 300.0), (0.0, 1.0, 0.0)]
)
def test_pixels_in_float32(of_exposure, of_dark, scale):
    found, before = exposed(of_exposure), exposed(of_exposure)
    random = np.random.default_rng(4)
    mask = random.integers(0, 2, found.shape).astype(np.int32)
    variance = random.uniform(0, 1e-3, found.shape).astype(np.float32)
    dark = calib_image("dark", mask=mask, variance=variance, dark_time=of_dark)
    subtract_dark(found, dark)
    assert dark_scale(before, dark) == scale
    np.testing.assert_array_equal(found.image, before.image - np.float32(scale) * dark.image)
    np.testing.assert_array_equal(found.variance, before.variance + np.float32(scale * scale) * variance)
    np.testing.assert_array_equal(found.mask, mask)


def test_without_mask_and_variance():
    found, before = exposure(), exposure()
    subtract_dark(found, calib_image("dark"))
    np.testing.assert_array_equal(found.variance, before.variance)
    np.testing.assert_array_equal(found.mask, before.mask)


def test_the_planes_of_the_dark_are_translated():
    found = exposure()
    mask = np.full(found.shape, 1 << 9, np.int32)
    subtract_dark(found, calib_image("dark", mask=mask, planes=MaskPlanes({"CR": 9})))
    assert (found.mask == found.planes.bitmask("CR")).all()


def test_dark_that_states_no_dark_time_is_of_one_second(caplog):
    dark = calib_image("dark", dark_time=float("nan"))
    with caplog.at_level(logging.WARNING):
        assert dark_scale(exposure(), dark) == 30.5
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert record.getMessage() == "Dark dark.fits states no dark time (DARKTIME): 1 s assumed"


def test_stated_dark_time_gives_no_warning(caplog):
    with caplog.at_level(logging.WARNING):
        dark_scale(exposure(), calib_image("dark"))
    assert caplog.records == []


@pytest.mark.parametrize("dark_time", [float("nan"), float("inf")])
def test_unknown_dark_time_of_the_exposure(dark_time):
    found, before = exposed(dark_time), exposed(dark_time)
    with pytest.raises(
        ProcessingError, match=r"Visit 4242 detector 7: the dark time is .*EXPTIME.*doDark=False"
    ):
        subtract_dark(found, calib_image("dark"))
    np.testing.assert_array_equal(found.image, before.image)


@pytest.mark.parametrize("dark_time", [0.0, -1.0, float("inf"), float("-inf")])
def test_impossible_dark_time_of_the_dark(dark_time):
    with pytest.raises(
        ProcessingError, match=rf"dark dark\.fits: DARKTIME is {dark_time}, expected a positive"
    ):
        dark_scale(exposure(), calib_image("dark", dark_time=dark_time))
