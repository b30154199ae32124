"""Bright stars get the size and the flux of faint ones."""

from __future__ import annotations

import numpy as np
import pytest

from isr.calibs import BrighterFatterKernel, CalibInfo
from isr.config import IsrConfig
from isr.hsc import brighter_fatter_kernel
from isr.steps.brighter_fatter import correct_brighter_fatter
from tests.truth import scenes

SIZE_LIMIT, FLUX_LIMIT = 1e-3, 2e-4
ARCSEC = 1 / 0.168  # pixels
BRIGHT, FAINT = 1e5, 1e3  # electrons at the peak
KERNEL = brighter_fatter_kernel()


def flux_of(peak, fwhm, beta=3.5):
    """Total flux of a Moffat profile."""
    a2 = fwhm**2 / (4.0 * (2.0 ** (1.0 / beta) - 1.0))
    return peak * np.pi * a2 / (beta - 1.0)


def measured(exposure, truth, calibs, stars, fwhm):
    """Second moments and fluxes of all stars, after dark, flat and true sky."""
    image = scenes.flatten(exposure, calibs).image - truth.sky
    sigma = fwhm / 2.355
    sizes = np.array([scenes.moment_trace(image, x, y, sigma) for x, y, _ in stars])
    return sizes, np.array([scenes.aperture_flux(image, x, y, 20) for x, y, _ in stars])


@pytest.mark.parametrize("conserving", [False, True])
@pytest.mark.parametrize("seeing", [0.6, 0.8])
def test_size_and_flux_do_not_depend_on_brightness(seeing, conserving):
    """HSC's kernel; each variant of the correction takes out the effect of its own formula."""
    detector, fwhm = scenes.detector(), seeing * ARCSEC
    stars, bright = scenes.grid_of_stars(detector, flux_of(BRIGHT, fwhm), flux_of(FAINT, fwhm))
    settings = {"stars": stars, "fwhm": fwhm, "noise": False, "sky_electrons": 300.0}
    effect = {"brighter_fatter": KERNEL, "brighter_fatter_conserving": conserving}
    raw, truth, calibs = scenes.simulate(detector, **settings, **effect)
    plain, _, _ = scenes.simulate(detector, **settings)
    _, true_flux = measured(scenes.without_bias_level(plain, calibs), truth, calibs, stars, fwhm)

    exposure = scenes.without_bias_level(raw, calibs)
    assert not (exposure.mask & exposure.planes.bitmask("SAT")).any()
    size, flux = measured(exposure.copy(), truth, calibs, stars, fwhm)
    assert size[bright].mean() / size[~bright].mean() - 1.0 > 8 * SIZE_LIMIT
    if not conserving:
        # The differences of the formula do not keep the flux; LSST's default correction restores it.
        assert np.mean(flux / true_flux, where=bright) - 1.0 < -1.5 * FLUX_LIMIT

    config = IsrConfig()
    config.doFluxConservingBrighterFatterCorrection = conserving
    exposure.planes.add("UNMASKEDNAN")
    kernel = BrighterFatterKernel(CalibInfo("bfKernel"), KERNEL)
    correct_brighter_fatter(exposure, kernel, calibs.dark, calibs.flat, config)
    size, flux = measured(exposure, truth, calibs, stars, fwhm)
    assert abs(size[bright].mean() / size[~bright].mean() - 1.0) <= SIZE_LIMIT
    assert np.abs(flux / true_flux - 1.0)[bright].max() <= FLUX_LIMIT
    assert abs(np.mean(flux / true_flux, where=~bright) - 1.0) <= FLUX_LIMIT
