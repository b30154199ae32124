"""Medians of many square boxes of an image, by selection."""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

__all__ = ["box_medians", "middle", "select"]

Floats = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]

FEW = 24
"""Pixels among which it is as quick to select as to narrow the bracket further."""
PASSES = 12


def box_medians(image: Floats, x: Indices, y: Indices, half_size: int) -> npt.NDArray[np.float64]:
    """Return the medians of square boxes of even size.

    Parameters
    ----------
    image : `numpy.ndarray`, (ny, nx), float32
        Pixels; NaN is ignored, there must be no infinity.
    x, y : `numpy.ndarray`, (n,), int64
        The boxes are ``image[y - h : y + h, x - h : x + h]`` with ``h`` the
        half-size; all must lie inside the image.
    half_size : `int`
        Half the length of a side, pixels.

    Returns
    -------
    medians : `numpy.ndarray`, (n,), float64
        Mean of the two middle values if their number is even; NaN for a box
        of nothing but NaN.

    Notes
    -----
    Passes that only count the pixels below two thresholds narrow a bracket of
    the median, starting from the median of the box before; the few pixels
    left inside are selected from. The result is exact however well the
    thresholds were guessed.
    """
    order = np.lexsort((x, y // (2 * half_size)))  # neighbours follow one another
    medians = np.empty(len(x))
    _medians(np.ascontiguousarray(image), x, y, order, half_size, medians)
    return medians


@numba.njit(cache=True, nogil=True)
def _medians(
    image: Floats, xs: Indices, ys: Indices, order: Indices, half: int, out: npt.NDArray[np.float64]
) -> None:
    size = 2 * half
    values = np.empty(size * size, np.float32)
    inside = np.empty(size * size, np.float32)
    flags = np.zeros((size * size + 7) // 8 * 8, np.uint8)
    centre, width = 0.0, 1.0
    for i in order:
        count = _gather(image, xs[i] - half, ys[i] - half, size, values)
        out[i] = np.nan
        if count > 0:
            lower, upper, below, width = _bracket(values, count, centre, width)
            number = _collect(values, lower, upper, flags, inside)
            out[i] = centre = middle(inside, number, (count - 1) // 2 - below, count // 2 - below)


@numba.njit(cache=True, nogil=True)
def _gather(image: Floats, x0: int, y0: int, size: int, values: Floats) -> int:
    """Copy a box to a vector; returns how many pixels are not NaN."""
    for j in range(size):
        for i in range(size):
            values[j * size + i] = image[y0 + j, x0 + i]
    count = np.int32(0)
    for i in range(size * size):
        count += np.int32(values[i] == values[i])
    return int(count)


@numba.njit(cache=True, nogil=True)
def _bracket(
    values: Floats, count: int, centre: float, width: float
) -> tuple[np.float32, np.float32, int, float]:
    """Find thresholds ``[lower, upper)`` that hold the middle of the values that are not NaN.

    Returns them, the number of values below ``lower`` and a width to start
    with in the next box.
    """
    first, last = (count - 1) // 2, count // 2
    lower, upper = np.float32(-np.inf), np.float32(np.inf)
    below, end = 0, count  # ranks of the values inside
    low, high = np.float32(centre - width), np.float32(centre + width)
    for i in range(PASSES):
        if end - below <= FEW:
            break
        below_low, below_high = _count_below(values, low, high)
        if below_high <= first:
            lower, below = high, below_high
        elif below_high > last:
            upper, end = high, below_high
        if below_low > last:
            upper, end = low, below_low
        elif below_low <= first and low > lower:
            lower, below = low, below_low
        if np.isinf(lower) or np.isinf(upper):
            width *= 4.0
            low, high = np.float32(centre - width), np.float32(centre + width)
        else:
            if i == 0:  # a quarter of the values inside is a good start
                width *= min(max(0.25 * count / (end - below), 0.25), 4.0)
            slope = (np.float64(upper) - np.float64(lower)) / (end - below)
            margin = 4.0 + 0.05 * (end - below)
            low = np.float32(lower + slope * (first - below - margin))
            high = np.float32(lower + slope * (last + 1 - below + margin))
    return lower, upper, below, width


@numba.njit(cache=True, nogil=True)
def _count_below(values: Floats, low: np.float32, high: np.float32) -> tuple[int, int]:
    below_low = np.int32(0)
    below_high = np.int32(0)
    for i in range(len(values)):
        below_low += np.int32(values[i] < low)
        below_high += np.int32(values[i] < high)
    return int(below_low), int(below_high)


@numba.njit(cache=True, nogil=True)
def _collect(
    values: Floats, lower: np.float32, upper: np.float32, flags: npt.NDArray[np.uint8], inside: Floats
) -> int:
    """Copy the values in ``[lower, upper)`` to ``inside``; returns how many.

    They are few: looking at eight flags at a time finds them fastest.
    """
    for i in range(len(values)):
        flags[i] = np.uint8((values[i] >= lower) & (values[i] < upper))
    eights = flags.view(np.uint64)
    n = 0
    for j in range(len(eights)):
        if eights[j] != 0:
            for i in range(8 * j, min(8 * j + 8, len(values))):
                inside[n] = values[i]  # kept only if the place moves on
                n += int(flags[i])
    return n


@numba.njit(cache=True, nogil=True)
def middle(values: Floats, n: int, first: int, last: int) -> float:
    """Mean of the elements of ranks ``first`` and ``last`` (equal or next) of the first ``n``."""
    select(values, n, first)
    lower = np.float64(values[first])
    if last == first:
        return lower
    upper = values[last]
    for i in range(last + 1, n):
        upper = min(upper, values[i])
    return 0.5 * lower + 0.5 * np.float64(upper)


@numba.njit(cache=True, nogil=True)
def select(values: Floats, n: int, rank: int) -> None:
    """Bring the element of a rank to its place, smaller ones before it (Hoare's quickselect)."""
    left, right = 0, n - 1
    while left < right:
        pivot = values[(left + right) // 2]
        i, j = left, right
        while i <= j:
            while values[i] < pivot:
                i += 1
            while values[j] > pivot:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                i += 1
                j -= 1
        if rank <= j:
            right = j
        elif rank >= i:
            left = i
        else:
            return
