"""Non-linearity that is put in is taken out: 0.1 % over the whole range."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from isr.steps.linearity import linearize
from tests.truth import scenes

LIMIT = 1e-3
LEVELS = (500, 2000, 8000, 30000, 60000, 100000, 130000)
"""Electrons: up to 40000 ADU."""


def bent_detector():
    """The largest coefficients of HSC's amplifiers, of both signs."""
    detector = scenes.detector()
    amps = [
        replace(amp, linearity_coeffs=(c,), saturation=60000.0)
        for amp, c in zip(detector.amplifiers, (-3.4e-7, 2.75e-7, -2e-7, 1e-7), strict=True)
    ]
    return replace(detector, amplifiers=tuple(amps))


def ratios(level, correct):
    """Measured over true signal, by amplifier."""
    raw, truth, calibs = scenes.simulate(bent_detector(), n_stars=0, sky_electrons=level, linearity=True)
    exposure = scenes.without_bias_level(raw, calibs)
    if correct:
        linearize(exposure, None)
    scenes.flatten(exposure, calibs)
    assert not exposure.mask.any()
    return [
        exposure.image[amp.bbox.slices].mean(dtype=float) / truth.image[amp.bbox.slices].mean(dtype=float)
        for amp in exposure.detector.amplifiers
    ]


@pytest.mark.parametrize("level", LEVELS)
def test_signal_is_linear(level):
    assert np.abs(np.array(ratios(level, correct=True)) - 1.0).max() <= LIMIT


def test_the_effect_is_there():
    """Without the step the response is off by 1 % at the bright end, in both directions."""
    error = np.array(ratios(LEVELS[-1], correct=False)) - 1.0
    assert error.max() > 0.01
    assert error.min() < -0.009
