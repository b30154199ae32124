"""Filling of bad regions and interpolation along rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from isr.numerics.runs import find_runs
from isr.steps.interpolate import fill_bad_regions, fill_runs, interpolate, interpolation_fallback
from tests import naive, naive_later
from tests.builders import exposure, only

BAD, SAT, INTRP = 1, 2, 4
PIXELS = st.floats(-(2.0**99), 2.0**99, width=32) | st.floats(-5000, 5000, width=32)
SPECIAL = PIXELS | st.sampled_from([np.nan, np.inf, -np.inf])


@st.composite
def rows(draw, elements=PIXELS):
    """A row and its mask, made of runs; none comes near both edges, unless it is the whole row."""
    masked = np.zeros(draw(st.integers(1, 60)), bool)
    for x0, n in draw(st.lists(st.tuples(st.integers(0, 59), st.integers(1, 25)), max_size=6)):
        masked[x0 : x0 + n] = True
    for x0, x1 in naive_later.runs_of(masked):
        assume(not (x0 <= 1 and x1 >= len(masked) - 2) or masked.all())
    return draw(hnp.arrays(np.float32, len(masked), elements=elements)), masked


def filled(row, masked, squared=False):
    found = row.reshape(1, -1).copy()
    runs = find_runs(masked.reshape(1, -1).astype(np.int32), np.int32(1))
    fill_runs(found, runs, 12.25, squared=squared)
    return found[0]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # from scalars of NumPy, without compilation
@given(rows() | rows(SPECIAL), st.booleans())
def test_same_as_naive_bit_for_bit(pixels, squared):
    row, masked = pixels
    expected = naive_later.interpolate_row(row, masked, 12.25, squared)
    found = filled(row, masked, squared)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(found[~masked], row[~masked])


@given(hnp.arrays(bool, st.integers(1, 70)), st.floats(1, 1e5, width=32))
def test_a_constant_row_stays_constant(masked, level):
    """Within the rounding of the weights; but for runs of 7 at an edge, which take a pixel for -1."""
    runs = naive_later.runs_of(masked)
    n = len(masked)
    for x0, x1 in runs:
        assume(not (x0 <= 1 and x1 >= n - 2))
        assume(not (x1 - x0 == 6 and (x0 == 0 or x1 == n - 1)))
    row = np.full((1, n), level, np.float32)
    fill_runs(row, find_runs(masked.reshape(1, -1).astype(np.int32), np.int32(1)), level)
    np.testing.assert_allclose(row, level, rtol=4e-4)


@pytest.mark.parametrize("n", range(1, 40))
def test_every_width_at_every_place_of_a_short_row(n):
    """No run may reach over the edge, not even one for which the reference has no rule."""
    row = np.linspace(1, 2, 40, dtype=np.float32)
    for x0 in range(40 - n + 1):
        masked = np.zeros(40, bool)
        masked[x0 : x0 + n] = True
        found = filled(row, masked)
        assert np.isfinite(found).all()
        np.testing.assert_array_equal(found[~masked], row[~masked])


def damaged(seed=0):
    found = exposure(seed=seed)
    random = np.random.default_rng(seed)
    found.mask[random.random(found.shape) < 0.15] |= BAD
    found.mask[4:7, 9:12] |= SAT
    found.mask[11] |= SAT
    found.image[2, 2] = np.nan
    found.planes.add("UNMASKEDNAN")
    return found


def with_planes(*planes, **fields):
    config = only()
    config.maskListToInterpolate = list(planes)
    config.update(**fields)
    return config


@pytest.mark.parametrize("squared", [False, True])
def test_all_planes(squared):
    found, before = damaged(), damaged()
    config = with_planes("SAT", "BAD", "NOT_THERE", interpolateVarianceSquaredWeights=squared)
    count = interpolate(found, config)

    mask = naive.grow(before.mask, SAT, 1)
    masked = (mask & (SAT | BAD)) != 0
    level, _ = naive.clipped(before.image[np.isfinite(before.image)].ravel())
    of_variance, _ = naive.clipped(before.variance.ravel())
    for y in range(before.shape[0]):
        row = naive_later.interpolate_row(before.image[y], masked[y], level)
        np.testing.assert_array_equal(found.image[y], row)
        level_of_row = of_variance if squared else level
        row = naive_later.interpolate_row(before.variance[y], masked[y], level_of_row, squared)
        np.testing.assert_allclose(found.variance[y], row, rtol=1e-6)
    np.testing.assert_array_equal(found.mask, mask | np.where(masked, INTRP, 0))
    assert count == masked.sum()


def test_saturation_grows_only_if_it_is_interpolated():
    for config in (with_planes("BAD"), with_planes("SAT", growSaturationFootprintSize=0)):
        found, before = damaged(), damaged()
        interpolate(found, config)
        np.testing.assert_array_equal(found.mask & SAT, before.mask & SAT)


def test_bad_regions_get_the_median_of_the_others():
    found, before = damaged(), damaged()
    found.mask[5, 5] |= BAD | INTRP
    before.mask[5, 5] |= BAD | INTRP
    level = fill_bad_regions(found)
    bad = (before.mask & BAD) != 0
    assert level == np.nanmedian(before.image[~bad].astype(np.float64))
    to_fill = bad & ((before.mask & INTRP) == 0)
    np.testing.assert_array_equal(found.image, np.where(to_fill, np.float32(level), before.image))
    np.testing.assert_array_equal(found.mask, before.mask)
    np.testing.assert_array_equal(found.variance, before.variance)


def test_nothing_good_is_left():
    found = exposure()
    found.mask[...] = BAD
    assert np.isnan(fill_bad_regions(found))
    assert np.isnan(found.image).all()
    assert np.isnan(interpolation_fallback(found.image, find_runs(found.mask, np.int32(BAD))))
    interpolate(found, with_planes("BAD"))
    assert np.isnan(found.image).all()


@pytest.mark.parametrize(
    ("first", "last", "is_used"),
    [(0, 5, False), (0, 6, True), (14, 19, False), (13, 19, True), (0, 19, True)],
)
def test_the_fallback_is_measured_only_if_it_is_used(first, last, is_used):
    """Runs of more than six pixels at an edge, and whole rows, need it."""
    image, mask = np.full((3, 20), 5.0, np.float32), np.zeros((3, 20), np.int32)
    mask[1, first : last + 1] = BAD
    mask[2, 3:15] = BAD
    runs = find_runs(mask, np.int32(BAD))
    fallback = interpolation_fallback(image, runs)
    assert np.isfinite(fallback) == is_used
    fill_runs(image, runs, fallback)
    assert np.isfinite(image).all()
