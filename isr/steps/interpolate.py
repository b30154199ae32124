"""Filling of bad regions and interpolation along rows (spec section 4.17)."""

from __future__ import annotations

import logging

import numba
import numpy as np
import numpy.typing as npt

from isr.config import IsrConfig
from isr.exposure import Exposure
from isr.mask import grow_plane
from isr.numerics.kriging import EDGE, NARROW, interior_weights, narrow_weights, wide_weights
from isr.numerics.runs import find_runs
from isr.numerics.statistics import clipped_statistics, median

__all__ = ["fill_bad_regions", "interpolate"]

log = logging.getLogger(__name__)

Image = npt.NDArray[np.float32]
Mask = npt.NDArray[np.int32]
Weights = npt.NDArray[np.float64]


def fill_bad_regions(exposure: Exposure) -> float:
    """Set BAD pixels to the median of the others.

    Parameters
    ----------
    exposure : `isr.exposure.Exposure`
        Assembled exposure (ADU); BAD pixels that are not INTRP are changed.

    Returns
    -------
    level : `float`
        The median (ADU).

    Notes
    -----
    ``badStatistic`` is ignored: it is always the median, as in LSST.
    """
    bad, interpolated = exposure.planes.bitmask("BAD"), exposure.planes.bitmask("INTRP")
    level = median(exposure.image, exposure.mask, bad)
    count = _fill(exposure.image, exposure.mask, np.int32(bad), np.int32(interpolated), np.float32(level))
    log.info("Bad regions: %d pixels set to the median %.3f adu", count, level)
    return level


def interpolate(exposure: Exposure, config: IsrConfig) -> int:
    """Interpolate over masked pixels along the rows.

    Parameters
    ----------
    exposure : `isr.exposure.Exposure`
        Assembled exposure; image and variance of masked pixels are replaced
        and INTRP is set on them.
    config : `isr.config.IsrConfig`
        ``maskListToInterpolate``; SAT (``saturatedMaskName``) is grown by
        ``growSaturationFootprintSize`` first.

    Returns
    -------
    count : `int`
        Number of pixels interpolated.

    Notes
    -----
    The variance gets the same weights, not squared, and the same fallback (the
    clipped mean of the *image*), as in LSST; with
    ``interpolateVarianceSquaredWeights`` it is propagated instead.
    """
    planes = exposure.planes
    if config.saturatedMaskName in config.maskListToInterpolate and config.growSaturationFootprintSize:
        grow_plane(
            exposure.mask, planes.bitmask(config.saturatedMaskName), config.growSaturationFootprintSize
        )
    bits = planes.bitmask(*(name for name in config.maskListToInterpolate if name in planes))
    runs = find_runs(exposure.mask, np.int32(bits))
    fallback = interpolation_fallback(exposure.image, runs)
    fill_runs(exposure.image, runs, fallback)
    if config.interpolateVarianceSquaredWeights:
        fill_runs(exposure.variance, runs, interpolation_fallback(exposure.variance, runs), squared=True)
    else:
        fill_runs(exposure.variance, runs, fallback)
    count = int(_mark_runs(exposure.mask, runs, np.int32(planes.bitmask("INTRP"))))
    log.info("Interpolated %d pixels with any of %s", count, ", ".join(config.maskListToInterpolate))
    return count


def interpolation_fallback(image: Image, runs: npt.NDArray[np.int32]) -> float:
    """Return the value of rows without a good pixel: the clipped mean of the image.

    It is measured only if one of the runs is so long that it is used; else it is NaN.
    """
    first, last = runs[:, 1], runs[:, 2]
    at_edge = (first == 0) | (last == image.shape[1] - 1)
    if not (at_edge & (last - first + 1 > min(EDGE, image.shape[1] - 1))).any():
        return float("nan")
    return clipped_statistics(image, np.broadcast_to(np.int32(0), image.shape)).mean


def fill_runs(plane: Image, runs: npt.NDArray[np.int32], fallback: float, *, squared: bool = False) -> None:
    """Interpolate a plane over runs of pixels, in place.

    Parameters
    ----------
    plane : `numpy.ndarray`, (ny, nx), float32
        Plane to change.
    runs : `numpy.ndarray`, (n, 5), int32
        From `isr.numerics.runs.find_runs`.
    fallback : `float`
        Value where there is no pixel to interpolate from.
    squared : `bool`, optional
        Whether to square the weights, as a variance wants.

    Notes
    -----
    The weights are those of ordinary kriging with the autocorrelation of a
    Gaussian of sigma 1 pixel (`isr.numerics.kriging`); up to two pixels on
    either side are used.
    """
    tables = (narrow_weights(), wide_weights(), interior_weights())
    if squared:
        tables = (tables[0] ** 2, tables[1] ** 2, tables[2] ** 2)
    _fill_runs(plane, runs, fallback, *tables)


@numba.njit(cache=True, nogil=True)
def _mark_runs(mask: Mask, runs: npt.NDArray[np.int32], bit: np.int32) -> int:
    count = 0
    for i in range(len(runs)):
        for x in range(runs[i, 1], runs[i, 2] + 1):
            mask[runs[i, 0], x] |= bit
        count += runs[i, 2] - runs[i, 1] + 1
    return count


@numba.njit(cache=True, nogil=True)
def _fill(image: Image, mask: Mask, bad: np.int32, interpolated: np.int32, level: np.float32) -> int:
    count = 0
    for y in range(image.shape[0]):
        for x in range(image.shape[1]):
            if (mask[y, x] & bad) != 0 and (mask[y, x] & interpolated) == 0:
                image[y, x] = level
                count += 1
    return count


@numba.njit(cache=True, nogil=True)
def _fill_runs(
    plane: Image,
    runs: npt.NDArray[np.int32],
    fallback: float,
    narrow: Weights,
    wide: Weights,
    interior: Weights,
) -> None:
    for i in range(len(runs)):
        y, x0, x1, left, right = runs[i]
        _fill_run(plane[y], x0, x1, left, right, fallback, narrow, wide, interior)


@numba.njit(cache=True, nogil=True)
def _fill_run(
    row: Image,
    x0: int,
    x1: int,
    left: int,
    right: int,
    fallback: float,
    narrow: Weights,
    wide: Weights,
    interior: Weights,
) -> None:
    """Fill columns ``x0`` to ``x1`` of a row; the rules of spec 4.17 item 4."""
    nx = len(row)
    n = x1 - x0 + 1
    if n == nx:
        row[:] = fallback
    elif x0 == 0 and n > EDGE:
        row[: x1 - EDGE + 1] = fallback
        _fill_gap(row, x1 - EDGE + 1, x1, 2, right, narrow, wide, interior)
    elif x0 == 0:
        _fill_gap(row, x0, x1, 0, right, narrow, wide, interior)
    elif x1 == nx - 1 and n > EDGE:
        row[x0 + EDGE :] = fallback
        _fill_gap(row, x0, x0 + EDGE - 1, 2, 2, narrow, wide, interior)
    elif x1 == nx - 1:
        _fill_gap(row, x0, x1, 2, 0, narrow, wide, interior)
    elif x0 == 1:
        _fill_gap(
            row,
            x0,
            x1,
            1,
            2 if n <= NARROW and x1 < nx - 2 else min(right, nx - 1 - x1),
            narrow,
            wide,
            interior,
        )
    else:
        _fill_gap(row, x0, x1, left, min(right, nx - 1 - x1), narrow, wide, interior)


@numba.njit(cache=True, nogil=True)
def _fill_gap(
    row: Image,
    x0: int,
    x1: int,
    left: int,
    right: int,
    narrow: Weights,
    wide: Weights,
    interior: Weights,
) -> None:
    """Fill a gap from ``left`` pixels on its left and ``right`` on its right."""
    n = x1 - x0 + 1
    # The pixels used: two on the left, two on the right. A pixel off the
    # detector counts as -1 (it is only ever asked for by a run of 7 at an edge).
    far_left = np.float64(row[x0 - 2]) if left == 2 and x0 >= 2 else -1.0
    near_left = np.float64(row[x0 - 1]) if left >= 1 else 0.0
    near_right = np.float64(row[x1 + 1]) if right >= 1 else 0.0
    far_right = np.float64(row[x1 + 2]) if right == 2 and x1 + 2 < len(row) else -1.0
    if left >= 1 and right >= 1:
        average = 0.5 * (near_left + near_right)
    else:
        average = near_left if left >= 1 else near_right
    for position in range(n):
        if n <= NARROW:
            w = narrow[left, right, n, position]
        elif n - position <= EDGE:
            w = wide[left, right, 1, n - 1 - position]
        elif position < EDGE:
            w = wide[left, right, 0, position]
        else:
            w = interior[left, right]
        value = 0.0
        if left == 2:
            value += w[0] * far_left
        if left >= 1:
            value += w[1] * near_left
        if right >= 1:
            value += w[2] * near_right
        if right == 2:
            value += w[3] * far_right
        if not value > -np.inf:  # NaN or -inf
            value = average
        if n == 2 and left == 1 and right == 1 and value < 0.0:
            value = 0.0
        row[x0 + position] = value
