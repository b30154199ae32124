"""Stars, full well, bleeding and brighter-fatter on arrays."""

from __future__ import annotations

import numpy as np
import pytest

from isr.hsc import brighter_fatter_kernel
from isr.simulate import SimulationConfig
from isr.simulate.charge import bleed, brighter_fatter_deflection, convolve_edge
from isr.simulate.scene import draw_moffat, sky_image, star_catalog, star_image


def test_star_has_its_flux_and_width():
    image = np.zeros((101, 101), np.float32)
    draw_moffat(image, 50.0, 50.0, 1e5, 6.0, 3.5)
    assert image.sum() == pytest.approx(1e5, rel=2e-3)  # the rest is outside the stamp
    assert image[50, 53] == pytest.approx(image[50, 50] / 2.0, rel=1e-5)
    assert np.allclose(image, image.T)


def test_stars_are_on_the_detector_and_the_brightest_is_bright():
    config = SimulationConfig(n_stars=200)
    stars = star_catalog((300, 500), config, np.random.default_rng(1))
    assert stars.shape == (200, 3)
    assert stars[:, 0].min() >= -0.5
    assert stars[:, 0].max() < 499.5
    assert stars[:, 1].max() < 299.5
    assert stars[:, 2].min() >= config.star_flux_min
    assert stars[:, 2].max() > 1e7
    assert not star_image((30, 50), np.empty((0, 3)), config).any()


def test_sky_is_a_plane_of_the_given_mean():
    sky = sky_image((64, 32), SimulationConfig(sky_electrons=1000.0, sky_gradient=0.02))
    assert sky.mean(dtype=float) == pytest.approx(1000.0, rel=1e-6)
    assert sky[-1, -1] - sky[0, 0] == pytest.approx(20.0, rel=0.05)


def test_bleeding_conserves_charge_and_fills_the_column():
    charge = np.zeros((101, 3))
    charge[:, :] = 10.0
    charge[50, 1] = 1000.0
    before = charge.sum()
    assert bleed(charge, 100.0) == 0.0
    assert charge.sum() == before
    assert charge.max() == 100.0
    assert np.array_equal(charge[45:56, 1], np.full(11, 100.0))  # 900 / 90 = 10 more pixels
    assert np.array_equal(charge[:, 0], np.full(101, 10.0))
    assert np.array_equal(charge[:45, 1], np.full(45, 10.0))


def test_bleeding_random_columns_conserves_charge():
    rng = np.random.default_rng(3)
    charge = rng.integers(0, 90, (400, 20)).astype(float)
    charge[rng.integers(180, 220, 30), rng.integers(0, 20, 30)] += rng.integers(100, 1500, 30)
    before = charge.sum(axis=0)
    lost = bleed(charge, 100.0)
    assert lost == 0.0
    assert np.array_equal(charge.sum(axis=0), before)
    assert charge.max() <= 100.0


def test_bleeding_reports_what_leaves_the_detector():
    charge = np.full((10, 2), 50.0)
    charge[1, 0] = 2001.0
    before = charge.sum()
    lost = bleed(charge, 100.0)
    assert lost > 0
    assert charge.sum() + lost == before
    assert np.all(charge[:, 0] == 100.0)
    assert np.all(charge[:, 1] == 50.0)


def naive_convolution(image, kernel):
    half = kernel.shape[0] // 2
    padded = np.pad(image, half, mode="edge")
    result = np.zeros_like(image)
    for y, x in np.ndindex(image.shape):
        window = padded[y : y + 2 * half + 1, x : x + 2 * half + 1]
        result[y, x] = np.sum(window * kernel[::-1, ::-1])
    return result


def test_convolution_agrees_with_the_definition():
    rng = np.random.default_rng(5)
    image, kernel = rng.normal(size=(12, 9)), rng.normal(size=(5, 5))
    assert np.allclose(convolve_edge(image, kernel), naive_convolution(image, kernel), atol=1e-12)


def test_brighter_fatter_leaves_a_constant_alone_and_makes_stars_wider():
    kernel = brighter_fatter_kernel()
    assert np.abs(brighter_fatter_deflection(np.full((40, 30), 1e4), kernel)).max() < 1e-6
    image = np.zeros((81, 81), np.float32)
    draw_moffat(image, 40.0, 40.0, 1e6, 4.0, 3.5)
    charge = image.astype(float)
    observed = charge - brighter_fatter_deflection(charge, kernel)
    y, x = np.mgrid[:81, :81] - 40.0
    near = np.hypot(x, y) < 15
    width = [np.sum((x**2 + y**2)[near] * c[near]) / np.sum(c[near]) for c in (charge, observed)]
    assert observed[40, 40] < 0.995 * charge[40, 40]
    assert width[1] > width[0]
    assert observed.sum() == pytest.approx(
        charge.sum(), rel=1e-3
    )  # the formula conserves charge to first order


def test_the_correction_of_brighter_fatter_finds_the_true_charge():
    """The fixed point of spec section 4.12 is the charge that was put in."""
    kernel = brighter_fatter_kernel()
    image = np.full((61, 61), 1000.0, np.float32)
    draw_moffat(image, 30.0, 30.0, 5e5, 4.0, 3.5)
    charge = image.astype(float)
    observed = charge - brighter_fatter_deflection(charge, kernel)
    estimate = observed
    for _ in range(10):
        estimate = observed + brighter_fatter_deflection(estimate, kernel)
    assert np.abs(observed - charge).max() > 50.0
    assert np.abs(estimate - charge).max() < 0.01


def test_brighter_fatter_can_conserve_charge():
    """Flows between neighbours: what one pixel loses another one gets; wide of a star nearly the same."""
    kernel = brighter_fatter_kernel()
    image = np.full((61, 61), 1000.0, np.float32)
    draw_moffat(image, 30.0, 30.0, 5e5, 4.0, 3.5)
    charge = image.astype(float)
    flows = brighter_fatter_deflection(charge, kernel, conserving=True)
    formula = brighter_fatter_deflection(charge, kernel)
    assert abs(flows.sum()) < 1e-6
    assert abs(formula.sum()) > 10.0
    assert flows[30, 30] > 100.0
    assert np.abs(flows - formula)[1:-1, 1:-1].max() < 0.5 * formula.max()
    assert np.abs(brighter_fatter_deflection(np.full((40, 30), 1e4), kernel, conserving=True)).max() < 1e-6
