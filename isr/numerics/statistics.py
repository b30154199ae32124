"""Robust statistics with the definitions of ``lsst.afw.math`` (spec section 5.1).

Pixels that are not finite or that have a bit of ``bits`` set are ignored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numba
import numpy as np
import numpy.typing as npt

from isr.camera import Box
from isr.numerics.selection import (
    SAMPLE_PAYS,
    dense,
    keep_usable,
    order_statistics,
    scratch,
    select_large,
    sorted_sample,
)

__all__ = [
    "ClippedStatistics",
    "clipped_statistics",
    "clipped_statistics_of",
    "mean",
    "mean_about",
    "median",
    "vector_clipped_mean",
    "vector_statistics",
]

IQR_TO_SIGMA = 0.741301109252802
"""Sigma of a Gaussian over its interquartile range."""
CLIP_ITERATIONS = 3
QUARTILES = (0.25, 0.5, 0.75)

Image = npt.NDArray[np.float32]
Mask = npt.NDArray[np.int32]
Vector = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ClippedStatistics:
    """Statistics of a set of pixels; NaN if there is none.

    Attributes
    ----------
    count : `int`
        Pixels used before clipping.
    median : `float`
        Median before clipping.
    mean, stdev : `float`
        Mean and standard deviation (n - 1) after clipping.
    """

    count: int
    median: float
    mean: float
    stdev: float


def median(image: Image, mask: Mask, bits: int = 0) -> float:
    """Return the median of the usable pixels of a float32 image (float64)."""
    return order_statistics(image, mask, bits, (0.5,))[1][0]


def mean(image: Image, mask: Mask, bits: int = 0) -> float:
    """Return the mean of the usable pixels of a float32 image (float64).

    Summed in two passes, pixel after pixel, as afw does it: the second sums
    the distances from the mean of the first. A mean near zero of pixels that
    are not has the same rounding error then.
    """
    return float(_mean(image, mask, np.int32(bits)))


def mean_about(image: Image, mask: Mask, bits: int, centre: float) -> float:
    """Return the mean of the usable pixels, summed as distances from ``centre``.

    Faster than `mean` (the order of summation is another), and as precise if
    ``centre`` is near the mean.
    """
    return _moments(*dense(image, mask, bits), np.int32(bits), centre, np.finfo(np.float64).max)[1]


def clipped_statistics(image: Image, mask: Mask, bits: int = 0, num_sigma: float = 3.0) -> ClippedStatistics:
    """Return median and clipped mean and standard deviation of an image.

    Parameters
    ----------
    image : `numpy.ndarray`, (ny, nx), float32
        Pixels.
    mask : `numpy.ndarray`, (ny, nx), int32
        Mask of the pixels.
    bits : `int`, optional
        Pixels with any of these bits are ignored.
    num_sigma : `float`, optional
        Half-width of the clip in sigma.

    Returns
    -------
    statistics : `ClippedStatistics`
        Always from exactly three iterations: the first clips around the
        median with the sigma of the interquartile range, the others around
        the clipped mean with the clipped sigma, each from all pixels.
    """
    image, mask = dense(image, mask, bits)
    count, quartiles = order_statistics(image, mask, bits, QUARTILES)
    lower, centre, upper = quartiles
    clipped, stdev = _clip(image, mask, np.int32(bits), lower, centre, upper, num_sigma)
    return ClippedStatistics(count, centre, clipped, stdev)


def clipped_statistics_of(
    image: Image, mask: Mask, bits: int, boxes: Sequence[Box], num_sigma: float = 3.0
) -> list[ClippedStatistics]:
    """Return the `clipped_statistics` of boxes of an image, which is faster than one by one.

    Parameters
    ----------
    image : `numpy.ndarray`, (ny, nx), float32
        Pixels.
    mask : `numpy.ndarray`, (ny, nx), int32
        Mask of the pixels.
    bits : `int`
        Pixels with any of these bits are ignored.
    boxes : `~collections.abc.Sequence` [`isr.camera.Box`]
        The boxes, inside the image.
    num_sigma : `float`, optional
        Half-width of the clip in sigma.
    """
    image, mask = dense(image, mask, bits)
    size = max((box.width * box.height for box in boxes), default=0)
    room, values = np.empty(size, np.float32), np.empty(len(QUARTILES))
    wanted = np.array(QUARTILES)
    select_room = scratch(size)
    found = []
    for box in boxes:
        pixels = room[: box.width * box.height].reshape(box.height, box.width)
        no_mask = pixels.view(np.int32)
        usable = _keep_usable(image, mask, np.int32(bits), box, pixels)
        count = -1
        if pixels.size >= SAMPLE_PAYS:
            line = pixels.reshape(-1), no_mask.reshape(-1), np.int32(0)
            count = select_large(*line, wanted, sorted_sample(*line), *select_room, values, usable)
        quartiles: tuple[float, ...] = tuple(values.tolist())
        if count < 0:
            count, quartiles = order_statistics(pixels, no_mask, 0, QUARTILES)
        lower, centre, upper = quartiles
        clipped, stdev = _clip(pixels, no_mask, np.int32(0), lower, centre, upper, num_sigma)
        found.append(ClippedStatistics(int(count), centre, clipped, stdev))
    return found


def vector_statistics(values: Vector, num_sigma: float = 3.0) -> tuple[float, float, float]:
    """Return mean, median and clipped standard deviation of a float64 vector."""
    values = values[np.isfinite(values)]
    if len(values) == 0:
        return (float("nan"),) * 3
    ranked = _partly_sorted(values)
    _, variance = _clip_vector(values, ranked, num_sigma)
    middle = 0.5 * float(ranked[(len(ranked) - 1) // 2] + ranked[len(ranked) // 2])
    return float(values.mean()), middle, float(np.sqrt(variance))


def vector_clipped_mean(values: Vector, num_sigma: float = 3.0) -> float:
    """Return the clipped mean of the finite elements of a float64 vector; NaN if there is none."""
    values = values[np.isfinite(values)]
    return _clip_vector(values, _partly_sorted(values), num_sigma)[0] if len(values) else float("nan")


def _partly_sorted(values: Vector) -> Vector:
    """Return the values with those at their places that the quartiles need."""
    last = len(values) - 1
    places = {place for quantile in QUARTILES for place in (int(quantile * last), int(quantile * last) + 1)}
    return np.partition(values, [place for place in places if place <= last])


def _quantile(ranked: Vector, quantile: float) -> float:
    """Return a quantile of `_partly_sorted` values with the rounding of `numpy.quantile`, which is slower."""
    position = quantile * (len(ranked) - 1)
    first = int(position)
    part, low, high = position - first, ranked[first], ranked[min(first + 1, len(ranked) - 1)]
    step = high - low
    return float(high - step * (1.0 - part) if part >= 0.5 else low + step * part)


def _clip_vector(values: Vector, ranked: Vector, num_sigma: float) -> tuple[float, float]:
    """Return the mean and variance after the three iterations of `clipped_statistics`."""
    lower, centre, upper = (_quantile(ranked, quantile) for quantile in QUARTILES)
    middle, width = centre, num_sigma * IQR_TO_SIGMA * (upper - lower)
    variance, last = float("nan"), None
    for _ in range(CLIP_ITERATIONS):
        is_kept = np.abs(values - middle) <= width
        if last is not None and np.array_equal(is_kept, last):
            break  # the same again
        kept, last = values[is_kept], is_kept
        variance = float(np.var(kept, ddof=1)) if len(kept) > 1 else float("nan")
        middle = float(kept.mean()) if len(kept) else float("nan")
        width = num_sigma * np.sqrt(max(variance, 0.0))
    return middle, variance


@numba.njit(cache=True, nogil=True)
def _mean(image: Image, mask: Mask, bits: np.int32) -> float:
    centre = 0.0
    for _ in range(2):
        count = 0
        total = 0.0
        for y in range(image.shape[0]):
            for x in range(image.shape[1]):
                value = np.float64(image[y, x])
                if (mask[y, x] & bits) == 0 and np.isfinite(value):
                    total += value - centre
                    count += 1
        if count == 0:
            return np.nan
        centre += total / count
    return centre


LANES = 16


@numba.njit(cache=True, nogil=True)
def _moments(
    image: Image, mask: Mask, bits: np.int32, centre: float, width: float
) -> tuple[int, float, float]:
    """Count, mean and variance (n - 1) of the pixels within ``width`` of ``centre``.

    Independent sums over interleaved columns ("lanes") let the compiler use
    vector instructions; the order of summation is fixed all the same. A pixel
    that is not finite is never within a finite width.
    """
    counts = np.zeros(LANES, np.int64)
    sums = np.zeros(LANES)
    squares = np.zeros(LANES)
    nx = image.shape[1]
    for y in range(image.shape[0]):
        for first in range(0, nx - nx % LANES, LANES):
            for lane in range(LANES):
                delta = np.float64(image[y, first + lane]) - centre
                kept = ((mask[y, first + lane] & bits) == 0) & (abs(delta) <= width)
                counted = delta if kept else 0.0
                counts[lane] += kept
                sums[lane] += counted
                squares[lane] += counted * counted
        for x in range(nx - nx % LANES, nx):
            delta = np.float64(image[y, x]) - centre
            if (mask[y, x] & bits) == 0 and abs(delta) <= width:
                counts[0] += 1
                sums[0] += delta
                squares[0] += delta * delta
    count = counts.sum()
    if count == 0:
        return 0, np.nan, np.nan
    offset = sums.sum() / count
    if count == 1:
        return 1, centre + offset, np.nan
    variance = (squares.sum() / count - offset * offset) * (count / (count - 1))
    return int(count), centre + offset, variance


@numba.njit(cache=True, nogil=True)
def _clip(
    image: Image, mask: Mask, bits: np.int32, lower: float, centre: float, upper: float, num_sigma: float
) -> tuple[float, float]:
    """Mean and standard deviation after the iterations of `clipped_statistics`."""
    middle, width = centre, num_sigma * IQR_TO_SIGMA * (upper - lower)
    stdev = np.nan
    for _ in range(CLIP_ITERATIONS):
        _, middle, variance = _moments(image, mask, bits, middle, width)
        stdev = np.sqrt(0.0 if variance < 0.0 else variance)
        width = num_sigma * stdev
    return middle, stdev


@numba.njit(cache=True, nogil=True)
def _keep_usable(image: Image, mask: Mask, bits: np.int32, box: Box, out: Image) -> int:
    """Copy a box, with NaN for pixels that are not usable; returns how many are."""
    x0, y0, width, height = box
    count = 0
    for y in range(height):
        count += keep_usable(image[y0 + y, x0 : x0 + width], mask[y0 + y, x0 : x0 + width], bits, out[y])
    return count
