"""Overscan level and drift, bias, dark, flat and sky come back as they were put in."""

from __future__ import annotations

import numpy as np
import pytest

from isr.config import OverscanConfig
from isr.steps.assemble import convert_to_float
from isr.steps.overscan import subtract_overscan
from tests.truth import scenes


@pytest.mark.parametrize(("fit", "order"), [("AKIMA_SPLINE", 30), ("MEDIAN_PER_ROW", 1), ("LEG", 5)])
def test_overscan_drift(fit, order):
    """A drift over 40 ADU and cosmics in the overscan; read noise 1.2 ADU of 16 columns."""
    raw, truth, _ = scenes.simulate(
        scenes.detector(), n_stars=0, overscan_drift=20.0, overscan_outliers=40, sky_electrons=100.0
    )
    frame, config = convert_to_float(raw), OverscanConfig()
    config.update(fitType=fit, order=order)
    noise = {"AKIMA_SPLINE": 0.12, "MEDIAN_PER_ROW": 0.5, "LEG": 0.1}[fit]
    for amp, level in zip(raw.detector.amplifiers, truth.overscan_levels, strict=True):
        assert np.ptp(level) > 30
        error = subtract_overscan(frame, amp, config).model - level
        assert abs(error.mean()) < 0.05
        assert error.std() < noise


def test_sky_is_recovered_by_the_basic_steps():
    """To 1e-3 of the sky, and not without any one of them."""
    raw, truth, calibs = scenes.simulate(
        scenes.detector(), n_stars=0, bias_structure=20.0, dark_current=5.0, sky_electrons=3000.0
    )
    sky = truth.sky.mean()
    image = scenes.flatten(scenes.without_bias_level(raw, calibs), calibs).image
    assert abs((image - truth.image).mean(dtype=float)) < 1e-3 * sky
    blocks = (image - truth.image).reshape(8, 64, 8, 64).mean(axis=(1, 3))
    noise = np.sqrt(3000.0 + 150.0) / truth.reference_gain / 64
    assert np.abs(blocks).max() < 5 * noise

    without_dark = scenes.without_bias_level(raw, calibs)
    assert without_dark.image.mean() > 1.01 * (image * calibs.flat.image).mean()
    for kind in ("bias", "dark", "flat"):
        frame = getattr(calibs, kind).image
        assert frame.std() / max(frame.mean(), 1.0) > 0.01 if kind != "dark" else frame.mean() > 1
