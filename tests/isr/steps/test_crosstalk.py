"""Crosstalk: LSST's pixels, any geometry, input that makes no sense."""

from __future__ import annotations

from dataclasses import replace

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isr.calibs import CalibInfo, Crosstalk
from isr.camera import Amplifier, Box, Detector
from isr.config import IsrConfig
from isr.errors import CalibMismatchError, CameraError, ConfigError
from isr.exposure import Exposure
from isr.hsc import crosstalk_matrix
from isr.hsc import detector as hsc_detector
from isr.hsc.config import hsc_config
from isr.steps.crosstalk import crosstalk_coefficients, subtract_crosstalk
from tests import naive
from tests.builders import exposure, two_amplifiers
from tests.golden.cases import config_of, inputs_of, load_case


def naive_subtract(found, coeffs, method, min_pixel, plane="CROSSTALK"):
    """Whole planes: S of each target, summed over the sources in float32."""
    image, mask, variance = found.image.copy(), found.mask.copy(), found.variance.copy()

    def middle(box):
        return naive.quantile(naive.usable_values(image[box.slices], mask[box.slices], 1), 0.5)

    amps = found.detector.amplifiers
    level = middle(found.detector.bbox)
    bit = 1 << found.planes.add(plane)
    bright = (image.astype(np.float64) >= min_pixel + level) | ((mask & bit) != 0)
    found.mask &= ~bit
    for t, target in enumerate(amps):
        total = np.zeros(target.bbox.shape, np.float32)
        total_variance = total.copy()
        ghost = np.zeros(target.bbox.shape, bool)
        for s, source in enumerate(amps):
            if coeffs[s, t] == 0:
                continue
            flips = tuple(
                slice(None, None, -1 if source.readout_corner[i] != target.readout_corner[i] else 1)
                for i in (0, 1)
            )
            background = {"DETECTOR": level, "AMP": middle(source.bbox), "None": 0.0}[method]
            signal = image[source.bbox.slices][flips] - np.float32(background)
            total += np.float32(coeffs[s, t]) * signal
            total_variance += np.float32(coeffs[s, t] ** 2) * variance[source.bbox.slices][flips]
            ghost |= bright[source.bbox.slices][flips]
        found.image[target.bbox.slices] -= total
        found.variance[target.bbox.slices] += total_variance
        found.mask[target.bbox.slices] |= np.where(ghost, bit, 0).astype(np.int32)


def grid(columns, rows, corners, shape=(6, 9)):
    """A detector of equal amplifiers, read out at any corners."""
    ny, nx = shape
    amps = tuple(
        Amplifier(
            name=f"C{i}",
            bbox=(box := Box(nx * (i % columns), ny * (i // columns), nx, ny)),
            raw_bbox=box,
            raw_data_bbox=box,
            raw_serial_overscan_bbox=Box(0, 0, 0, 0),
            readout_corner=corners[i % len(corners)],
        )
        for i in range(columns * rows)
    )
    bbox = Box(0, 0, nx * columns, ny * rows)
    return Detector(3, "0_03", "s3", "SCIENCE", bbox, bbox.shape, amps)


def crosstalk(coeffs):
    return Crosstalk(CalibInfo("crosstalk", name="ct.fits"), np.array(coeffs, np.float64))


def config_with(method="DETECTOR", **changes):
    config = IsrConfig()
    config.crosstalk.crosstalkBackgroundMethod = method
    for name, value in changes.items():
        setattr(config.crosstalk, name, value)
    return config


def assert_same(found, expected):
    np.testing.assert_array_equal(found.image, expected.image)
    np.testing.assert_array_equal(found.variance, expected.variance)
    np.testing.assert_array_equal(found.mask, expected.mask)
    assert found.planes == expected.planes


def test_golden_case_is_bit_identical(shared):
    from isr.steps.assemble import assemble, convert_to_float
    from isr.steps.bias import subtract_bias
    from isr.steps.overscan import subtract_overscan
    from isr.steps.variance import compute_variance

    case = load_case(shared / "golden" / "13_crosstalk.npz")
    config, (raw, calibs) = config_of(case), inputs_of(case)
    config.update(crosstalk=hsc_config().crosstalk)
    frame = convert_to_float(raw)
    for amp in raw.detector.amplifiers:
        subtract_overscan(frame, amp, config.overscan)
    found = assemble(frame)
    subtract_bias(found, calibs.bias)
    compute_variance(found, config)
    masked = subtract_crosstalk(found, None, config)
    np.testing.assert_array_equal(found.image, case["out_image"])
    np.testing.assert_array_equal(found.variance, case["out_variance"])
    np.testing.assert_array_equal(found.mask, case["out_mask"])  # the same bits, as it happens
    assert masked == np.count_nonzero(found.mask & (1 << found.planes["CROSSTALK"])) > 1000
    assert found.metadata["LSST ISR CROSSTALK APPLIED"] is True


@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 4),
    st.integers(1, 2),
    st.lists(st.sampled_from(("LL", "LR", "UL", "UR")), min_size=1, max_size=8),
    st.sampled_from(("None", "AMP", "DETECTOR")),
    st.booleans(),
)
def test_any_geometry(seed, columns, rows, corners, method, has_plane):
    detector = grid(columns, rows, corners)
    n = len(detector.amplifiers)
    random = np.random.default_rng(seed)
    coeffs = random.normal(0, 1e-2, (n, n)) * (random.random((n, n)) < 0.8)
    found = exposure(detector, seed)
    found.image[random.random(found.shape) < 0.05] += 500.0
    found.mask[random.random(found.shape) < 0.1] |= 1
    if has_plane:
        bit = found.planes.add("CROSSTALK")
        found.mask[random.random(found.shape) < 0.05] |= 1 << bit
    expected = found.copy()
    naive_subtract(expected, coeffs, method, 300.0)
    masked = subtract_crosstalk(found, crosstalk(coeffs), config_with(method, minPixelToMask=300.0))
    assert_same(found, expected)
    assert masked == np.count_nonzero(found.mask & (1 << found.planes["CROSSTALK"]))


@pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="whole frames take minutes if nothing is compiled")
def test_one_bright_pixel_of_hsc():
    """Check of spec section 12."""
    detector, config, c = hsc_detector(22), hsc_config(), crosstalk_matrix()
    x, y, height = 100, 2000, 60000.0
    found = Exposure(
        np.zeros(detector.shape, np.float32),
        np.zeros(detector.shape, np.int32),
        np.zeros(detector.shape, np.float32),
        detector,
    )
    found.image[y, x], found.variance[y, x] = height, 9.0
    assert subtract_crosstalk(found, None, config) == 3
    for amp, column in ((1, 1023 - x), (2, 1024 + x), (3, 2047 - x)):
        assert found.image[y, column] == np.float32(-c[0][amp]) * np.float32(height)
        assert found.variance[y, column] == np.float32(c[0][amp] ** 2) * np.float32(9)
        assert found.mask[y, column] == 1 << found.planes["CROSSTALK"]
    assert found.image[y, x] == height
    assert np.count_nonzero(found.image) == np.count_nonzero(found.variance) == 4
    assert np.count_nonzero(found.mask) == 3


def test_the_threshold_is_inclusive_and_above_the_median():
    found = exposure()
    found.image[...] = 10.0
    found.image[0, :3] = 510.0, np.nextafter(np.float32(510), np.float32(0)), 509.0
    config = config_with("None", minPixelToMask=500.0, crosstalkMaskPlane="GHOST")
    assert subtract_crosstalk(found, crosstalk([[0, 1e-3], [0, 0]]), config) == 1
    assert found.mask[0, 23] == 1 << found.planes["GHOST"]
    assert found.mask[0, 22] == 0
    assert "CROSSTALK" not in found.planes


def test_the_coefficients_of_the_configuration():
    matrix = np.array([[0.0, 1e-3], [2e-3, 0.0]])
    config = config_with(
        crosstalkValues=matrix.ravel().tolist(), crosstalkShape=[2, 2], useConfigCoefficients=True
    )
    found, expected = exposure(), exposure()
    naive_subtract(expected, matrix, "DETECTOR", 45000.0)
    subtract_crosstalk(found, None, config)
    assert_same(found, expected)
    other = crosstalk([[0, 7e-3], [0, 0]])
    np.testing.assert_array_equal(
        crosstalk_coefficients(two_amplifiers(), other, config), [[0, 7e-3], [0, 0]]
    )
    config.crosstalkTransposed = True
    np.testing.assert_array_equal(crosstalk_coefficients(two_amplifiers(), None, config), matrix.T)
    np.testing.assert_array_equal(
        crosstalk_coefficients(two_amplifiers(), other, config), [[0, 0], [7e-3, 0]]
    )


def test_hsc_has_the_packaged_matrix():
    found = crosstalk_coefficients(hsc_detector(3), None, hsc_config())
    np.testing.assert_array_equal(found.astype(np.float32), crosstalk_matrix().astype(np.float32))


def test_non_finite_pixels_reach_their_targets_only():
    found = exposure()
    found.image[3, 2], found.variance[4, 2] = np.nan, np.inf
    subtract_crosstalk(found, crosstalk([[0, 1e-3], [0, 0]]), config_with())
    assert np.argwhere(~np.isfinite(found.image)).tolist() == [[3, 2], [3, 21]]
    assert np.argwhere(~np.isfinite(found.variance)).tolist() == [[4, 2], [4, 21]]


@pytest.mark.parametrize("method", ["None", "AMP", "DETECTOR"])
def test_a_masked_amplifier_or_detector_gives_no_nan(method, caplog):
    coeffs = np.array([[0, 1e-3], [2e-3, 0]])
    for columns in (slice(0, 12), slice(0, 24)):
        found = exposure()
        found.mask[:, columns] |= 1
        before = found.copy()
        subtract_crosstalk(found, crosstalk(coeffs), config_with(method))
        assert np.isfinite(found.image).all()
        assert np.isfinite(found.variance).all()
        if method == "AMP":
            assert "no usable pixel" in caplog.text
            np.testing.assert_array_equal(found.image[:, 12:], before.image[:, 12:])
        if method == "DETECTOR" and columns.stop == 24:
            np.testing.assert_array_equal(found.image, before.image)


@pytest.mark.parametrize("bad", [np.zeros((3, 3)), np.zeros(4), [[0, np.nan], [0, 0]], [[0, 0], [np.inf, 0]]])
def test_coefficients_that_make_no_sense(bad):
    found = exposure()
    with pytest.raises(
        CalibMismatchError, match=r"crosstalk ct\.fits: shape.*expected \(2, 2\) finite.*detector 7 \(1_07\)"
    ):
        subtract_crosstalk(found, crosstalk(bad), config_with())
    np.testing.assert_array_equal(found.image, exposure().image)


def test_configurations_that_make_no_sense():
    with pytest.raises(ConfigError, match=r"no coefficients for detector 7.*useConfigCoefficients=True"):
        subtract_crosstalk(exposure(), None, config_with())
    with pytest.raises(CalibMismatchError, match=r"crosstalkValues: shape \(1,\).*expected \(2, 2\)"):
        subtract_crosstalk(exposure(), None, config_with(useConfigCoefficients=True))
    config = config_with(useConfigCoefficients=True, crosstalkValues=[0.0] * 3, crosstalkShape=[2, 2])
    with pytest.raises(ConfigError, match=r"has 3 values.*\[2, 2\]"):
        subtract_crosstalk(exposure(), None, config)


def test_amplifiers_of_different_size():
    left, right = two_amplifiers().amplifiers
    right = replace(right, bbox=Box(12, 0, 11, 20), raw_data_bbox=Box(27, 2, 11, 20))
    found = exposure(two_amplifiers(amplifiers=(left, right)))
    with pytest.raises(CameraError, match=r"amplifiers of one size.*\(20, 12\), \(20, 11\)"):
        subtract_crosstalk(found, crosstalk(np.eye(2)), config_with())
