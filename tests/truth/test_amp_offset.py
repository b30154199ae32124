"""Steps between amplifiers: at most 0.3 electrons are left."""

from __future__ import annotations

import numpy as np
import pytest

from isr.config import AmpOffsetConfig
from isr.steps.amp_offset import correct_amp_offsets
from tests.truth import scenes

LIMIT = 0.3  # electrons


def steps(exposure, truth):
    """Steps of what is not sky or star between neighbouring amplifiers, electrons."""
    usable = (exposure.mask == 0) & ~truth.bled
    residual = exposure.image - truth.image
    levels = [
        np.mean(residual[amp.bbox.slices], where=usable[amp.bbox.slices], dtype=float)
        for amp in exposure.detector.amplifiers
    ]
    return np.diff(levels) * truth.reference_gain


def offset_exposure(amp_offsets, n_stars=0):
    """Amplifiers of HSC's width and half of its height; sky of 100 ADU with its photon noise."""
    raw, truth, calibs = scenes.simulate(
        scenes.detector(width=512, height=2088),
        amp_offsets=amp_offsets,
        n_stars=n_stars,
        star_flux_max=3e5,
        sky_electrons=400.0,
        bias_structure=0.0,
    )
    return scenes.flatten(scenes.without_bias_level(raw, calibs), calibs), truth


def hsc() -> AmpOffsetConfig:
    config = AmpOffsetConfig()
    config.doApplyAmpOffset = True
    config.ampEdgeWindowFrac = 512 / 4176
    return config


@pytest.mark.parametrize("n_stars", [0, 60])
def test_steps_are_removed(n_stars):
    """HSC's configuration, steps of half an ADU that the overscan does not show."""
    exposure, truth = offset_exposure(0.35, n_stars)
    assert np.abs(steps(exposure, truth)).max() > 6 * LIMIT
    correct_amp_offsets(exposure, hsc())
    assert np.abs(steps(exposure, truth)).max() <= LIMIT


def test_large_steps():
    """Of steps of 8 electrons the background model of the reference takes a part for sky.

    It has 410 columns to a cell and the strips at an interface are 74 columns
    apart; a seventh of each step is left. Without it nothing is left.
    """
    exposure, truth = offset_exposure(1.5)
    before = steps(exposure, truth)
    assert np.abs(before).max() > 20 * LIMIT
    without = hsc()
    without.doBackground = without.doDetection = False
    plain = exposure.copy()
    correct_amp_offsets(plain, without)
    assert np.abs(steps(plain, truth)).max() <= LIMIT
    correct_amp_offsets(exposure, hsc())
    left = np.abs(steps(exposure, truth))
    assert (left <= 0.17 * np.abs(before)).all()
