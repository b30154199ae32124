"""Flat-field division."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isr.mask import MaskPlanes
from isr.steps.flat import divide_by_flat
from tests import naive
from tests.builders import calib_image, exposure


@given(st.integers(0, 2**32 - 1), st.booleans())
def test_pixels_as_specified(seed, with_variance):
    found, before = exposure(seed=seed), exposure(seed=seed)
    flat_variance = None
    if with_variance:
        flat_variance = np.random.default_rng(seed).uniform(0, 1e-3, found.shape).astype(np.float32)
    flat = calib_image("flat", seed=seed, variance=flat_variance)
    divide_by_flat(found, flat)
    used = np.zeros(found.shape, np.float32) if flat_variance is None else flat_variance
    image, variance = naive.flat_fielded(before.image, before.variance, flat.image, used)
    np.testing.assert_array_equal(found.image, image)
    np.testing.assert_array_equal(found.variance, variance)
    assert (found.image.dtype, found.variance.dtype) == (np.float32, np.float32)


@pytest.mark.parametrize("with_variance", [False, True])
def test_zeros_and_other_impossible_values(with_variance):
    """inf and NaN as IEEE arithmetic gives them; nothing masks them (spec 4.15)."""
    found, before = exposure(), exposure()
    flat = calib_image("flat")
    flat.image[0, :6] = 0.0, -0.0, np.nan, np.inf, 1e-30, -0.5
    flat.image[1, :2] = 0.0
    found.image[1, :2] = before.image[1, :2] = 0.0, np.nan
    flat_variance = np.full(found.shape, 0.25 if with_variance else 0.0, np.float32)
    if with_variance:
        flat = calib_image("flat", image=flat.image, variance=flat_variance)
    with np.errstate(all="ignore"):  # without JIT the kernel warns as NumPy does
        divide_by_flat(found, flat)
    image, variance = naive.flat_fielded(before.image, before.variance, flat.image, flat_variance)
    np.testing.assert_array_equal(found.image, image)
    np.testing.assert_array_equal(found.variance, variance)
    assert np.isposinf(found.image[0, 0])
    assert np.isneginf(found.image[0, 1])
    assert np.isnan(found.image[1, :2]).all()
    assert not np.isfinite(found.variance[0, :4]).any()
    assert not found.mask.any()


def test_mask_is_translated():
    found = exposure()
    found.mask[0, 0] = found.planes.bitmask("SAT")
    mask = np.zeros(found.shape, np.int32)
    mask[0, :2] = 1 << 30
    divide_by_flat(found, calib_image("flat", mask=mask, planes=MaskPlanes({"BAD": 30})))
    assert found.mask[0, :3].tolist() == [3, 1, 0]


def test_the_flat_is_not_renormalised():
    found, before = exposure(), exposure()
    divide_by_flat(found, calib_image("flat", image=np.full(found.shape, 2.0, np.float32)))
    np.testing.assert_array_equal(found.image, before.image / 2)
    np.testing.assert_array_equal(found.variance, before.variance / 4)
