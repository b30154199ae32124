"""Variants of the first steps that HSC does not use, through `run_isr`."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from isr.errors import CalibMismatchError
from isr.exposure import RawFrame
from isr.run import run_isr
from tests.builders import VISIT_INFO, calib_image, calibs, only, raw_frame, two_amplifiers


def test_bias_before_the_overscan():
    """A bias in the raw geometry, level included; columns of it that the overscan does not share."""
    detector = two_amplifiers()
    level = np.full(detector.raw_shape, 900.0, np.float32)
    level += 5 * np.sin(np.arange(detector.raw_shape[1], dtype=np.float32))
    level[3, 4], level[7, 16] = np.nan, np.inf  # data, overscan
    raw = RawFrame(np.rint(np.nan_to_num(level, posinf=900.0) + 107).astype(np.uint16), detector, VISIT_INFO)
    for amp in detector.amplifiers:
        raw.pixels[amp.raw_data_bbox.slices] += np.uint16(300)
    bias = replace(calib_image("bias"), image=level)
    given = replace(calibs(), bias=bias)
    config = only(doBias=True, doOverscan=True, doBiasBeforeOverscan=True)
    config.overscan.fitType = "MEAN"
    result = run_isr(raw, given, config)
    image = result.exposure.image
    assert np.isnan(image[1, 1])
    assert np.isnan(image).sum() == 1
    np.testing.assert_allclose(image[np.isfinite(image)], 300, atol=0.8)
    assert result.overscans["L"].mean == pytest.approx(107, abs=0.5)
    assert result.exposure.metadata["LSST ISR BIAS APPLIED"] is True


def test_a_bias_of_the_other_geometry_is_refused():
    detector = two_amplifiers()
    in_raw = replace(calib_image("bias"), image=np.zeros(detector.raw_shape, np.float32))
    for bias, before, shape in (
        (calib_image("bias"), True, r"\(23, 42\) \(rows, columns\) with doBiasBeforeOverscan"),
        (in_raw, False, r"\(20, 24\) \(rows, columns\);"),
    ):
        config = only(doBias=True, doBiasBeforeOverscan=before)
        with pytest.raises(CalibMismatchError, match=shape):
            run_isr(raw_frame(detector), replace(calibs(detector), bias=bias), config)


def test_parallel_overscan_is_subtracted_and_recorded():
    detector = two_amplifiers()
    raw = raw_frame(detector)
    columns = np.arange(detector.raw_shape[1]) * 4
    for amp in detector.amplifiers:
        for box in (amp.raw_data_bbox, amp.raw_parallel_overscan_bbox):
            raw.pixels[box.slices] += columns[box.slices[1]].astype(np.uint16)
    config = only(doOverscan=True)
    config.overscan.fitType = "MEDIAN_PER_ROW"
    slopes = []
    for parallel in (False, True):
        config.overscan.doParallelOverscan = parallel
        result = run_isr(raw, calibs(detector), config)
        slopes.append(np.polyfit(np.arange(12), result.exposure.image[:, :12].mean(axis=0), 1)[0])
    assert slopes[0] == pytest.approx(4, abs=0.5)
    assert abs(slopes[1]) < 0.8
    assert len(result.overscans["L"].model) == 21
    assert len(result.overscans["L"].parallel.model) == 12
    metadata = result.exposure.metadata
    assert metadata["LSST ISR OVERSCAN PARALLEL MEDIAN R"] == result.overscans["R"].parallel.median
