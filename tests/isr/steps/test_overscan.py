"""Every overscan model against the specification written out, on clean and on spoilt overscans."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isr.camera import Amplifier, Box, Detector
from isr.config import OVERSCAN_FITS, OverscanConfig
from isr.errors import CameraError
from isr.exposure import Exposure
from isr.numerics.statistics import clipped_statistics
from isr.steps.overscan import record_overscan, subtract_overscan
from tests import naive
from tests.builders import frame_of, raw_frame, two_amplifiers

DATA, OVERSCAN = 4, 16  # columns


def frame_with(overscan, mask=None) -> Exposure:
    """A frame of one amplifier, [4 data columns of 5000 ADU][overscan]."""
    rows, columns = np.shape(overscan)
    amplifier = Amplifier(
        name="A",
        bbox=Box(0, 0, DATA, rows),
        raw_bbox=Box(0, 0, DATA + columns, rows),
        raw_data_bbox=Box(0, 0, DATA, rows),
        raw_serial_overscan_bbox=Box(DATA, 0, columns, rows),
    )
    shape = (rows, DATA + columns)
    detector = Detector(0, "0", "0", "SCIENCE", Box(0, 0, DATA, rows), shape, (amplifier,))
    pixels = np.full(shape, 5000, np.uint16)
    pixels[:, DATA:] = overscan
    frame = frame_of(raw_frame(detector, pixels=pixels))
    if mask is not None:
        frame.mask[:, DATA:] = mask
    return frame


def config_of(fit, order=1, **changes) -> OverscanConfig:
    config = OverscanConfig()
    config.update(fitType=fit, order=order, **changes)
    return config


def noise(rows=64, columns=OVERSCAN, seed=0, slope=0.3):
    random = np.random.default_rng(seed)
    level = 1000 + slope * np.arange(rows)[:, np.newaxis] + 4 * np.sin(np.arange(rows) / 7)[:, np.newaxis]
    return np.rint(random.normal(level, 3, (rows, columns)))


def orders_of(fit):
    return (0, 1, 4) if fit in ("POLY", "CHEB", "LEG") else (1, 7, 30) if fit.endswith("SPLINE") else (1,)


FITS = [(fit, order) for fit in OVERSCAN_FITS for order in orders_of(fit)]


def assert_as_specified(overscan, mask, config):
    """Model, BAD pixels, subtracted pixels and statistics, against `tests.naive`."""
    frame = frame_with(overscan, mask)
    before = frame.copy()
    amplifier = frame.detector.amplifiers[0]
    result = subtract_overscan(frame, amplifier, config)

    box = amplifier.raw_serial_overscan_bbox.slices
    bits = before.planes.bitmask(*config.maskPlanes)
    bad = naive.overscan_bad(before.image[box], (before.mask[box] & bits) != 0, config.maxDeviation)
    expected_mask = before.mask.copy()
    expected_mask[box] |= np.where(bad, 1, 0)
    np.testing.assert_array_equal(frame.mask, expected_mask)

    masked = (expected_mask[box] & bits) != 0
    model = naive.overscan_level(
        before.image[box], masked, config.fitType, config.order, config.numSigmaClip, config.overscanIsInt
    )
    assert result.model.dtype == np.float64
    exact = config.fitType in ("MEDIAN", "MEDIAN_PER_ROW")
    np.testing.assert_allclose(result.model, model, rtol=0, atol=0 if exact else 1e-8)

    np.testing.assert_array_equal(frame.image, before.image - result.model.astype(np.float32)[:, np.newaxis])
    np.testing.assert_allclose(result.mean, model.mean(), rtol=1e-11, atol=1e-8)
    np.testing.assert_allclose(result.median, np.median(model), rtol=1e-11, atol=1e-8)
    if config.fitType in ("MEAN", "MEANCLIP", "MEDIAN"):
        assert result.stdev == 0.0
    else:
        stdev = naive.clipped(result.model, config.numSigmaClip)[1]
        np.testing.assert_allclose(result.stdev, stdev, rtol=1e-9, atol=1e-8)
    residual = clipped_statistics(frame.image[box], frame.mask[box], bits, config.numSigmaClip)
    np.testing.assert_array_equal(
        [result.residual_median, result.residual_stdev], [residual.median, residual.stdev]
    )
    left = frame.image[box][~masked].astype(np.float64)
    np.testing.assert_allclose(
        result.residual_mean, left.mean() if left.size else np.nan, rtol=1e-9, atol=1e-9
    )


# --- what an overscan may look like -------------------------------------------------------------


def spoil(kind, rows=64):
    """An overscan and its mask, spoilt in one way."""
    overscan, mask = noise(rows), np.zeros((rows, OVERSCAN), np.int32)
    random = np.random.default_rng(7)
    match kind:
        case "clean":
            pass
        case "cosmic rays":
            overscan[random.random(overscan.shape) < 0.03] += 200
        case "bleeds into rows":
            overscan[20:30, :8] += np.linspace(900, 0, 8, dtype=int)
        case "beyond maxDeviation":
            overscan[40, 3:9] += 1001
            overscan[41, :] = 0
        case "saturated pixels":
            mask[random.random(overscan.shape) < 0.2] = 2
            overscan[mask != 0] = 60000
        case "saturated rows":
            for first, last in ((3, 4), (12, 15), (18, 19), (23, 31), (58, 59)):
                mask[first:last] = 2
        case "saturated rows at both ends":
            mask[:6] = 1
            mask[-7:] = 2
        case "saturated rows close to the ends":
            mask[5] = mask[rows - 6] = mask[rows - 5] = 2
        case "only a few rows left":
            mask[3:] = 2
            mask[60] = 0
        case "only the middle left":
            mask[:25] = mask[27:] = 2
        case "rows without spread":
            overscan[10:20] = 1005
            overscan[15, 2] = 1006
        case "no spread at all":
            overscan[:] = 1000
        case "two levels":
            overscan[:] = 1000 + 3 * (np.arange(OVERSCAN) % 2)
        case "all masked":
            mask[:] = 2
        case "other planes":
            mask[:] = 4
    return overscan, mask


SPOILT = (
    "clean",
    "cosmic rays",
    "bleeds into rows",
    "beyond maxDeviation",
    "saturated pixels",
    "saturated rows",
    "saturated rows at both ends",
    "saturated rows close to the ends",
    "only a few rows left",
    "only the middle left",
    "rows without spread",
    "no spread at all",
    "two levels",
    "all masked",
    "other planes",
)


@pytest.mark.parametrize("kind", SPOILT)
@pytest.mark.parametrize(("fit", "order"), FITS)
def test_models(fit, order, kind):
    assert_as_specified(*spoil(kind), config_of(fit, order))


@pytest.mark.parametrize(("fit", "order"), [(fit, order) for fit, order in FITS if order < 4 or "LI" in fit])
@pytest.mark.parametrize("rows", [1, 2, 4, 5, 6, 9, 31])
def test_few_rows(fit, order, rows):
    """Fewer rows than bins leave bins empty; below five knots a spline is a constant."""
    if fit in ("POLY", "CHEB", "LEG"):
        order = min(order, rows - 1)
    assert_as_specified(noise(rows), None, config_of(fit, order))


@given(
    st.sampled_from(FITS),
    st.integers(6, 40),
    st.integers(1, 9),
    st.integers(0, 2**32 - 1),
    st.sampled_from([1.0, 3.0]),
    st.booleans(),
)
def test_random_overscans(fit, rows, columns, seed, num_sigma, is_integer):
    random = np.random.default_rng(seed)
    overscan = random.integers(990, 990 + random.integers(2, 25), (rows, columns)).astype(float)
    overscan[random.random(rows) < random.choice([0, 0.2])] += random.choice([5, 1500])
    mask = np.where(random.random((rows, columns)) < random.choice([0, 0.1, 0.6]), 2, 0)
    mask[random.random(rows) < random.choice([0, 0.3, 0.8])] = 1
    config = config_of(*fit, numSigmaClip=num_sigma, overscanIsInt=is_integer)
    assert_as_specified(overscan, mask, config)


def test_all_masked_leaves_the_pixels_alone():
    for fit, order in FITS:
        frame = frame_with(*spoil("all masked"))
        before = frame.copy()
        result = subtract_overscan(frame, frame.detector.amplifiers[0], config_of(fit, order))
        assert not result.model.any()
        np.testing.assert_array_equal(frame.image, before.image)
        np.testing.assert_array_equal(frame.mask, before.mask)
        assert (result.mean, result.median, result.stdev) == (0.0, 0.0, 0.0)
        assert np.isnan([result.residual_mean, result.residual_median, result.residual_stdev]).all()


def test_all_pixels_rejected_as_outliers():
    """The unmasked pixels may all be far from the median of their rows."""
    overscan = np.full((8, 4), 1000.0)
    overscan[:, 3] = 1100
    mask = np.zeros(overscan.shape, np.int32)
    mask[:, :3] = 2
    for fit in ("MEDIAN_PER_ROW", "AKIMA_SPLINE", "POLY"):
        frame = frame_with(overscan, mask)
        assert not subtract_overscan(frame, frame.detector.amplifiers[0], config_of(fit)).model.any()


# --- what must come out -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fit", "order"), [("AKIMA_SPLINE", 30), ("NATURAL_SPLINE", 30), ("POLY", 1), ("LEG", 3)]
)
def test_a_ramp_along_the_rows_is_reproduced(fit, order):
    """Spec section 12: also where the spline is extrapolated, at both ends."""
    rows = 4176
    overscan = np.broadcast_to(1000 + 3 * np.arange(rows)[:, np.newaxis], (rows, OVERSCAN))
    frame = frame_with(overscan)
    config = config_of(fit, order, maxDeviation=1e6)
    result = subtract_overscan(frame, frame.detector.amplifiers[0], config)
    np.testing.assert_allclose(result.model, 1000 + 3 * np.arange(rows), rtol=0, atol=1e-9)
    np.testing.assert_array_equal(frame.image[:, DATA:], 0)


def test_akima_knots_are_the_bins_of_the_specification():
    """30 bins of 4176 rows: 139 or 140 rows each, all of them used."""
    t = 2.0 * np.arange(4176) / 4176 - 1
    counts = np.histogram(t, bins=30)[0]
    assert set(counts.tolist()) == {139, 140}
    assert counts.sum() == 4176


@pytest.mark.parametrize("is_integer", [True, False])
@pytest.mark.parametrize(
    ("row", "of_integers", "plain"),
    [
        ([5, 5, 5, 5], 5.0, 5.0),
        ([4, 5, 5, 6], 5.0, 5.0),
        ([4, 5, 6, 6], 5.5, 5.5),
        ([4, 4, 4, 5], 4 - 0.5 + 2 / 3, 4.0),
        ([3, 4, 5, 5, 5], 5 - 0.5 + 0.5 / 3, 5.0),
    ],
)
def test_median_of_integers(row, of_integers, plain, is_integer):
    """Spec, correction 4. A wide clip keeps all pixels."""
    frame = frame_with(np.array([row] * 3))
    config = config_of("MEDIAN_PER_ROW", overscanIsInt=is_integer, numSigmaClip=1e6)
    if min(row) == max(row):
        config.numSigmaClip = 3.0
    model = subtract_overscan(frame, frame.detector.amplifiers[0], config).model
    np.testing.assert_allclose(model, of_integers if is_integer else plain, rtol=0, atol=1e-12)


def test_deviations_are_counted_from_the_unmasked_median():
    """Exactly maxDeviation is allowed; pixels that are masked already do not become BAD."""
    overscan = np.full((9, 5), 1000.0)
    overscan[0, :4] = 1100, 1101, 900, 899
    overscan[3:] = 60000
    mask = np.zeros(overscan.shape, np.int32)
    mask[3:] = 2
    frame = frame_with(overscan, mask)
    subtract_overscan(frame, frame.detector.amplifiers[0], config_of("MEDIAN", maxDeviation=100.0))
    assert (frame.mask[0, DATA:] & 1).tolist() == [0, 1, 0, 1, 0]
    assert (frame.mask[3:, DATA:] == 2).all()


def test_saturated_pixels_count_if_their_plane_is_not_listed():
    overscan, mask = noise(), np.zeros((64, OVERSCAN), np.int32)
    overscan[:, 0] += 500
    mask[:, 0] = 2
    for planes in (["SAT"], []):
        assert_as_specified(overscan, mask, config_of("MEAN", maskPlanes=planes))
    means = [
        subtract_overscan(frame, frame.detector.amplifiers[0], config_of("MEAN", maskPlanes=planes)).mean
        for planes in (["SAT"], [])
        for frame in [frame_with(overscan, mask)]
    ]
    assert means[1] - means[0] == pytest.approx(500 / OVERSCAN, abs=1)


def test_few_bins_are_told(caplog):
    frame = frame_with(noise(rows=3))
    with caplog.at_level(logging.WARNING):
        subtract_overscan(frame, frame.detector.amplifiers[0], config_of("AKIMA_SPLINE", 30))
    assert "only 3 bins with pixels" in caplog.text


def test_only_data_and_overscan_are_changed():
    """Prescan, parallel overscan and the other amplifier keep their pixels."""
    frame = frame_of(raw_frame())
    before = frame.copy()
    left, right = frame.detector.amplifiers
    result = subtract_overscan(frame, left, config_of("MEDIAN_PER_ROW"))
    changed = frame.image != before.image
    expected = np.zeros(frame.shape, bool)
    for box in (left.raw_data_bbox, left.raw_serial_overscan_bbox):
        expected[box.slices] = True
    np.testing.assert_array_equal(changed, expected)
    assert len(result.model) == 20
    assert abs(frame.view(left.raw_data_bbox).image.mean() - 300) < 2
    subtract_overscan(frame, right, config_of("MEDIAN_PER_ROW"))
    assert abs(frame.view(right.raw_data_bbox).image.mean() - 300) < 2


@pytest.mark.parametrize("box", [Box(0, 0, 0, 0), Box(15, 2, 0, 20), Box(15, 1, 6, 20), Box(15, 2, 6, 19)])
@pytest.mark.parametrize("fit", ["MEAN", "MEDIAN_PER_ROW", "AKIMA_SPLINE"])
def test_an_overscan_that_does_not_fit_the_data_is_refused(box, fit):
    left = replace(two_amplifiers().amplifiers[0], raw_serial_overscan_bbox=box)
    frame = frame_of(raw_frame(two_amplifiers(amplifiers=(left,))))
    before = frame.copy()
    with pytest.raises(CameraError, match=r"Amplifier 'L': the serial overscan .*doOverscan=False"):
        subtract_overscan(frame, left, config_of(fit))
    np.testing.assert_array_equal(frame.image, before.image)


def test_statistics_are_recorded(caplog):
    frame = frame_of(raw_frame())
    left = frame.detector.amplifiers[0]
    with caplog.at_level(logging.INFO):
        result = subtract_overscan(frame, left, config_of("MEDIAN_PER_ROW"))
    assert "Overscan amplifier L: " in caplog.text
    statistics = record_overscan(frame, left, result)
    key = "LSST ISR OVERSCAN"
    assert frame.metadata == {
        "OBJECT": "noise",
        "OVERSCAN": "Overscan corrected",
        f"{key} SERIAL UNITS": "adu",
        f"{key} SERIAL MEAN L": result.mean,
        f"{key} SERIAL MEDIAN L": result.median,
        f"{key} SERIAL STDEV L": result.stdev,
        f"{key} RESIDUAL SERIAL MEAN L": result.residual_mean,
        f"{key} RESIDUAL SERIAL MEDIAN L": result.residual_median,
        f"{key} RESIDUAL SERIAL STDEV L": result.residual_stdev,
    }
    assert statistics == {
        "FIT MEAN L": result.mean,
        "FIT MEDIAN L": result.median,
        "FIT STDEV L": result.stdev,
        "RESIDUAL MEAN L": result.residual_mean,
        "RESIDUAL MEDIAN L": result.residual_median,
        "RESIDUAL STDEV L": result.residual_stdev,
    }
    assert abs(result.residual_mean) < 0.5
    assert 2 < result.residual_stdev < 4
