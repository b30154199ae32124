"""Brighter-fatter correction of an image in electrons."""

from __future__ import annotations

import numpy as np
import pytest

from isr.hsc.facts import brighter_fatter_kernel
from isr.numerics.deflection import BAND, Gains, charge_correction
from tests import naive_later

SMALL = -np.array([[1, 3, 1], [3, 7, 3], [1, 3, 1]]) * 1e-7
SKEW = SMALL * np.array([[1.0, 0.5, 1.2], [0.9, 1.1, 1.0], [0.8, 1.0, 1.3]])


def correct_charge(electrons, kernel, max_iterations, threshold, conserve=False):
    """Correct an image in place; returns iteration and change."""
    ny, nx = electrons.shape
    ones = Gains(np.array([[0, 0, nx, ny]]), np.ones(1, np.float32))
    correction, *rest = charge_correction(
        electrons, ones, kernel, max_iterations, threshold, conserve=conserve
    )
    np.add(electrons, correction, out=electrons, casting="same_kind")
    return tuple(rest)


def correct_charge_conserving(*arguments):
    return correct_charge(*arguments, conserve=True)


def stars(shape=(40, 44), seed=0, level=2000.0):
    """A noisy sky with two stars, electrons."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]]
    image = random.normal(level, 40, shape)
    for y0, x0, flux in ((20, 22, 60000.0), (25.3, 12.6, 20000.0)):
        image += flux * np.exp(-((y - y0) ** 2 + (x - x0) ** 2) / 8.0)
    return image.astype(np.float32)


@pytest.mark.parametrize("kernel", ["hsc", "small", "skew"])
@pytest.mark.parametrize("threshold", [1000.0, 1.0, 1e-3])
def test_same_as_naive(kernel, threshold):
    kernel = {"hsc": brighter_fatter_kernel(), "small": SMALL, "skew": SKEW}[kernel]
    image = stars()
    image[7, 9], image[20, 30] = np.nan, np.inf
    correction, last, change = naive_later.coulton(image, kernel, 10, threshold)
    found = image.copy()
    iteration, found_change = correct_charge(found, kernel, 10, threshold)
    assert np.abs(correction).max() > 50
    assert iteration == last
    assert found_change == pytest.approx(change, rel=1e-4, abs=2e-5 * image.size)
    expected = (image + correction).astype(np.float32)
    np.testing.assert_allclose(found, expected, rtol=3e-7)
    border = np.ones(image.shape, bool)
    half = len(kernel) // 2
    border[half + 1 : -half - 2, half + 1 : -half - 2] = False
    np.testing.assert_array_equal(found[border], image[border])


@pytest.mark.parametrize("kernel", [brighter_fatter_kernel(), SMALL, SKEW], ids=["hsc", "small", "skew"])
def test_more_rows_than_are_held(kernel):
    """With a gain for each amplifier."""
    image = np.concatenate([stars(seed=seed) for seed in range(9)])
    ny, nx = image.shape
    assert ny > 5 * BAND
    gains = Gains(np.array([[0, 0, 20, ny], [20, 0, nx - 20, ny]]), np.array([0.3, 0.37], np.float32))
    electrons = gains.electrons(image)
    expected, last, _ = naive_later.coulton(electrons, kernel, 10, 1.0)
    correction, iteration, _ = charge_correction(image, gains, kernel, 10, 1.0)
    assert iteration == last
    np.testing.assert_allclose(correction, expected, atol=3e-7 * np.abs(electrons).max())
    assert np.abs(expected).max() > 1


def test_float64_below_the_rounding_errors():
    """A threshold that float32 cannot tell from its rounding errors: everything in float64."""
    image = stars((24, 26)).astype(np.float64)
    correction, last, change = naive_later.coulton(image, SMALL, 10, 1e-5)
    found = image.copy()
    iteration, found_change = correct_charge(found, SMALL, 10, 1e-5)
    assert iteration == last
    assert 2 < iteration < 9
    assert found_change < 1e-5
    assert found_change == pytest.approx(change, rel=1e-2, abs=1e-7)
    np.testing.assert_allclose(found, image + correction, rtol=1e-12)


@pytest.mark.parametrize("max_iterations", [0, 1, 2, 3])
def test_number_of_iterations(max_iterations):
    image = stars()
    found = image.copy()
    iteration, change = correct_charge(found, SMALL, max_iterations, 1e-9)
    assert iteration == max_iterations - 1
    if max_iterations < 2:
        assert change == np.inf
    if max_iterations == 0:
        np.testing.assert_array_equal(found, image)
    if max_iterations == 2:  # compared with zeros
        assert change == pytest.approx(found.sum(dtype=np.float64), rel=1e-6)


def test_the_first_test_of_convergence_is_in_the_third_iteration():
    found = stars()
    assert correct_charge(found, np.zeros((3, 3)), 10, 1000.0) == (2, 0.0)
    np.testing.assert_array_equal(found, stars())


@pytest.mark.parametrize("correct", [correct_charge, correct_charge_conserving])
def test_constant_image_is_not_changed(correct):
    """Away from the edges, where the image seems to end."""
    image = np.full((40, 44), 30000.0, np.float32)
    found = image.copy()
    correct(found, brighter_fatter_kernel(), 10, 1000.0)
    np.testing.assert_allclose(found[18:-18, 18:-18], 30000.0, rtol=2e-7)


def test_charge_is_moved_not_made():
    """The sum of the correction is small against what is moved, away from the edges."""
    y, x = np.mgrid[:44, :44]
    image = (1000 + 50000 * np.exp(-((y - 21) ** 2 + (x - 22) ** 2) / 50.0)).astype(np.float32)
    found = image.copy()
    correct_charge(found, SMALL, 10, 1.0)
    correction = found.astype(np.float64) - image
    assert np.abs(correction).sum() > 1000
    assert abs(correction.sum()) < 1.5e-2 * np.abs(correction).sum()
    assert correction[21, 22] > 0  # the centre gets back what it has lost


@pytest.mark.parametrize("kernel", [SMALL, SKEW])
def test_conserving_variant(kernel):
    image = stars((24, 26))
    image[7, 9] = np.nan
    found = image.astype(np.float64)
    iteration, change = correct_charge_conserving(found, kernel, 4, 1e-7)
    assert iteration == 3
    assert change >= 1e-7
    into = naive_later.flows(image.astype(np.float64), kernel, 4)
    usable = np.isfinite(image)
    np.testing.assert_allclose(found[usable], (image + into)[usable], rtol=1e-12)
    assert np.isnan(found[7, 9])
    assert np.abs(into).sum() > 1000
    assert abs(into.sum()) < 1e-7


def test_conserving_variant_keeps_the_sum_in_float32():
    image = stars()
    found = image.copy()
    _, change = correct_charge_conserving(found, brighter_fatter_kernel(), 10, 1000.0)
    assert change < 1000.0
    moved = np.abs(found - image).sum(dtype=np.float64)
    assert moved > 1000
    assert abs(found.sum(dtype=np.float64) - image.sum(dtype=np.float64)) < 1e-4 * moved


@pytest.mark.parametrize("correct", [correct_charge, correct_charge_conserving])
@pytest.mark.parametrize("shape", [(1, 1), (5, 40), (40, 4), (17, 17), (20, 20)])
def test_images_that_are_smaller_than_the_kernel(correct, shape):
    image = np.random.default_rng(0).normal(1000, 30, shape).astype(np.float32)
    found = image.copy()
    iteration, change = correct(found, brighter_fatter_kernel(), 10, 1000.0)
    assert np.isfinite(found).all()
    if correct is correct_charge and min(shape) < 20:
        assert (iteration, change) == (2, 0.0)
        np.testing.assert_array_equal(found, image)


@pytest.mark.parametrize("correct", [correct_charge, correct_charge_conserving])
def test_image_without_a_number(correct):
    found = np.full((24, 24), np.nan, np.float32)
    assert correct(found, SMALL, 10, 1000.0) == (1, 0.0)
    assert np.isnan(found).all()
