"""Linearity: the models, LSST's pixels, input that makes no sense."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import interpolate

from isr.calibs import CalibInfo, Linearizer
from isr.errors import CalibMismatchError
from isr.steps.linearity import linearize, needs_linearity
from tests.builders import exposure, four_amplifiers, two_amplifiers
from tests.golden.cases import config_of, inputs_of, load_case

NODES = (0.0, 1000.0, 5000.0, 20000.0, 60000.0), (0.0, 1.0, -3.0, 10.0, 25.0)


def naive_model(model, coeffs, image, table=None):
    """Pixel after pixel, from the definition of each model; float32 and float64 as LSST's NumPy has them."""
    out = np.empty_like(image)
    for index, value in np.ndenumerate(image):
        wide = float(value)
        if model == "Squared":
            out[index] = wide * (1.0 + coeffs[0] * wide)
        elif model == "Polynomial":
            total = np.float32(0)
            for order, c in enumerate(coeffs, start=2):
                total = np.float32(float(total) + c * float(np.float32(wide**order)))
            out[index] = value + total
        elif model == "LookupTable":
            row = table[int(coeffs[0])]
            place = np.float32(np.float32(coeffs[1]) + value)
            place = 0 if np.isnan(place) else int(np.clip(np.trunc(place), 0, len(row) - 1))
            out[index] = value + row[place]
        else:
            out[index] = value
    return out


def with_linearity(model="Squared", coeffs=(1e-6,), detector=None):
    detector = detector or two_amplifiers()
    amps = tuple(
        replace(a, linearity_type=model, linearity_coeffs=tuple(coeffs)) for a in detector.amplifiers
    )
    return replace(detector, amplifiers=amps)


def bright_exposure(detector=None, seed=0, low=-50.0, high=60000.0):
    found = exposure(detector or with_linearity(), seed)
    found.image[...] = np.random.default_rng(seed).uniform(low, high, found.shape)
    return found


def linearizer(model, coeffs, table=None, names=("L", "R")):
    values = {name: np.array(coeffs, np.float64) for name in names}
    return Linearizer(CalibInfo("linearizer", name="lin.fits"), dict.fromkeys(names, model), values, table)


def test_golden_case_is_bit_identical(shared):
    from isr.steps.assemble import assemble, convert_to_float
    from isr.steps.overscan import subtract_overscan
    from isr.steps.variance import compute_variance

    case = load_case(shared / "golden" / "12_linearity.npz")
    config, (raw, _) = config_of(case), inputs_of(case)
    frame = convert_to_float(raw)
    for amp in raw.detector.amplifiers:
        subtract_overscan(frame, amp, config.overscan)
    found = assemble(frame)
    compute_variance(found, config)
    linearize(found, None)
    np.testing.assert_array_equal(found.image, case["out_image"])
    np.testing.assert_array_equal(found.variance, case["out_variance"])
    np.testing.assert_array_equal(found.mask, case["out_mask"])
    assert found.metadata["LSST ISR LINEARIZER APPLIED"] is True


@given(st.integers(0, 2**32 - 1), st.floats(-1e-5, 1e-5), st.booleans())
def test_squared(seed, c0, quadrants):
    detector = with_linearity(coeffs=(c0,), detector=four_amplifiers() if quadrants else two_amplifiers())
    found = bright_exposure(detector, seed)
    before = found.copy()
    linearize(found, None)
    np.testing.assert_array_equal(found.image, naive_model("Squared", (c0,), before.image))
    np.testing.assert_array_equal(found.variance, before.variance)
    np.testing.assert_array_equal(found.mask, before.mask)


def test_each_amplifier_has_its_own_coefficient():
    left, right = two_amplifiers().amplifiers
    left = replace(left, linearity_type="Squared", linearity_coeffs=(2e-6, 0.0, math.nan, math.nan))
    right = replace(right, linearity_type="Proportional")
    found = bright_exposure(two_amplifiers(amplifiers=(left, right)))
    before = found.image.copy()
    linearize(found, None)
    np.testing.assert_array_equal(found.image[:, 12:], before[:, 12:])
    np.testing.assert_array_equal(found.image[:, :12], naive_model("Squared", (2e-6,), before[:, :12]))


@given(st.integers(0, 2**32 - 1), st.lists(st.floats(-1e-6, 1e-6), min_size=1, max_size=4))
def test_polynomial(seed, c):
    coeffs = tuple(value * 1e-5**i for i, value in enumerate(c))
    found = bright_exposure(seed=seed)
    expected = naive_model("Polynomial", coeffs, found.image)
    linearize(found, linearizer("Polynomial", coeffs))
    np.testing.assert_array_almost_equal_nulp(found.image, expected, 1)


@given(st.integers(0, 2**32 - 1), st.sampled_from((0.0, 0.5, 100.0, -3.25)), st.integers(0, 1))
def test_lookup_table(seed, offset, row):
    table = np.random.default_rng(seed).normal(0, 5, (2, 500)).astype(np.float32)
    found = bright_exposure(seed=seed, low=-200, high=700)
    found.image[0, :3] = np.nan, 1e12, -1e12
    before = found.image.copy()
    outside = linearize(found, linearizer("LookupTable", (row, offset), table))
    np.testing.assert_array_equal(
        found.image, naive_model("LookupTable", (row, offset), before, table), strict=True
    )
    place = np.trunc(np.float32(offset) + before)
    assert outside == np.count_nonzero(~((place >= 0) & (place < 500)))


@pytest.mark.parametrize("first", [(0.0, 0.0), (0.0, 4.0), (50.0, 4.0)])
def test_spline_is_scipys_akima(first):
    for seed in range(20):
        random = np.random.default_rng(seed)
        n = random.integers(3, 12)
        x = np.concatenate(([first[0]], np.sort(random.uniform(100, 60000, n - 1))))
        y = np.concatenate(([first[1]], random.normal(0, 50, n - 1)))
        if seed % 3 == 0:
            y[: n // 2 + 1] = first[1]  # both weights vanish at these nodes
        found = bright_exposure(seed=seed, low=-100, high=70000)
        before = found.image.copy()
        outside = linearize(found, linearizer("Spline", np.concatenate([x, y])))
        anchor = [0.0] if first[0] else []
        nodes = np.array([*anchor, *x])
        spline = interpolate.Akima1DInterpolator(nodes, np.array([*anchor, *(y - y[0])]), method="akima")
        expected = before.copy()
        expected -= spline(np.clip(before, nodes[0], nodes[-1] - 0.1))
        np.testing.assert_allclose(found.image, expected, rtol=2e-7, atol=1e-6)
        assert outside == np.count_nonzero((before < 0) | (before > nodes[-1]))


def test_spline_at_its_nodes_and_outside():
    found = bright_exposure()
    found.image[0, :7] = *NODES[0], -30.0, 80000.0
    found.image[1, 0] = np.nan
    before = found.image.copy()
    linearize(found, linearizer("Spline", np.concatenate(NODES)))
    np.testing.assert_allclose(before[0, :4] - found.image[0, :4], NODES[1][:4], atol=2e-3)
    np.testing.assert_allclose(before[0, 4:7] - found.image[0, 4:7], [25, 0, 25], atol=5e-3)
    assert np.isnan(found.image[1, 0])


@pytest.mark.parametrize("coeffs", [(0.0,), (0.0, 1.0)])
def test_a_coefficient_of_zero_changes_nothing(coeffs):
    found = bright_exposure(with_linearity(coeffs=coeffs))
    before = found.image.copy()
    linearize(found, None)
    np.testing.assert_array_equal(found.image, before)


def test_the_first_amplifier_decides():
    left, right = with_linearity().amplifiers
    detector = two_amplifiers(amplifiers=(replace(left, linearity_type="None"), right))
    found = bright_exposure(detector)
    before = found.image.copy()
    assert not needs_linearity(detector)
    assert linearize(found, linearizer("Squared", (1e-6,))) == 0
    np.testing.assert_array_equal(found.image, before)
    assert "LSST ISR LINEARIZER APPLIED" not in found.metadata


def test_a_dataset_takes_precedence_unless_it_is_empty():
    found = bright_exposure(with_linearity(coeffs=(1e-6,)))
    other = found.copy()
    expected = naive_model("Squared", (-2e-6,), found.image)
    linearize(found, linearizer("Squared", (-2e-6,)))
    np.testing.assert_array_equal(found.image, expected)
    expected = naive_model("Squared", (1e-6,), other.image)
    linearize(other, Linearizer(CalibInfo("linearizer"), {}, {}))
    np.testing.assert_array_equal(other.image, expected)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # from scalars of NumPy, without compilation
def test_non_finite_pixels_stay_non_finite():
    for model, coeffs in (("Squared", (1e-6,)), ("Polynomial", (1e-6, 1e-12))):
        found = bright_exposure()
        found.image[0, :3] = np.nan, np.inf, -np.inf
        linearize(found, linearizer(model, coeffs))
        assert not np.isfinite(found.image[0, :3]).any()
        assert np.isfinite(found.image[1:]).all()


TABLE = np.zeros((2, 10), np.float32)


@pytest.mark.parametrize(
    ("model", "coeffs", "table", "problem"),
    [
        ("Squared", (math.nan,), None, "finite"),
        ("Squared", (math.inf,), None, "finite"),
        ("Squared", (), None, "at least 1"),
        ("Polynomial", (1e-6, math.nan), None, "finite"),
        ("LookupTable", (0.0,), TABLE, "at least 2"),
        ("LookupTable", (2.0, 0.0), TABLE, r"a row 2.*\(2, 10\)"),
        ("LookupTable", (-1.0, 0.0), TABLE, "a row -1"),
        ("LookupTable", (0.0, 0.0), None, "there is none"),
        ("LookupTable", (0.0, 0.0), TABLE * np.nan, "finite values in its row"),
        ("Spline", (0.0, 1.0, 0.0, 1.0), None, "ascending"),
        ("Spline", (0.0, 2.0, 1.0, 0.0, 0.0, 0.0), None, "ascending"),
        ("Spline", (-5.0, 2.0, 7.0, 0.0, 0.0, 0.0), None, "ascending"),
        ("Spline", (0.0, 1.0, 2.0, 3.0, 0.0, 0.0, 1.0), None, "ascending"),
        ("Spline", (0.0, 1.0, 2.0, 0.0, math.nan, 0.0), None, "finite"),
        ("Cubic", (1.0,), None, "expected one of Squared, Polynomial"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_changes(model, coeffs, table, problem):
    found = bright_exposure()
    before = found.image.copy()
    with pytest.raises(CalibMismatchError, match=problem) as error:
        linearize(found, linearizer(model, coeffs, table))
    assert "linearizer lin.fits, amplifier 'L'" in str(error.value)
    np.testing.assert_array_equal(found.image, before)


def test_the_cameras_coefficients_are_checked_too():
    with pytest.raises(CalibMismatchError, match=r"camera, detector 7 \(1_07\), amplifier 'L'.*finite"):
        linearize(bright_exposure(with_linearity(coeffs=(math.nan,))), None)


def test_an_amplifier_that_is_not_in_the_dataset():
    with pytest.raises(CalibMismatchError, match=r"lin\.fits: no amplifier 'R'.*it has 'L', 'X'"):
        linearize(bright_exposure(), linearizer("Squared", (1e-6,), names=("L", "X")))
