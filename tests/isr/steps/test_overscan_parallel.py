"""Parallel overscan, columns and rows to skip, pixels that are not finite: against the naive twin."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isr.camera import Amplifier, Box, Detector
from isr.config import OverscanConfig
from isr.errors import CameraError, ConfigError
from isr.exposure import Exposure
from isr.numerics.statistics import clipped_statistics
from isr.steps.overscan import mask_parallel_overscan, record_overscan, subtract_overscan
from tests import naive

SAT, BAD = 2, 1
FITS = [("MEAN", 1), ("MEDIAN", 1), ("MEDIAN_PER_ROW", 1), ("LEG", 2), ("AKIMA_SPLINE", 7)]


def config_of(fit="MEDIAN_PER_ROW", order=1, **changes) -> OverscanConfig:
    config = OverscanConfig()
    config.update(fitType=fit, order=order, **changes)
    return config


def detector_of(rows=30, columns=24, serial=8, parallel=6, serial_first=False, parallel_first=False):
    """Two amplifiers side by side; the parallel overscan is above or below the data."""
    amplifiers = []
    y0, width = parallel if parallel_first else 0, columns + serial
    for i in range(2):
        x0 = i * width
        data = Box(x0 + (serial if serial_first else 0), y0, columns, rows)
        amplifiers.append(
            Amplifier(
                name=f"A{i}",
                bbox=Box(i * columns, 0, columns, rows),
                raw_bbox=Box(x0, 0, width, rows + parallel),
                raw_data_bbox=data,
                raw_serial_overscan_bbox=Box(x0 + (0 if serial_first else columns), y0, serial, rows),
                raw_parallel_overscan_bbox=Box(data.x0, 0 if parallel_first else rows, columns, parallel),
            )
        )
    shape = (rows + parallel, 2 * width)
    return Detector(1, "1", "1", "SCIENCE", Box(0, 0, 2 * columns, rows), shape, tuple(amplifiers))


def frame_of(detector, seed=0, sky=500.0):
    """Levels that differ by row and by column, noise, a sky in the data, some masked pixels."""
    random = np.random.default_rng(seed)
    ny, nx = detector.raw_shape
    level = 1000 + 0.4 * np.arange(ny)[:, np.newaxis] + 6 * np.sin(np.arange(nx) / 9)
    for amp in detector.amplifiers:
        level[amp.raw_data_bbox.slices] += sky
    image = np.rint(random.normal(level, 3.0)).astype(np.float32)
    mask = np.where(random.random(image.shape) < 0.04, SAT, 0).astype(np.int32)
    return Exposure(image, mask, np.ones_like(image), detector)


def naive_correct(image, mask, data, overscan, measured, config, transpose=False):
    """One overscan, in place; returns the model."""
    box = measured.slices
    masked = (mask[box] & (BAD | SAT)) != 0
    mask[box] |= np.where(naive.overscan_bad(image[box], masked, config.maxDeviation), BAD, 0)
    masked = (mask[box] & (BAD | SAT)) != 0
    pixels = image[box]
    if transpose:
        pixels, masked = pixels.T, masked.T
    if config.fitType == "MEDIAN_PER_ROW" and transpose:
        # LSST rejects outliers first, then cuts to integers and takes the integer median.
        keep = naive.overscan_survivors(pixels, masked, config.numSigmaClip)
        medians = [
            naive.row_median(np.trunc(row[k]), True) if k.any() else np.nan
            for row, k in zip(pixels, keep, strict=True)
        ]
        level = np.array(naive.fill_rows(medians, keep.any(axis=1)))
    else:
        level = naive.overscan_level(pixels, masked, config.fitType, config.order, config.numSigmaClip)
    per_line = level.astype(np.float32)
    for target in (data, overscan):
        image[target.slices] -= per_line[np.newaxis, :] if transpose else per_line[:, np.newaxis]
    return level


def shrink(box, data, leading, trailing, axis):
    first = box[axis] > data[axis]  # the overscan follows the data
    low, high = (leading, trailing) if first else (trailing, leading)
    if axis == 0:
        return Box(box.x0 + low, box.y0, box.width - low - high, box.height)
    return Box(box.x0, box.y0 + low, box.width, box.height - low - high)


@given(
    st.sampled_from(FITS),
    st.booleans(),
    st.booleans(),
    st.tuples(*[st.integers(0, 2)] * 4),
    st.integers(0, 2**32 - 1),
    st.tuples(st.integers(7, 40), st.integers(7, 40), st.integers(5, 9), st.integers(5, 9)),
)
def test_both_overscans_of_any_geometry(fit, serial_first, parallel_first, skip, seed, sizes):
    rows, columns, serial, parallel = sizes
    detector = detector_of(rows, columns, serial, parallel, serial_first, parallel_first)
    frame = frame_of(detector, seed)
    config = config_of(
        *fit,
        doParallelOverscan=True,
        leadingColumnsToSkip=skip[0],
        trailingColumnsToSkip=skip[1],
        leadingRowsToSkip=skip[2],
        trailingRowsToSkip=skip[3],
    )
    image, mask = frame.image.copy(), frame.mask.copy()
    amp = detector.amplifiers[1]
    data, height = amp.raw_data_bbox, rows + parallel
    extended = Box(data.x0, 0, columns, height)
    box = Box(amp.raw_serial_overscan_bbox.x0, 0, serial, height)
    below = amp.raw_parallel_overscan_bbox
    expected = (
        naive_correct(image, mask, extended, box, shrink(box, data, *skip[:2], 0), config),
        naive_correct(image, mask, data, below, shrink(below, data, *skip[2:], 1), config, transpose=True),
    )
    result = subtract_overscan(frame, amp, config)
    assert result.parallel is not None
    # The parallel overscan is not integer any more: LSST sums it in float32.
    np.testing.assert_allclose(result.model, expected[0], rtol=0, atol=1e-8)
    np.testing.assert_allclose(result.parallel.model, expected[1], rtol=0, atol=2e-5)
    np.testing.assert_array_equal(frame.mask, mask)
    np.testing.assert_allclose(frame.image, image, rtol=0, atol=2e-4)
    residual = clipped_statistics(
        frame.view(below).image, frame.view(below).mask, BAD | SAT, config.numSigmaClip
    )
    assert result.parallel.residual_median == residual.median
    assert result.parallel.parallel is None


def test_levels_of_rows_and_columns_are_removed():
    """Without noise nothing but the sky is left."""
    detector = detector_of(rows=60, columns=50)
    frame = frame_of(detector)
    ny, nx = frame.shape
    rows, columns = np.arange(ny) // 3, np.rint(20 * np.sin(np.arange(nx) / 5))
    frame.image[:] = 1000 + rows[:, np.newaxis] + columns
    for amp in detector.amplifiers:
        frame.image[amp.raw_data_bbox.slices] += 700
        # The serial overscan has no structure by columns: all of it is in the parallel one.
        frame.image[amp.raw_serial_overscan_bbox.slices] = 1000 + rows[:60, np.newaxis]
        frame.image[60:, amp.raw_serial_overscan_bbox.slices[1]] = 1000 + rows[60:, np.newaxis]
    frame.mask[:] = 0
    for amp in detector.amplifiers:
        subtract_overscan(frame, amp, config_of(doParallelOverscan=True))
        np.testing.assert_array_equal(frame.view(amp.raw_data_bbox).image, 700)


def test_skipped_columns_are_corrected_but_not_measured():
    detector = detector_of(serial=8)
    for serial_first, near in ((False, 0), (True, 7)):
        detector = detector_of(serial_first=serial_first)
        amp = detector.amplifiers[0]
        frame = frame_of(detector)
        frame.image[:], frame.mask[:] = 1000, 0
        overscan = frame.view(amp.raw_serial_overscan_bbox).image
        overscan[:, near] += 50  # charge that the data left behind
        overscan[:, 7 - near] += 7
        config = config_of("MEAN", leadingColumnsToSkip=1, trailingColumnsToSkip=1)
        assert subtract_overscan(frame, amp, config).mean == 1000
        np.testing.assert_array_equal(overscan[:, near], 50)
        np.testing.assert_array_equal(overscan[:, 7 - near], 7)


@pytest.mark.parametrize("names", ["Columns", "Rows"])
@pytest.mark.parametrize("skip", [(8, 0), (4, 4), (-1, 0), (0, -2)])
def test_something_must_be_left_to_measure(names, skip):
    detector = detector_of(serial=8, parallel=8)
    fields = (f"leading{names}ToSkip", f"trailing{names}ToSkip")
    config = config_of(doParallelOverscan=True)
    try:
        config.update(**dict(zip(fields, skip, strict=True)))
    except ValueError:  # the configuration itself refuses negative numbers
        return
    with pytest.raises(ConfigError, match=f"overscan.leading{names}ToSkip"):
        subtract_overscan(frame_of(detector), detector.amplifiers[0], config)


@pytest.mark.parametrize("box", [Box(0, 0, 0, 0), Box(0, 30, 23, 6), Box(1, 30, 24, 6), Box(0, 31, 24, 6)])
def test_a_parallel_overscan_that_does_not_fit_is_refused(box):
    amp = replace(detector_of().amplifiers[0], raw_parallel_overscan_bbox=box)
    frame = frame_of(replace(detector_of(), amplifiers=(amp,)))
    with pytest.raises(CameraError, match=r"'A0': the parallel overscan .*doParallelOverscan=False"):
        subtract_overscan(frame, amp, config_of(doParallelOverscan=True))
    with pytest.raises(CameraError, match="'A0': the parallel overscan"):
        mask_parallel_overscan(frame, config_of())


def test_statistics_of_both_are_recorded():
    detector = detector_of()
    frame = frame_of(detector)
    amp = detector.amplifiers[0]
    result = subtract_overscan(frame, amp, config_of("AKIMA_SPLINE", 7, doParallelOverscan=True))
    own = record_overscan(frame, amp, result)
    parallel = result.parallel
    for direction, one in (("SERIAL", result), ("PARALLEL", parallel)):
        numbers = {"MEAN": one.mean, "MEDIAN": one.median, "STDEV": one.stdev}
        residuals = {"MEAN": one.residual_mean, "MEDIAN": one.residual_median, "STDEV": one.residual_stdev}
        assert frame.metadata[f"LSST ISR OVERSCAN {direction} UNITS"] == "adu"
        for name in numbers:
            assert frame.metadata[f"LSST ISR OVERSCAN {direction} {name} A0"] == numbers[name]
            assert frame.metadata[f"LSST ISR OVERSCAN RESIDUAL {direction} {name} A0"] == residuals[name]
    assert own["FIT MEDIAN A0"] == result.median
    assert abs(result.median - 1000) < 30
    assert abs(parallel.median) < 10


# --- bleeds in the parallel overscan --------------------------------------------------------------


def test_bleeds_are_masked_in_all_amplifiers():
    detector = detector_of(parallel=9)
    frame = frame_of(detector)
    frame.mask[:] = 0
    left, right = (frame.view(amp.raw_parallel_overscan_bbox) for amp in detector.amplifiers)
    left.image[4, 10] = 5000  # exactly at the threshold
    right.image[0, 20] = 60000
    right.image[8, 3] = 4999
    right.mask[7, 5] = SAT
    config = config_of(parallelOverscanMaskThreshold=5000, parallelOverscanMaskGrowSize=2)
    mask_parallel_overscan(frame, config)
    y, x = np.mgrid[:9, :24]
    expected = np.where((abs(y - 4) + abs(x - 10) <= 2) | (abs(y) + abs(x - 20) <= 2), BAD, 0)
    expected[7, 5] |= SAT
    np.testing.assert_array_equal(left.mask, expected)
    np.testing.assert_array_equal(right.mask, expected)
    inside = np.zeros(frame.shape, bool)
    for amp in detector.amplifiers:
        inside[amp.raw_parallel_overscan_bbox.slices] = True
    assert not frame.mask[~inside].any()


def test_a_bleed_does_not_spoil_the_parallel_model():
    detector = detector_of(columns=40, parallel=12)
    amp = detector.amplifiers[0]
    config = config_of(doParallelOverscan=True, parallelOverscanMaskThreshold=3000)
    config.parallelOverscanMaskGrowSize = 1
    models = []
    for bleed in (False, True):
        frame = frame_of(detector)
        frame.mask[:] = 0
        if bleed:
            frame.view(amp.raw_parallel_overscan_bbox).image[:9, 17] += 20000
            mask_parallel_overscan(frame, config)
        models.append(subtract_overscan(frame, amp, config).parallel.model)
    np.testing.assert_array_equal(models[0][:16], models[1][:16])
    assert np.abs(models[1] - models[0]).max() < 10


def test_parallel_overscans_must_be_of_one_size():
    detector = detector_of()
    first, second = detector.amplifiers
    second = replace(second, raw_parallel_overscan_bbox=replace_height(second, 5))
    frame = frame_of(replace(detector, amplifiers=(first, second)))
    with pytest.raises(CameraError, match=r"parallel overscans of sizes \[\(5, 24\), \(6, 24\)\]"):
        mask_parallel_overscan(frame, config_of())


def replace_height(amp, height):
    return amp.raw_parallel_overscan_bbox._replace(height=height)


# --- pixels that are not finite, and fractions ----------------------------------------------------


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_pixels_that_are_not_finite_are_left_out(fit, value):
    """They come from a bias that is subtracted before the overscan."""
    detector = detector_of(rows=40)
    amp = detector.amplifiers[0]
    clean, spoilt = frame_of(detector), frame_of(detector)
    box = amp.raw_serial_overscan_bbox.slices
    for frame in (clean, spoilt):
        frame.mask[:] = 0
        frame.image[box] += np.float32(0.123)
    spoilt.image[box][5, 2] = spoilt.image[box][11, :] = value
    expected = subtract_overscan(clean, amp, config_of(*fit))
    result = subtract_overscan(spoilt, amp, config_of(*fit))
    assert np.isfinite(result.model).all()
    assert np.isfinite([result.residual_mean, result.residual_median, result.residual_stdev]).all()
    np.testing.assert_allclose(result.model, expected.model, rtol=0, atol=6)
    assert not spoilt.mask.any()


def test_an_overscan_of_nothing_but_nan_has_the_model_zero():
    detector = detector_of()
    amp = detector.amplifiers[0]
    for fit in FITS:
        frame = frame_of(detector)
        frame.image[amp.raw_serial_overscan_bbox.slices] = np.nan
        before = frame.view(amp.raw_data_bbox).image.copy()
        assert not subtract_overscan(frame, amp, config_of(*fit)).model.any()
        np.testing.assert_array_equal(frame.view(amp.raw_data_bbox).image, before)


@given(st.integers(0, 2**32 - 1), st.integers(1, 90), st.booleans())
def test_quartiles_are_those_of_numpy(seed, columns, is_integer):
    """Bit for bit, because they decide which pixels are rejected."""
    from isr.numerics.overscan_model import _quartiles, _ranked

    image = np.random.default_rng(seed).normal(1000, 3, (9, columns)).astype(np.float32)
    if is_integer:
        image = np.rint(image)
    expected = np.percentile(image, [25.0, 50.0, 75.0], axis=1)
    for view in (image, np.asfortranarray(image), np.repeat(image, 2, axis=1)[:, ::2]):
        np.testing.assert_array_equal(_quartiles(*_ranked(view)), expected)


def test_only_one_side_can_count_as_deviating():
    detector = detector_of()
    amp = detector.amplifiers[0]
    for both, expected in ((True, [BAD, BAD]), (False, [BAD, 0])):
        frame = frame_of(detector)
        frame.mask[:] = 0
        overscan = frame.view(amp.raw_serial_overscan_bbox)
        overscan.image[3, 3], overscan.image[4, 3] = 2500, 10
        subtract_overscan(frame, amp, config_of("MEDIAN", maxDeviation=900.0, doAbsoluteMaxDeviation=both))
        assert overscan.mask[3:5, 3].tolist() == expected
