"""Fringes of 5 % of the sky: at most 5 % of them is left."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from isr.config import FringeConfig
from isr.simulate.calibs import fringe_frame
from isr.steps.fringe import subtract_fringe
from tests.truth import scenes

LIMIT = 0.05


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_fringes_are_removed(seed):
    """Among stars, under photon noise, with a pattern that has itself a pedestal."""
    detector = scenes.detector()
    raw, truth, calibs = scenes.simulate(
        detector, physical_filter="HSC-Y", fringe=0.05, n_stars=60, sky_electrons=4000.0, seed=seed
    )
    pattern = fringe_frame(detector, "HSC-Y", truth.config)
    exposure = scenes.flatten(scenes.without_bias_level(raw, calibs), calibs)

    def left():
        # Fit the pattern without its mean: a constant belongs to the sky.
        usable = (exposure.mask == 0) & ~truth.bled
        residual, shape = (exposure.image - truth.image)[usable], pattern.image[usable]
        return scenes.amplitude(residual - residual.mean(), shape - shape.mean())

    assert truth.fringe_amplitude > 50.0
    assert left() == pytest.approx(truth.fringe_amplitude, rel=0.01)
    config = FringeConfig()
    config.filters = ["HSC-Y"]
    found = subtract_fringe(exposure, replace(pattern, image=pattern.image + np.float32(0.3)), config)
    assert abs(left()) <= LIMIT * truth.fringe_amplitude
    assert found == pytest.approx(truth.fringe_amplitude, rel=LIMIT)
