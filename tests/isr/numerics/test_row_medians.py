"""Medians of rows, contiguous views, clipped means of vectors."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from isr.numerics.row_medians import row_medians
from isr.numerics.selection import dense
from isr.numerics.statistics import clipped_statistics, vector_clipped_mean
from tests import naive

FLOATS = st.floats(-1e6, 1e6, width=32) | st.sampled_from([math.nan, 0.0, -0.0, 1.0])
IMAGES = hnp.arrays(np.float32, hnp.array_shapes(min_dims=2, max_dims=2, max_side=70), elements=FLOATS)


@given(IMAGES, st.integers(0, 999))
def test_row_medians(image, seed):
    usable = np.random.default_rng(seed).random(image.shape) < 0.7
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # rows of NaN
        expected = np.nanmedian(np.where(usable, image, np.float32(np.nan)), axis=1)
    found = row_medians(image, usable)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, expected)


def test_rows_without_columns():
    assert np.isnan(row_medians(np.ones((3, 0), np.float32), np.ones((3, 0), bool))).all()


@pytest.mark.parametrize("bits", [0, 1])
def test_dense(bits):
    """Statistics of a view are those of its copy; without bits the mask does not matter."""
    random = np.random.default_rng(0)
    image = random.normal(0, 1, (40, 60)).astype(np.float32)[3:30, 5:50:2]
    mask = random.integers(0, 2, (40, 60)).astype(np.int32)[3:30, 5:50:2]
    found, found_mask = dense(image, mask, bits)
    assert found.flags.c_contiguous
    assert found_mask.flags.c_contiguous
    np.testing.assert_array_equal(found, image)
    if bits:
        np.testing.assert_array_equal(found_mask, mask)
    assert found_mask.shape == image.shape
    assert found_mask.dtype == np.int32
    of_copy = clipped_statistics(image.copy(), mask.copy(), bits)
    assert clipped_statistics(image, mask, bits) == of_copy


@given(st.lists(st.floats(-1e6, 1e6) | st.just(math.nan), max_size=60), st.sampled_from([1.0, 3.0]))
def test_vector_clipped_mean(values, num_sigma):
    values = np.array(values)
    finite = values[np.isfinite(values)]
    expected = naive.clipped(finite, num_sigma)[0] if len(finite) else math.nan
    found = vector_clipped_mean(values, num_sigma)
    scale = np.abs(finite).max() if len(finite) else 0.0
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9 * scale)
