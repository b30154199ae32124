"""Ghosts of bright stars in the other amplifiers: at most 2 % of them is left."""

from __future__ import annotations

import numpy as np

from isr.config import IsrConfig
from isr.hsc import crosstalk_matrix
from isr.simulate.readout import add_crosstalk
from isr.steps.crosstalk import subtract_crosstalk
from tests.truth import scenes

LIMIT = 0.02


def left_over(exposure, expected, ghosts):
    """Share of the ghosts that is in each amplifier of ``exposure``, by least squares."""
    boxes = [amp.bbox.slices for amp in exposure.detector.amplifiers]
    left = exposure.image - expected.image
    return np.array([scenes.amplitude(left[box], ghosts[box]) for box in boxes])


def test_ghosts_are_removed():
    """HSC's own coefficients (1.2e-4 to 1.7e-4), stars of 87000 electrons at the peak.

    The same scene without crosstalk has the same noise, which cancels.
    """
    detector = scenes.detector()
    settings = {"n_stars": 60, "star_flux_min": 2e6, "star_flux_max": 2e6, "sky_electrons": 1000.0}
    matrix = crosstalk_matrix()
    ghosted, _, calibs = scenes.simulate(detector, crosstalk=matrix, **settings)
    clean, _, _ = scenes.simulate(detector, **settings)
    expected = scenes.without_bias_level(clean, calibs)
    ghosts = expected.image.copy()
    add_crosstalk(ghosts, detector, matrix)
    ghosts -= expected.image
    assert ghosts.min() < -2.0  # ADU

    exposure = scenes.without_bias_level(ghosted, calibs)
    assert not (exposure.mask & exposure.planes.bitmask("SAT")).any()
    np.testing.assert_allclose(left_over(exposure, expected, ghosts), 1.0, atol=LIMIT)

    config = IsrConfig()
    config.crosstalk.useConfigCoefficients = True
    config.crosstalk.crosstalkValues = matrix.ravel().tolist()
    config.crosstalk.crosstalkShape = [4, 4]
    config.crosstalk.crosstalkBackgroundMethod = "DETECTOR"
    subtract_crosstalk(exposure, None, config)
    assert np.abs(left_over(exposure, expected, ghosts)).max() <= LIMIT

    # The transposed matrix, an open question of the spec (correction 8), leaves more.
    config.crosstalkTransposed = True
    wrong = scenes.without_bias_level(ghosted, calibs)
    subtract_crosstalk(wrong, None, config)
    assert np.abs(left_over(wrong, expected, ghosts)).max() > 2 * LIMIT
