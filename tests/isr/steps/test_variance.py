"""The variance plane."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isr.camera import Box
from isr.numerics.statistics import clipped_statistics
from isr.steps.variance import compute_variance, gain_and_noise, record_gains
from tests import naive
from tests.builders import calib_image, exposure, four_amplifiers, only, two_amplifiers


@given(st.integers(0, 2**32 - 1), st.booleans())
def test_variance_as_specified(seed, quadrants):
    found = exposure(four_amplifiers() if quadrants else two_amplifiers(), seed)
    before = found.copy()
    compute_variance(found, only())
    for amp, view in found.amplifiers():
        image = before.view(amp.bbox).image
        np.testing.assert_array_equal(view.variance, naive.variance_plane(image, amp.gain, amp.read_noise))
        np.testing.assert_allclose(
            view.variance, image / amp.gain + (amp.read_noise / amp.gain) ** 2, rtol=1e-6
        )
    np.testing.assert_array_equal(found.image, before.image)


def signals_around_zero():
    found = exposure()
    found.image[...] = np.random.default_rng(1).normal(0, 5, found.shape)
    found.image[0, 1] = np.nan
    return found


def test_pixels_without_a_positive_variance_are_masked():
    found = signals_around_zero()
    compute_variance(found, only(maskNegativeVariance=True))
    np.testing.assert_array_equal(found.mask, np.where(found.variance <= 0, 1, 0))
    assert 0 < np.count_nonzero(found.mask) < found.mask.size
    assert math.isnan(found.variance[0, 1])


def test_a_variance_of_zero_is_masked():
    detector = two_amplifiers()
    amplifiers = tuple(replace(amp, gain=1.0, read_noise=2.0) for amp in detector.amplifiers)
    found = exposure(replace(detector, amplifiers=amplifiers))
    found.image[0, :3] = -4.0, np.nextafter(np.float32(-4), np.float32(0)), -4.5
    compute_variance(found, only(maskNegativeVariance=True))
    assert found.variance[0, 0] == 0.0
    assert found.mask[0, :4].tolist() == [1, 0, 1, 0]


def test_masking_in_another_plane():
    found = signals_around_zero()
    config = only(maskNegativeVariance=True)
    config.negativeVarianceMaskName = "NEGATIVE"
    compute_variance(found, config)
    assert set(np.unique(found.mask).tolist()) == {0, 1 << 11}
    assert found.planes["NEGATIVE"] == 11


def test_masking_switched_off():
    found = signals_around_zero()
    config = only(maskNegativeVariance=False)
    config.negativeVarianceMaskName = "NEGATIVE"
    compute_variance(found, config)
    assert (found.variance < 0).any()
    assert not found.mask.any()
    assert "NEGATIVE" not in found.planes


def test_statistics_of_the_variance():
    found = exposure()
    statistics = compute_variance(found, only())
    assert set(statistics) == {f"ISR VARIANCE {amp} {what}" for amp in "LR" for what in ("MEDIAN", "STDEV")}
    for amp, view in found.amplifiers():
        of_amp = clipped_statistics(view.variance, view.mask)
        assert statistics[f"ISR VARIANCE {amp.name} MEDIAN"] == of_amp.median
        assert statistics[f"ISR VARIANCE {amp.name} STDEV"] == of_amp.stdev


@pytest.mark.parametrize(
    ("gain", "noise", "used"),
    [
        (3.5, 4.5, (3.5, 4.5)),
        (0.0, 4.5, (1.0, 4.5)),
        (-2.0, 0.0, (1.0, 1.0)),
        (math.nan, math.nan, (1.0, 1.0)),
        (2.0, -1.0, (2.0, 1.0)),
    ],
)
def test_gains_and_noises_that_make_no_sense_count_as_one(gain, noise, used):
    amplifier = replace(two_amplifiers().amplifiers[0], gain=gain, read_noise=noise)
    assert gain_and_noise(amplifier) == used
    detector = two_amplifiers(amplifiers=(amplifier,), bbox=Box(0, 0, 12, 20))
    found = exposure(detector)
    compute_variance(found, only())
    np.testing.assert_array_equal(found.variance, naive.variance_plane(found.image, *used))


@pytest.mark.parametrize("unit", ["electron", "adu"])
def test_gains_are_recorded(unit):
    found = exposure()
    record_gains(found, unit)
    assert found.metadata == {
        "LSST ISR GAIN SOURCE": "amp",
        "LSST ISR NOISE SOURCE": "amp",
        "LSST ISR READNOISE UNITS": unit,
        "LSST ISR GAIN L": 3.59,
        "LSST ISR GAIN R": 2.7,
        "LSST ISR READNOISE L": 4.5,
        "LSST ISR READNOISE R": 1.5,
        "LSST GAIN L": 3.59,
        "LSST GAIN R": 2.7,
        "LSST READNOISE L": 4.5,
        "LSST READNOISE R": 1.5,
    }


def test_read_noise_in_adu():
    found = exposure()
    config = only()
    config.readNoiseUnit = "adu"
    compute_variance(found, config)
    for amp, view in found.amplifiers():
        in_electrons = amp.read_noise * amp.gain
        expected = naive.variance_plane(view.image, amp.gain, in_electrons)
        np.testing.assert_allclose(view.variance, expected, rtol=1e-6)


@pytest.mark.parametrize("keep", [False, True])
def test_variance_of_the_bias(keep):
    """LSST loses it; ``keepBiasVariance`` does not."""
    found, plain = exposure(), exposure()
    of_bias = np.linspace(0, 1, found.image.size, dtype=np.float32).reshape(found.shape)
    config = only()
    config.keepBiasVariance = keep
    compute_variance(plain, config)
    compute_variance(found, config, calib_image("bias", variance=of_bias))
    np.testing.assert_array_equal(found.variance, plain.variance + of_bias if keep else plain.variance)
    assert not np.array_equal(plain.variance, plain.variance + of_bias)
    compute_variance(found, config, calib_image("bias"))
    np.testing.assert_array_equal(found.variance, plain.variance)
