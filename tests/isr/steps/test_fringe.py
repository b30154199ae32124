"""Fringe subtraction."""

from __future__ import annotations

import logging
from dataclasses import replace

import numba
import numpy as np
import pytest

from isr.calibs import CalibImage, CalibInfo
from isr.config import IsrConfig
from isr.errors import ProcessingError
from isr.exposure import Exposure
from isr.mask import MaskPlanes
from isr.steps.fringe import subtract_fringe
from tests.builders import two_amplifiers

SHAPE = (150, 130)


def config(**changes):
    fringe = IsrConfig().fringe
    fringe.num, fringe.large = 300, 12
    fringe.stats.badMaskPlanes = ["SAT", "NO_DATA", "SUSPECT", "BAD"]
    fringe.update(**changes)
    return fringe


def frame(seed=1, **changes) -> CalibImage:
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    waves = np.sin(x / 3.0 + 0.5 * np.sin(y / 9.0)) + 0.3 * np.cos(y / 4.0)
    image = (waves * 0.01 + np.random.default_rng(seed).normal(0, 2e-4, SHAPE)).astype(np.float32)
    return replace(CalibImage(CalibInfo("fringe", name="fringe.fits"), image), **changes)


def fringed(amplitude=1500.0, seed=2, exposure_id=903334 * 200 + 22, noise=3.0) -> Exposure:
    random = np.random.default_rng(seed)
    image = 2000.0 + amplitude * frame().image + random.normal(0, noise, SHAPE)
    mask = np.zeros(SHAPE, np.int32)
    return Exposure(
        image.astype(np.float32),
        mask,
        np.full(SHAPE, 600.0, np.float32),
        replace(two_amplifiers(), amplifiers=()),
        exposure_id=exposure_id,
    )


def naive_amplitude(exposure, fringe, config, seed):
    """The method as the specification puts it, one box at a time."""
    h, w = exposure.shape
    stream = np.random.RandomState(seed)
    xs = stream.randint(config.large, w - config.large, config.num)
    ys = stream.randint(config.large, h - config.large, config.num)
    bits = sum(1 << exposure.planes[name] for name in config.stats.badMaskPlanes)
    fringe_mask = exposure.mask if fringe.mask is None else exposure.mask | fringe.mask

    def signal(image, mask, x, y):
        levels = []
        for half in (config.small, config.large):
            box = np.s_[y - half : y + half, x - half : x + half]
            good = image[box][(mask[box] & bits == 0) & np.isfinite(image[box])].astype(float)
            levels.append(np.median(good) if len(good) else np.nan)
        return levels[0] - levels[1]

    pairs = np.array(
        [
            (signal(exposure.image, exposure.mask, x, y), signal(fringe.image, fringe_mask, x, y))
            for x, y in zip(xs, ys, strict=True)
        ]
    )
    pairs = pairs[np.isfinite(pairs).all(axis=1)]
    q25, q50, q75 = np.percentile(pairs, (25, 50, 75), axis=0)
    pairs = pairs[(np.abs(pairs - q50) < config.clip * 0.74 * (q75 - q25)).all(axis=1)]
    for _ in range(config.iterations):
        (amplitude,) = np.linalg.lstsq(pairs[:, 1:], pairs[:, 0], rcond=None)[0]
        residual = pairs[:, 0] - amplitude * pairs[:, 1]
        low, high = np.percentile(residual, (25, 75))
        kept = np.abs(residual) <= config.clip * 0.74 * (high - low)
        if kept.all():
            break
        pairs = pairs[kept]
    return np.linalg.lstsq(pairs[:, 1:], pairs[:, 0], rcond=None)[0][0]


@pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="whole frames take minutes if nothing is compiled")
@pytest.mark.parametrize("changes", [{}, {"iterations": 1}, {"clip": 2.0}, {"small": 2, "large": 40}])
def test_amplitude_against_the_naive_method(changes):
    exposure, wanted = fringed(), config(**changes)
    random = np.random.default_rng(3)
    exposure.mask[random.random(SHAPE) < 0.05] = exposure.planes.bitmask("SUSPECT", "CR")
    exposure.mask[20:60, 30:70] |= exposure.planes.bitmask("BAD")
    exposure.image[100, 40:50] = [np.nan, np.inf, -np.inf, *([60000.0] * 7)]
    exposure.image[110:130, 50:75] += 400.0
    fringe = frame(mask=(random.random(SHAPE) < 0.05).astype(np.int32))
    expected = naive_amplitude(exposure, fringe, wanted, exposure.exposure_id)
    assert subtract_fringe(exposure, fringe, wanted) == pytest.approx(expected, rel=1e-12)


def test_places_come_from_the_exposures_id():
    wanted = config(num=50)
    amplitudes = {subtract_fringe(fringed(exposure_id=number), frame(), wanted) for number in (1, 2, 3)}
    assert len(amplitudes) == 3
    wanted.stats.rngSeedOffset = 7
    expected = naive_amplitude(fringed(), frame(), wanted, 12)
    assert subtract_fringe(fringed(exposure_id=2**32 + 5), frame(), wanted) == pytest.approx(
        expected, rel=1e-12
    )


def test_pixels_in_float32():
    random = np.random.default_rng(4)
    variance = random.uniform(0, 1e-4, SHAPE).astype(np.float32)
    fringe = frame(variance=variance, mask=np.full(SHAPE, 4, np.int32), planes=MaskPlanes({"ODD": 2}))
    found, before = fringed(), fringed()
    amplitude = subtract_fringe(found, fringe, config())
    np.testing.assert_array_equal(found.image, before.image - np.float32(amplitude) * fringe.image)
    square = np.float32(amplitude * amplitude)
    np.testing.assert_array_equal(found.variance, before.variance + square * variance)
    assert not found.mask.any(), "the mask of the fringe frame is used but not propagated (spec 4.16)"
    assert found.planes == before.planes


def test_without_variance():
    found, before = fringed(), fringed()
    subtract_fringe(found, frame(), config())
    np.testing.assert_array_equal(found.variance, before.variance)


def test_pedestal():
    wanted, fringe = config(pedestal=True), frame()
    raised = replace(fringe, image=fringe.image + np.float32(0.5))
    kept = raised.image.copy()
    found, before = fringed(), fringed()
    amplitude = subtract_fringe(found, raised, wanted)
    flat = raised.image - np.float32(np.median(raised.image.astype(float)))
    np.testing.assert_array_equal(found.image, before.image - np.float32(amplitude) * flat)
    np.testing.assert_array_equal(raised.image, kept)


@pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="whole frames take minutes if nothing is compiled")
def test_no_more_than_five_per_cent_of_the_fringes_are_left():
    exposure, wanted = fringed(amplitude=3000.0), config(num=3000)
    random = np.random.default_rng(5)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    for _ in range(25):  # stars
        r2 = (x - random.uniform(0, SHAPE[1])) ** 2 + (y - random.uniform(0, SHAPE[0])) ** 2
        exposure.image += (random.uniform(50, 30000) * np.exp(-r2 / 8)).astype(np.float32)
    exposure.mask[exposure.image > 20000] = exposure.planes.bitmask("SAT")
    assert subtract_fringe(exposure, frame(), wanted) == pytest.approx(3000.0, rel=0.05)


def test_no_fringes():
    assert subtract_fringe(fringed(amplitude=0.0), frame(), config(num=3000)) == pytest.approx(0.0, abs=30.0)


@pytest.mark.parametrize("spoil", ["masked", "nan", "zero frame", "nan frame", "constant"])
def test_fringes_that_cannot_be_measured(spoil, caplog):
    exposure, fringe = fringed(), frame()
    if spoil == "masked":
        exposure.mask[:] = exposure.planes.bitmask("SAT")
    elif spoil == "nan":
        exposure.image[:] = np.nan
    elif spoil == "constant":
        exposure.image[:] = 7.0
    else:
        fringe.image[:] = 0.0 if spoil == "zero frame" else np.nan
    before = exposure.copy()
    with caplog.at_level(logging.INFO):
        assert subtract_fringe(exposure, fringe, config()) == 0.0
    np.testing.assert_array_equal(exposure.image, before.image)
    np.testing.assert_array_equal(exposure.variance, before.variance)
    assert caplog.messages == ["No usable place of 300 to measure fringes: none subtracted"]


@pytest.mark.parametrize("sizes", [{"large": 65}, {"large": 75}, {"small": 13}])
def test_detector_too_small_for_the_boxes(sizes):
    with pytest.raises(ProcessingError, match=r"Detector 7 is 130 x 150 pixels: no place for boxes"):
        subtract_fringe(fringed(), frame(), config(**sizes))


def test_number_is_logged(caplog):
    with caplog.at_level(logging.INFO):
        amplitude = subtract_fringe(fringed(), frame(), config())
    (message,) = caplog.messages
    assert message.startswith(f"Fringe fringe.fits subtracted, amplitude {amplitude:.6g}, rms ")
    assert message.endswith(" of 300 places")


@pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="whole frames take minutes if nothing is compiled")
def test_repeated_runs_and_views_are_the_same():
    first, second = fringed(), fringed()
    wide = np.zeros((SHAPE[0], 2 * SHAPE[1]), np.float32)
    second.image, wide[:, ::2] = wide[:, ::2], second.image
    np.testing.assert_array_equal(first.image, second.image)
    assert subtract_fringe(first, frame(), config()) == subtract_fringe(second, frame(), config())
    np.testing.assert_array_equal(first.image, second.image)
