"""Background of cells and splines."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isr.numerics.background_model import cell_edges, cell_means, subtract_cells
from tests import naive_later


def test_edges():
    assert np.diff(cell_edges(2048, 5)).tolist() == [410, 409, 410, 409, 410]
    assert np.diff(cell_edges(4176, 9)).tolist() == [464] * 9


@given(st.integers(1, 500), st.integers(1, 40))
def test_cells_cover_everything(size, count):
    edges = cell_edges(size, count)
    assert (edges[0], edges[-1], len(edges)) == (0, size, count + 1)
    widths = np.diff(edges)
    assert widths.max() - widths.min() <= 1


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 7), st.integers(1, 7), st.integers(0, 999), st.floats(0, 0.9))
def test_same_as_naive(rows, columns, seed, masked_part):
    random = np.random.default_rng(seed)
    image = random.normal(100, 5, (35, 42)).astype(np.float32)
    image += np.linspace(0, 40, 42, dtype=np.float32)
    image[random.random(image.shape) < 0.05] = np.nan
    masked = random.random(image.shape) < masked_part
    edges = [cell_edges(size, count) for size, count in zip(image.shape, (rows, columns), strict=True)]
    if rows > 1:
        masked[edges[0][1] : edges[0][2], : edges[1][1]] = True  # a cell without a pixel
    means = cell_means(image, np.where(masked, 2, 4).astype(np.int32), 2, (rows, columns))
    if rows > 1:
        assert np.isnan(means[1, 0])
    found = image.copy()
    subtract_cells(found, means)
    expected = image - naive_later.background(image, masked, rows, columns)
    # at the ends parabolas go on, which makes rounding errors larger
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=2e-3)


@pytest.mark.parametrize("cells", [(9, 5), (5, 9), (3, 3), (2, 2), (4, 7)])
def test_a_plane_is_reproduced(cells):
    y, x = np.mgrid[:90, :70]
    image = (500 + 0.5 * x - 0.3 * y).astype(np.float32)
    means = cell_means(image, np.zeros(image.shape, np.int32), 0, cells)
    subtract_cells(image, means)
    np.testing.assert_allclose(image, 0, atol=2e-3)


def test_cells_without_pixels():
    image = np.ones((20, 20), np.float32)
    means = cell_means(image, np.ones(image.shape, np.int32), 1, (3, 3))
    assert np.isnan(means).all()
    subtract_cells(image, means)
    assert (image == 1).all()
    means[1, 1] = 0.25
    subtract_cells(image, means)
    assert (image == 0.75).all()
