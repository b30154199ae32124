"""Models of the level of an overscan along its rows (spec section 4.3).

Here "rows" are the lines of the array that is given: the rows of a serial
overscan, the columns of a parallel one, which is given transposed.
"""

from __future__ import annotations

import logging
from functools import lru_cache
from typing import TYPE_CHECKING

import numba
import numpy as np
import numpy.typing as npt
from numpy.polynomial import chebyshev, legendre, polynomial

from isr.numerics.sorted_rows import sort_rows
from isr.numerics.splines import akima, evaluate, natural
from isr.numerics.statistics import clipped_statistics, mean, median

if TYPE_CHECKING:
    from isr.config import OverscanConfig

__all__ = ["CONSTANT_FITS", "constant_level", "row_levels"]

log = logging.getLogger(__name__)

Image = npt.NDArray[np.float32]
Vector = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Counts = npt.NDArray[np.int64]

CONSTANT_FITS = ("MEAN", "MEANCLIP", "MEDIAN")
"""Models that are one number."""
POLYNOMIALS = {
    "POLY": (polynomial.polyfit, polynomial.polyval),
    "CHEB": (chebyshev.chebfit, chebyshev.chebval),
    "LEG": (legendre.legfit, legendre.legval),
}
SPLINES = {"NATURAL_SPLINE": natural, "CUBIC_SPLINE": natural, "AKIMA_SPLINE": akima}
NEIGHBOURS = 5
"""Rows on either side from which rows without a usable pixel are filled."""
FEWEST_KNOTS = 5


def constant_level(image: Image, rejected: Flags, config: OverscanConfig) -> float:
    """Return one level for the whole overscan.

    Parameters
    ----------
    image : `numpy.ndarray`, (rows, columns), float32
        Overscan pixels (ADU).
    rejected : `numpy.ndarray`, (rows, columns), bool
        Pixels that are left out.
    config : `isr.config.OverscanConfig`
        ``fitType`` is one of `CONSTANT_FITS`.

    Returns
    -------
    level : `float`
        ADU; 0 if there is no usable pixel.
    """
    mask = rejected.astype(np.int32)
    if rejected.all():
        return 0.0
    if config.fitType == "MEDIAN":
        return median(image, mask, bits=1)
    if config.fitType == "MEAN":
        return mean(image, mask, bits=1)
    return clipped_statistics(image, mask, 1, config.numSigmaClip).mean


def row_levels(image: Image, rejected: Flags, config: OverscanConfig) -> Vector:
    """Return one level for each row of the overscan.

    Parameters
    ----------
    image : `numpy.ndarray`, (rows, columns), float32
        Overscan pixels (ADU).
    rejected : `numpy.ndarray`, (rows, columns), bool
        Pixels that are left out; those that are not finite must be among them.
    config : `isr.config.OverscanConfig`
        ``fitType`` is any but `CONSTANT_FITS`.

    Returns
    -------
    levels : `numpy.ndarray`, (rows,), float64
        ADU; 0 if there is no usable pixel.
    """
    if rejected.all():
        return np.zeros(len(image))
    ranked, finite_counts = _ranked(image)
    centre, width = _row_widths(ranked, finite_counts, config.numSigmaClip)
    if config.fitType == "MEDIAN_PER_ROW" and not rejected.any():
        medians, counts = _medians(ranked, finite_counts, centre, width, config.overscanIsInt)
        return _fill_rows(medians, counts > 0) if counts.any() else np.zeros(len(image))
    usable, counts = _usable(image, rejected, centre, width)
    filled = counts > 0
    if not filled.any():
        return np.zeros(len(image))
    if config.fitType == "MEDIAN_PER_ROW":
        ranked, counts = _ranked(np.where(usable, image, np.float32(np.nan)))
        everywhere = np.full(len(image), np.inf)
        medians, _ = _medians(ranked, counts, np.zeros(len(image)), everywhere, config.overscanIsInt)
        return _fill_rows(medians, filled)
    # Summed in float32, by NumPy and in the order of the memory, as the reference does it.
    kept = image.copy(order="K")
    kept[~usable] = 0.0
    # Rows without a usable pixel count as 0 until it is their turn (spec, correction 1).
    collapsed = kept.sum(axis=1) / np.maximum(counts, 1)
    collapsed = _fill_rows(collapsed, filled)
    at = 2.0 * np.arange(len(collapsed)) / len(collapsed) - 1.0
    if config.fitType in POLYNOMIALS:
        fit, evaluate_polynomial = POLYNOMIALS[config.fitType]
        return np.asarray(evaluate_polynomial(at, fit(at, collapsed, config.order)))
    return _spline_model(at, collapsed, config)


def _ranked(image: Image) -> tuple[Image, Counts]:
    """Return the rows sorted, as columns, and the number of finite pixels in each, which come first."""
    finite = np.isfinite(image)
    if finite.all():
        return sort_rows(image), np.full(len(image), image.shape[1])
    return sort_rows(np.where(finite, image, np.float32(np.inf))), finite.sum(axis=1)


def _row_widths(ranked: Image, counts: Counts, num_sigma: float) -> tuple[Vector, Vector]:
    """Median of each row, and how far from it a pixel may be; all finite pixels count.

    The sigma of a row is 0.74 times its interquartile range; a sigma more
    than twice the median sigma (a bleed in the row) is replaced by the latter.
    """
    lower, centre, upper = _quartiles(ranked, counts)
    sigma = 0.74 * (upper - lower)
    typical = np.nanmedian(sigma) if np.isnan(sigma).any() else np.median(sigma)
    return centre, num_sigma * np.where(sigma > 2.0 * typical, typical, sigma)


def _fill_rows(level: Vector, usable: Flags) -> Vector:
    """Fill rows without a usable pixel from the rows around them.

    A run [a, b) of such rows gets the median (NaN ignored) of up to five rows
    on either side, or of all usable rows if it has no such neighbours.
    """
    if usable.all():
        return level
    default = float(np.median(level[usable]))
    n = len(level)
    edges = np.flatnonzero(np.diff(np.concatenate(([False], ~usable, [False])).astype(np.int8)))
    for first, last in edges.reshape(-1, 2):
        before = level[first - NEIGHBOURS : first] if first > NEIGHBOURS else level[:0]
        after = level[last : last + NEIGHBOURS] if last < n - NEIGHBOURS else level[:0]
        around = np.concatenate((before, after))
        around = around[~np.isnan(around)]
        if first > NEIGHBOURS or last < n - NEIGHBOURS:
            level[first:last] = np.median(around) if len(around) else np.nan
        else:
            level[first:last] = default
    return level


def _spline_model(at: Vector, collapsed: Vector, config: OverscanConfig) -> Vector:
    """A spline through the means of ``config.order`` equal bins of rows."""
    place, counts, knot_x = _bins(len(at), config.order)
    filled = counts > 0
    knot_y = np.bincount(place, weights=collapsed, minlength=config.order)[filled] / counts[filled]
    if len(knot_y) < FEWEST_KNOTS:
        log.warning("Overscan: only %d bins with pixels, the level of the first one is used", len(knot_y))
        return np.full(len(at), knot_y[0])
    return evaluate(SPLINES[config.fitType](knot_x, knot_y), at)


@lru_cache(maxsize=8)
def _bins(n_rows: int, n_bins: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], Vector]:
    """Bin of each row, rows in each bin, and place of the knots (of filled bins).

    The bins are those of `numpy.histogram`: the last one includes its right edge.
    """
    at = 2.0 * np.arange(n_rows) / n_rows - 1.0
    edges = np.histogram_bin_edges(at, bins=n_bins)
    place = np.minimum(np.searchsorted(edges, at, side="right") - 1, n_bins - 1)
    counts = np.bincount(place, minlength=n_bins)
    filled = counts > 0
    return place, counts, np.bincount(place, weights=at, minlength=n_bins)[filled] / counts[filled]


@numba.njit(cache=True, nogil=True)
def _usable(
    image: Image, rejected: Flags, centre: Vector, width: Vector
) -> tuple[Flags, npt.NDArray[np.int64]]:
    """Pixels that are not rejected and not too far from the median of their row, and their number."""
    ny, nx = image.shape
    usable = np.empty((ny, nx), np.bool_)
    counts = np.zeros(ny, np.int64)
    for y in range(ny):
        for x in range(nx):
            far = abs(np.float64(image[y, x]) - centre[y]) > width[y]
            usable[y, x] = not (far | rejected[y, x])
            counts[y] += usable[y, x]
    return usable, counts


@numba.njit(cache=True, nogil=True)
def _quartiles(ranked: Image, counts: Counts) -> npt.NDArray[np.float64]:
    """Quartiles of each row, (3, rows); NaN if it has no pixel.

    With the arithmetic of `numpy.percentile`, which takes several times as
    long: the difference of two neighbours is float32, the rest float64.
    """
    quartiles = np.full((3, len(counts)), np.nan)
    for k in range(3):
        for y in range(len(counts)):
            if counts[y] == 0:
                continue
            position = 0.25 * (k + 1) * (counts[y] - 1)
            first = int(position)
            part, low = position - first, ranked[first, y]
            high = ranked[min(first + 1, counts[y] - 1), y]
            step = np.float64(np.float32(high - low))
            if part >= 0.5:
                quartiles[k, y] = high - step * (1.0 - part)
            else:
                quartiles[k, y] = low + step * part
    return quartiles


@numba.njit(cache=True, nogil=True)
def _medians(
    ranked: Image, counts: Counts, centre: Vector, width: Vector, is_integer: bool
) -> tuple[Vector, Counts]:
    """Median of the pixels of each row that are within ``width`` of ``centre``, and their number.

    NaN where there is none. For integers the median is interpolated inside the
    median's value: with v the value of rank (n - 1) // 2,
    ``v - 0.5 + (n / 2 - #(< v)) / #(= v)`` (spec, correction 4). Pixels with a
    fraction are cut to integers before.
    """
    medians, kept = np.full(len(counts), np.nan), np.zeros(len(counts), np.int64)
    for y in range(len(counts)):
        first, last = 0, counts[y]
        while first < last and abs(np.float64(ranked[first, y]) - centre[y]) > width[y]:
            first += 1
        while last > first and abs(np.float64(ranked[last - 1, y]) - centre[y]) > width[y]:
            last -= 1
        n = kept[y] = last - first
        if n == 0:
            continue
        middle = first + (n - 1) // 2
        value = ranked[middle, y]
        if is_integer:
            value = np.trunc(value)
            lowest = highest = middle  # rank of the first and of the last pixel with this value
            while lowest > first and np.trunc(ranked[lowest - 1, y]) == value:
                lowest -= 1
            while highest < last - 1 and np.trunc(ranked[highest + 1, y]) == value:
                highest += 1
            medians[y] = np.float64(value) - 0.5 + (0.5 * n - (lowest - first)) / (highest - lowest + 1)
        else:
            medians[y] = 0.5 * (np.float64(value) + np.float64(ranked[first + n // 2, y]))
    return medians, kept
