"""Clipped statistics against the three iterations written out."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from isr.numerics.statistics import clipped_statistics, mean, median, vector_statistics
from tests import naive


def assert_same_as_naive(image, mask, bits=0, num_sigma=3.0):
    values = naive.usable_values(image, mask, bits)
    expected_mean, expected_stdev = naive.clipped(values, num_sigma)
    found = clipped_statistics(image, mask, bits, num_sigma)
    assert found.count == len(values)
    np.testing.assert_array_equal(found.median, naive.quantile(values, 0.5))
    np.testing.assert_allclose(found.mean, expected_mean, rtol=1e-12)
    np.testing.assert_allclose(found.stdev, expected_stdev, rtol=1e-9, atol=1e-12 * abs(expected_mean))


@given(
    hnp.array_shapes(min_dims=2, max_dims=2, max_side=40),
    st.integers(0, 2**32 - 1),
    st.sampled_from([2.0, 3.0, 5.0]),
    st.sampled_from([0.0, 0.05, 0.4]),
)
def test_noise_with_outliers(shape, seed, num_sigma, part):
    random = np.random.default_rng(seed)
    image = random.normal(1000, 20, shape).astype(np.float32)
    image[random.random(shape) < part] += np.float32(random.normal(0, 3000))
    image[random.random(shape) < 0.02] = random.choice([np.nan, np.inf, -np.inf])
    mask = random.integers(0, 4, shape).astype(np.int32)
    for bits in (0, 1, 3):
        assert_same_as_naive(image, mask, bits, num_sigma)


@given(hnp.arrays(np.float32, (6, 19), elements=st.sampled_from([-3.0, 0.0, 1.5, 40.0, 1e6])))
def test_ties(image):
    assert_same_as_naive(image, np.zeros(image.shape, np.int32))


@pytest.mark.parametrize("width", [1, 15, 16, 17, 31, 32, 50])
def test_every_width_of_a_row(width):
    """The kernel takes sixteen columns at a time and the rest one by one."""
    image = np.random.default_rng(width).normal(5, 2, (7, width)).astype(np.float32)
    mask = (np.arange(7 * width, dtype=np.int32) % 5 == 0).astype(np.int32).reshape(7, width)
    assert_same_as_naive(image, mask, 1)
    np.testing.assert_allclose(mean(image, mask, 1), image[mask == 0].mean(dtype=np.float64), rtol=1e-13)
    assert median(image, mask, 1) == np.median(image[mask == 0].astype(np.float64))


def test_mean_counts_extreme_pixels_and_ignores_infinities():
    image = np.array([[1e38, -1e38, 3e38, np.inf, -np.inf, np.nan, 4.0]], np.float32)
    mask = np.zeros(image.shape, np.int32)
    np.testing.assert_allclose(mean(image, mask), image[0, [0, 1, 2, 6]].mean(dtype=np.float64), rtol=1e-15)


def test_nothing_to_measure():
    image, mask = np.ones((4, 20), np.float32), np.ones((4, 20), np.int32)
    found = clipped_statistics(image, mask, 1)
    assert found.count == 0
    assert all(math.isnan(value) for value in (found.median, found.mean, found.stdev))
    assert math.isnan(mean(image, mask, 1))
    assert math.isnan(median(image, mask, 1))


def test_one_pixel_has_no_width():
    image, mask = np.full((1, 1), 7.0, np.float32), np.zeros((1, 1), np.int32)
    found = clipped_statistics(image, mask)
    assert (found.count, found.median) == (1, 7.0)
    assert math.isnan(found.stdev)


@pytest.mark.parametrize("width", [5, 32, 37])
def test_constant_image(width):
    """Pixels at the border of a clip (here of no width) are inside."""
    image = np.full((30, width), 0.1, np.float32)
    found = clipped_statistics(image, np.zeros(image.shape, np.int32))
    assert (found.median, found.mean, found.stdev) == (float(np.float32(0.1)),) * 2 + (0.0,)


def test_rounding_does_not_make_a_variance_negative():
    """All pixels that a narrow clip leaves are equal, and away from the centre of the clip."""
    values = np.repeat(np.array([962.4371, 1000.4977, 1012.4497], np.float32), (9, 4, 5))[np.newaxis]
    assert clipped_statistics(values, np.zeros(values.shape, np.int32), 0, 1.0).stdev == 0.0


def test_a_small_spread_on_a_large_level_is_kept():
    """The squares are taken around the centre, not around zero."""
    random = np.random.default_rng(3)
    image = (1e6 + random.integers(-2, 3, (64, 64)) * 0.0625).astype(np.float32)
    assert_same_as_naive(image, np.zeros(image.shape, np.int32))


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=40), st.sampled_from([2.0, 3.0]))
def test_vector_statistics(values, num_sigma):
    values = np.array(values)
    found = vector_statistics(np.concatenate((values, [np.nan, np.inf])), num_sigma)
    assert found[0] == values.mean()
    np.testing.assert_allclose(found[1], naive.quantile(np.sort(values), 0.5), rtol=1e-14, atol=1e-300)
    np.testing.assert_allclose(found[2], naive.clipped(values, num_sigma)[1], rtol=1e-9, atol=1e-12)


@given(st.integers(0, 2**32 - 1), st.integers(2, 60))
def test_vectors_have_the_bits_of_numpy(seed, size):
    values = np.random.default_rng(seed).normal(1000.0, 3.0, size)
    mean, middle, stdev = vector_statistics(values, 3.0)
    assert (mean, middle) == (np.mean(values), np.median(values))
    lower, centre, upper = np.quantile(values, (0.25, 0.5, 0.75))
    width = 3.0 * 0.741301109252802 * (upper - lower)
    for _ in range(3):
        kept = values[np.abs(values - centre) <= width]
        centre, width = np.mean(kept), 3.0 * np.std(kept, ddof=1)
    assert stdev == np.std(kept, ddof=1)


@pytest.mark.parametrize("values", [[], [math.nan], [math.inf, math.nan]])
def test_vector_without_numbers(values):
    assert all(math.isnan(value) for value in vector_statistics(np.array(values)))


def test_vector_of_one_number():
    found = vector_statistics(np.array([3.5]))
    assert found[:2] == (3.5, 3.5)
    assert math.isnan(found[2])
