"""Non-finite pixels, bleed trails, edges."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from isr.steps.masking import (
    mask_edges,
    mask_non_finite,
    mask_suspect_edges,
    warn_of_unmasked,
    widen_saturation_trails,
)
from tests.builders import exposure, only
from tests.naive_later import runs_of

BAD, SAT, SUSPECT, UNMASKEDNAN = 1, 2, 1 << 7, 1 << 11
GROWTH = {**dict.fromkeys(range(6), 0), 6: 1, 7: 1, 8: 3, 9: 3}


@given(hnp.arrays(np.int32, (20, 24), elements=st.sampled_from([0, SAT, SAT, BAD | SAT, BAD])))
def test_trails(mask):
    """Each run by its own width, those before widening; runs that meet are not taken together."""
    found = exposure()
    found.mask[...] = mask
    widen_saturation_trails(found)
    expected = mask.copy()
    for y, row in enumerate(mask):
        for x0, x1 in runs_of((row & SAT) != 0):
            growth = GROWTH.get(x1 - x0 + 1, 4)
            expected[y, max(0, x0 - growth) : x1 + growth + 1] |= SAT
    np.testing.assert_array_equal(found.mask, expected)


@pytest.mark.parametrize("width", range(1, 16))
def test_growth_by_width(width):
    found = exposure()
    found.mask[3, 5 : 5 + width] = SAT
    widen_saturation_trails(found)
    growth = GROWTH.get(width, 4)
    assert np.flatnonzero(found.mask[3]).tolist() == list(range(5 - growth, min(24, 5 + width + growth)))
    assert not found.mask[[2, 4]].any()


def test_another_plane_has_trails():
    found = exposure()
    found.mask[3, 5:15] = SUSPECT
    widen_saturation_trails(found, "SUSPECT")
    assert np.count_nonzero(found.mask == SUSPECT) == 18


def spoiled():
    found = exposure()
    found.image[2, 3], found.image[4, 23], found.variance[19, 0] = np.nan, np.inf, -np.inf
    found.image[5, 5] = found.variance[5, 5] = np.nan
    found.image[6, 6] = np.finfo(np.float32).max
    found.mask[2, 3] = found.mask[7, 7] = BAD
    return found


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # from scalars of NumPy, without compilation
def test_non_finite_pixels_are_masked_whatever_else_is_set():
    found, before = spoiled(), spoiled()
    assert mask_non_finite(found) == 4
    wrong = ~(np.isfinite(before.image) & np.isfinite(before.variance))
    np.testing.assert_array_equal(found.mask, before.mask | np.where(wrong, UNMASKEDNAN, 0))
    np.testing.assert_array_equal(found.image, before.image)
    assert found.planes["UNMASKEDNAN"] == 11


def test_the_plane_is_there_even_if_nothing_is_wrong():
    found = exposure()
    assert mask_non_finite(found) == 0
    assert "UNMASKEDNAN" in found.planes
    assert not found.mask.any()


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # from scalars of NumPy, without compilation
def test_warning_of_unmasked_pixels(caplog):
    found = spoiled()
    warn_of_unmasked(found)
    assert "3 pixels are not finite and not masked" in caplog.text
    caplog.clear()
    mask_non_finite(found)
    warn_of_unmasked(found)
    assert not caplog.records


def border(shape, width):
    y, x = np.indices(shape)
    return np.minimum.reduce([y, x, shape[0] - 1 - y, shape[1] - 1 - x]) < width


@pytest.mark.parametrize("width", [0, 1, 3, 10, 50])
def test_edges(width):
    found = exposure()
    found.mask[9, 9] = BAD
    mask_edges(found, width, "EDGE")
    expected = np.where(border(found.shape, width), 16, 0)
    expected[9, 9] |= BAD
    np.testing.assert_array_equal(found.mask, expected)


@pytest.mark.parametrize(("level", "names"), [("DETECTOR", [""]), ("AMP", ["L", "R"])])
def test_suspect_edges(level, names):
    found = exposure()
    mask_suspect_edges(found, only(numEdgeSuspect=2, edgeMaskLevel=level))
    expected = np.zeros(found.shape, np.int32)
    for box in [found.detector[name].bbox for name in names if name] or [found.detector.bbox]:
        expected[box.slices] |= np.where(border(box.shape, 2), SUSPECT, 0)
    np.testing.assert_array_equal(found.mask, expected)
    assert expected.any()
