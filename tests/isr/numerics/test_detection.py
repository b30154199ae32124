"""Smoothing and threshold of the detection."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from isr.numerics.detection import gaussian_kernel, smear, smooth, smoothed_threshold
from tests import naive, naive_later


def test_gaussian_kernel():
    kernel = gaussian_kernel(2.0)
    assert len(kernel) == 15
    assert kernel.sum() == pytest.approx(1.0, abs=1e-15)
    np.testing.assert_array_equal(kernel, kernel[::-1])
    assert kernel[7] / kernel[9] == pytest.approx(np.exp(0.5))
    assert len(gaussian_kernel(1.0)) == 7


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 30), st.integers(1, 30), st.sampled_from([0.3, 1.0, 2.0]), st.integers(0, 999))
def test_smooth_is_naive_bit_for_bit(ny, nx, sigma, seed):
    image = np.random.default_rng(seed).normal(0, 100, (ny, nx)).astype(np.float32)
    kernel = gaussian_kernel(sigma)
    np.testing.assert_array_equal(smooth(image, kernel), naive_later.smooth(image, kernel))


def test_nan_spreads_as_far_as_the_kernel():
    image = np.ones((30, 30), np.float32)
    image[14, 15] = np.nan
    found = np.isnan(smooth(image, gaussian_kernel(1.0)))
    expected = np.ones((30, 30), bool)
    expected[3:-3, 3:-3] = False
    expected[11:18, 12:19] = True
    np.testing.assert_array_equal(found, expected)


MASKS = hnp.arrays(
    np.int32,
    hnp.array_shapes(min_dims=2, max_dims=2, max_side=20),
    elements=st.sampled_from([0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4]),
)


@settings(deadline=None)
@given(MASKS, st.sampled_from([0, 1, 3]), st.integers(0, 8))
def test_masks_are_smeared_over_the_box_of_the_kernel(mask, bits, half):
    np.testing.assert_array_equal(smear(mask, bits, half), naive_later.near_masked(mask, bits, half))


def test_threshold():
    image = np.random.default_rng(3).normal(0, 10, (50, 60)).astype(np.float32)
    mask = np.zeros((50, 60), np.int32)
    mask[20, 30], mask[40, 4] = 1, 4
    kernel = gaussian_kernel(2.0)
    smoothed = smooth(image, kernel)
    found = smoothed_threshold(smoothed, mask, 1, 7, 5.0)
    used = np.isfinite(smoothed) & ~naive_later.near_masked(mask, 1, 7)
    _, sigma = naive.clipped(smoothed[used])
    assert found == pytest.approx(5.0 * sigma, rel=1e-9)
    mask[:] = 1
    assert np.isnan(smoothed_threshold(smoothed, mask, 1, 7, 5.0))
