"""Real frames of another camera: Shane/Kast blue, two amplifiers (``../shared/real``).

What is measured here are plain numbers of detector physics (offset, read
noise, gain), so that an engine that is wrong on real pixels cannot pass.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from isr.calibs import CalibImage, CalibInfo, Calibs
from isr.camera import Camera
from isr.fits.raw import read_raw
from isr.run import run_isr
from tests.builders import only

BIASES, FLATS, SCIENCE = ("b21", "b22", "b23"), ("b11", "b12", "b13"), "b27"
LEFT, RIGHT = np.s_[:, :1024], np.s_[:, 1024:]
OVERSCANS = np.s_[:, 2048:2080], np.s_[:, 2080:2112]


@pytest.fixture(scope="module")
def camera() -> Camera:
    return Camera.from_yaml(Path(__file__).with_name("kast.yaml"))


@pytest.fixture(scope="module")
def raws(shared, camera):
    """The raw frames by name."""
    names = (*BIASES, *FLATS, SCIENCE)
    return {n: read_raw(shared / "real" / "kast" / f"{n}.fits.gz", camera=camera) for n in names}


def reduce(raw, bias=None, fit="MEDIAN_PER_ROW"):
    config = only(doOverscan=True, doBias=bias is not None)
    config.overscan.fitType, config.overscan.order = fit, 30
    return run_isr(raw, Calibs(bias=bias), config)


def master_bias(raws, names) -> CalibImage:
    """The mean of overscan-subtracted bias frames."""
    images = [reduce(raws[name]).exposure.image for name in names]
    return CalibImage(CalibInfo("bias", "+".join(names)), np.mean(images, axis=0, dtype=np.float32))


def spread(pixels):
    """Standard deviation without the few cosmic rays and hot pixels; not a median of
    integers, which comes in steps of half an ADU."""
    pixels = pixels.ravel().astype(np.float64)
    for _ in range(5):
        pixels = pixels[np.abs(pixels - pixels.mean()) < 5 * pixels.std()]
    return pixels.std()


def test_the_camera_fits_the_pixels(camera, raws):
    """Each overscan has the level of the amplifier that the camera file gives it to."""
    (detector,) = camera
    assert (detector.shape, detector.raw_shape) == ((350, 2048), (350, 2112))
    for name in BIASES:
        pixels = raws[name].pixels
        assert pixels.dtype == np.uint16
        for amp, other in zip(detector.amplifiers, detector.amplifiers[::-1], strict=True):
            data = np.mean(pixels[amp.raw_data_bbox.slices])
            own, foreign = (np.mean(pixels[a.raw_serial_overscan_bbox.slices]) for a in (amp, other))
            assert abs(data - own) < 2
            assert abs(data - foreign) > 15


def test_the_columns_that_the_camera_file_leaves_out_are_no_good(raws):
    for name in (*BIASES, SCIENCE):
        levels = [raws[name].pixels[overscan].mean(axis=0) for overscan in OVERSCANS]
        assert np.median(levels[0]) - levels[0][0] > 5
        assert np.median(levels[1]) - levels[1][-1] > 10
        assert np.ptp(levels[0][1:]) < 2
        assert np.ptp(levels[1][:-1]) < 2


def test_header(raws):
    info = raws[SCIENCE].visit_info
    assert info.instrument == "Kast-blue"
    assert info.exposure_time == 1200.0
    assert info.date_begin.startswith("2015-05-20T04:38")
    assert raws["b21"].visit_info.exposure_time == 0.0


@pytest.mark.parametrize("name", [*BIASES, SCIENCE])
def test_overscan_residuals(raws, name):
    bias = master_bias(raws, BIASES)
    result = reduce(raws[name], bias)
    assert result.exposure.shape == (350, 2048)
    assert not result.exposure.mask.any()
    residuals = [overscan.residual_mean for overscan in result.overscans.values()]
    assert abs(np.mean(residuals)) < 0.1
    # Mean and median of an amplifier differ: its ADC makes some numbers three times as often as their
    # neighbours (943 and 944 ADU, in the left one).
    assert np.abs(residuals).max() < 0.2
    assert all(abs(overscan.residual_median) < 0.1 for overscan in result.overscans.values())
    of_spline = reduce(raws[name], bias, "AKIMA_SPLINE")
    assert all(abs(overscan.residual_mean) < 0.1 for overscan in of_spline.overscans.values())


def test_a_bias_frame_becomes_noise_around_zero(raws):
    """With the mean of the other two, so that its own noise is not in the master."""
    bare, found = (reduce(raws["b21"], b).exposure.image for b in (None, master_bias(raws, BIASES[1:])))
    for side in (LEFT, RIGHT):
        assert abs(found[side].mean(dtype=np.float64)) < 0.1
        columns_before, columns = bare[side].mean(axis=0).std(), found[side].mean(axis=0).std()
        assert columns_before > 0.4
        assert columns < 0.22  # 2.8 ADU / sqrt(350 rows) * sqrt(1 + 1/2) = 0.18


@pytest.mark.parametrize(("side", "amplifier", "stated"), [(LEFT, "A1", 3.15), (RIGHT, "A2", 2.62)])
def test_read_noise(raws, camera, side, amplifier, stated):
    """From differences of bias frames, which have no fixed pattern.

    2.85 and 2.70 ADU. The README of the frames says "about 3.15 and 2.62":
    two neighbouring steps (0.7413 / sqrt(2) = 0.52 ADU) of what an interquartile
    range of integers can give; 10 per cent is all that such numbers can bear.
    """
    images = [reduce(raws[name], fit="AKIMA_SPLINE").exposure.image for name in BIASES]
    noises = [spread(a[side] - b[side]) / np.sqrt(2) for a, b in pairwise(images)]
    pixels = [raws[name].pixels.astype(np.float64) for name in BIASES]
    x0 = camera[0][amplifier].bbox.x0
    same = np.s_[:, x0 : x0 + 1024]
    plain = [spread(a[same] - b[same]) / np.sqrt(2) for a, b in pairwise(pixels)]
    np.testing.assert_allclose(noises, plain, rtol=0.01)
    np.testing.assert_allclose(noises, camera[0][amplifier].read_noise / camera[0][amplifier].gain, rtol=0.02)
    np.testing.assert_allclose(noises, stated, rtol=0.10)


@pytest.mark.parametrize(("side", "gain"), [(LEFT, 1.24), (RIGHT, 1.26)])
def test_gain(raws, side, gain):
    """Photon transfer: signal over variance of the difference of two dome flats, in small tiles."""
    bias = master_bias(raws, BIASES)
    one, other = (reduce(raws[name], bias).exposure.image[side].astype(np.float64) for name in FLATS[1:])
    tiles = [
        (one[y : y + 10, x : x + 10], other[y : y + 10, x : x + 10])
        for y in range(20, 330, 10)
        for x in range(10, 1010, 10)
    ]
    signal = variance = 0.0
    for a, b in tiles:
        level = (a.mean() + b.mean()) / 2
        if 3000 < level < 40000:
            signal += level
            variance += np.var(a - b * (a.mean() / b.mean()), ddof=1) / 2 - 2.8**2
    assert signal / variance == pytest.approx(gain, rel=0.05)


def test_the_science_frame_is_continuous_across_the_amplifiers(raws):
    """The raw frame has a step of more than 15 ADU between the amplifiers."""
    raw = raws[SCIENCE].pixels
    image = reduce(raws[SCIENCE], master_bias(raws, BIASES)).exposure.image
    raw_step, step = (np.median(a[:, 1024:1054]) - np.median(a[:, 994:1024]) for a in (raw, image))
    assert raw_step > 15
    assert abs(step) < 3
    assert np.median(image) > 10  # sky of 20 minutes


def test_the_science_frame_is_raw_minus_overscan_minus_bias(raws):
    bias = master_bias(raws, BIASES)
    result = reduce(raws[SCIENCE], bias)
    for amp, view in result.exposure.amplifiers():
        level = result.overscans[amp.name].model.astype(np.float32)[:, np.newaxis]
        data = raws[SCIENCE].pixels[amp.raw_data_bbox.slices].astype(np.float32)
        np.testing.assert_array_equal(view.image, data - level - bias.image[amp.bbox.slices])


def test_the_variance_is_that_of_the_pixels(raws):
    """In the bias frames the variance plane must be the square of the measured read noise."""
    config = only(doOverscan=True, doBias=True, doVariance=True)
    config.overscan.fitType, config.overscan.order = "AKIMA_SPLINE", 30
    found = run_isr(raws["b21"], Calibs(bias=master_bias(raws, BIASES[1:])), config).exposure
    for amp, view in found.amplifiers():
        assert np.median(view.variance) == pytest.approx((amp.read_noise / amp.gain) ** 2, rel=0.02)
        assert spread(view.image) ** 2 == pytest.approx(1.5 * np.median(view.variance), rel=0.05)
    np.testing.assert_array_equal(found.mask, found.variance <= 0)
    assert np.count_nonzero(found.mask) < 0.005 * found.mask.size  # three sigma below the bias
