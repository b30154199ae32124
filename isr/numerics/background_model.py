"""Smooth background of an image: clipped means in cells, splines through them (spec section 5.5)."""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

from isr.camera import Box
from isr.numerics.splines import Cubics, akima, evaluate, linear, natural, steps
from isr.numerics.statistics import clipped_statistics_of

__all__ = ["cell_means", "subtract_cells"]

Image = npt.NDArray[np.float32]
Vector = npt.NDArray[np.float64]


def cell_edges(size: int, count: int) -> list[int]:
    """Return the ``count + 1`` borders of cells that divide ``size`` pixels."""
    return [(i * size + count // 2) // count if i else 0 for i in range(count + 1)]


def cell_means(image: Image, mask: npt.NDArray[np.int32], bits: int, shape: tuple[int, int]) -> Image:
    """Return the clipped means of the cells of an image.

    Parameters
    ----------
    image : `numpy.ndarray`, (ny, nx), float32
        Image (ADU).
    mask : `numpy.ndarray`, (ny, nx), int32
        Mask of the pixels.
    bits : `int`
        Pixels with any of these bits do not count.
    shape : `tuple` [`int`, `int`]
        Rows and columns of cells.

    Returns
    -------
    means : `numpy.ndarray`, (rows, columns), float32
        Clipped means; NaN for a cell without a usable pixel.
    """
    rows, columns = shape
    y_edges, x_edges = cell_edges(image.shape[0], rows), cell_edges(image.shape[1], columns)
    cells = [
        Box(x_edges[i], y_edges[j], x_edges[i + 1] - x_edges[i], y_edges[j + 1] - y_edges[j])
        for j, i in np.ndindex(rows, columns)
    ]
    means = [statistics.mean for statistics in clipped_statistics_of(image, mask, bits, cells)]
    return np.array(means, np.float32).reshape(shape)


def subtract_cells(image: Image, means: Image) -> None:
    """Subtract the surface through the cell means from an image, in place.

    Parameters
    ----------
    image : `numpy.ndarray`, (ny, nx), float32
        Image (ADU).
    means : `numpy.ndarray`, (rows, columns), float32
        From `cell_means`; NaN cells are left out. If all are NaN, nothing happens.

    Notes
    -----
    A spline in y through each column of cells, then one in x through the
    columns, each the best that the number of cells allows: Akima for five and
    more, else a natural cubic, linear or step function; with fewer than
    five cells on one axis both axes use what the smaller number allows.
    """
    rows, columns = means.shape
    at_y, at_x = (np.arange(size, dtype=np.float64) for size in image.shape)
    centre_y, centre_x = (_centres(size, count) for size, count in zip(image.shape, means.shape, strict=True))
    limit = min(rows, columns)
    known = [i for i in range(columns) if np.isfinite(means[:, i]).any()]
    if not known:
        return
    at_columns = np.empty((image.shape[0], len(known)))
    for place, i in enumerate(known):
        finite = np.isfinite(means[:, i])
        spline = _spline(centre_y[finite], means[finite, i].astype(np.float64), limit)
        at_columns[:, place] = evaluate(spline, at_y)
    across = _spline(centre_x[known], at_columns, limit)
    segment = np.clip(np.searchsorted(across.x, at_x, side="right") - 1, 0, across.b.shape[-1] - 1)
    segment[at_x < across.x[0]] = -1
    segment[at_x > across.x[-1]] = across.b.shape[-1]
    _subtract(image, segment, at_x, *across)


def _centres(size: int, count: int) -> Vector:
    edges = np.array(cell_edges(size, count))
    return edges[:-1] + 0.5 * (np.diff(edges) - 1)


def _spline(x: Vector, y: Vector, limit: int) -> Cubics:
    """Return the best spline for the number of points, but not better than ``limit`` points allow."""
    points = min(len(x), limit)
    if points >= 5:
        return akima(x, y)
    if points >= 3:
        return natural(x, y)
    return linear(x, y) if points == 2 else steps(x, y)


@numba.njit(cache=True, nogil=True)
def _subtract(
    image: Image,
    segment: npt.NDArray[np.int64],
    at: Vector,
    x: Vector,
    y: Vector,
    b: Vector,
    c: Vector,
    d: Vector,
) -> None:
    """Subtract one spline per row; outside the knots afw's parabola goes on."""
    last = len(x) - 1
    h = x[last] - x[last - 1]
    for row in range(image.shape[0]):
        # value, slope and curvature at the last knot
        end_slope = b[row, last - 1] + h * (2.0 * c[row, last - 1] + 3.0 * d[row, last - 1] * h)
        end_curve = 2.0 * c[row, last - 1] + 6.0 * d[row, last - 1] * h
        for column in range(image.shape[1]):
            i = segment[column]
            if i < 0:
                dx = at[column] - x[0]
                value = y[row, 0] + dx * b[row, 0] + 0.5 * dx * dx * (2.0 * c[row, 0])
            elif i >= last:
                dx = at[column] - x[last]
                value = y[row, last] + dx * end_slope + 0.5 * dx * dx * end_curve
            else:
                dx = at[column] - x[i]
                value = y[row, i] + dx * (b[row, i] + dx * (c[row, i] + dx * d[row, i]))
            image[row, column] -= np.float32(value)
