"""Rows sorted by a network, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from isr.numerics.sorted_rows import LONGEST, sort_rows


@pytest.mark.parametrize("width", range(1, LONGEST + 4))
def test_any_number_of_columns(width):
    random = np.random.default_rng(width)
    image = random.integers(0, 7, (23, width)).astype(np.float32)
    image[random.random(image.shape) < 0.1] = np.inf
    before = image.copy()
    assert_array_equal(sort_rows(image), np.sort(image, axis=1).T)
    assert_array_equal(image, before)


@pytest.mark.parametrize("width", [3, 4, 8, 11, 16])
def test_zeros_and_ones(width):
    """A network that sorts all rows of zeros and ones sorts everything (Knuth 3, 5.3.4 Z)."""
    rows = (np.arange(2**width)[:, np.newaxis] >> np.arange(width)) & 1
    ranked = sort_rows(rows.astype(np.float32))
    assert (np.diff(ranked, axis=0) >= 0).all()
    assert_array_equal(ranked.sum(axis=0), rows.sum(axis=1))


def test_views_and_nothing():
    image = np.random.default_rng(0).normal(size=(9, 40)).astype(np.float32)
    assert_array_equal(sort_rows(image[::2, 3:20:3]), np.sort(image[::2, 3:20:3], axis=1).T)
    assert sort_rows(image[:0]).shape == (40, 0)
