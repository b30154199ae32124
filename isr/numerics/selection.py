"""Exact order statistics of images without sorting them."""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

__all__ = ["dense", "order_statistics"]

Floats = npt.NDArray[np.float32]
Mask = npt.NDArray[np.int32]

SAMPLES = 1 << 15
"""Pixels that are sampled, at most, to bracket the quantiles."""
BRACKET_SIGMAS = 4.5
FEWEST_FOR_DIGITS = 1 << 12
"""Values from which on counting digits is faster than `numpy.partition`."""
SAMPLE_PAYS = 1 << 15
"""Pixels from which on a sample is worth its price."""
SAMPLED = 16
"""At most one pixel in so many is sampled."""


def order_statistics(
    image: Floats, mask: Mask, bits: int, quantiles: tuple[float, ...]
) -> tuple[int, tuple[float, ...]]:
    """Return quantiles of the finite, unmasked pixels of an image.

    Parameters
    ----------
    image : `numpy.ndarray`, (ny, nx), float32
        Pixels; need not be contiguous. Non-finite pixels are ignored.
    mask : `numpy.ndarray`, (ny, nx), int32
        Mask of the pixels.
    bits : `int`
        Pixels with any of these bits are ignored.
    quantiles : `tuple` [`float`, ...]
        Quantiles, 0 to 1: the value at index ``q * (n - 1)`` of the sorted
        pixels, linearly interpolated in float64 (afw's rule, spec 5.1).

    Returns
    -------
    count : `int`
        Number of pixels used.
    values : `tuple` [`float`, ...]
        The quantiles; NaN if ``count`` is 0.

    Notes
    -----
    Large images: a regular sample brackets each quantile; one pass counts the
    pixels below every bracket and collects those inside; the few collected are
    selected from. If a bracket turns out not to hold the quantile, all pixels
    are selected from, as in small images: the result is exact in either case.
    """
    image, mask = dense(image, mask, bits)
    if image.size < SAMPLE_PAYS:
        return _select(_collect_all(image, mask, np.int32(bits)), quantiles)
    step = max(SAMPLED, image.size // SAMPLES + 1)
    sample = np.sort(_collect_sample(image, mask, np.int32(bits), step | 1))
    lower, upper = _brackets(sample, quantiles)
    count, below, collected = _count_and_collect(image, mask, np.int32(bits), lower, upper)
    if len(collected) > image.size // 4:  # too many to be worth it, and perhaps not all of them
        return _select(_collect_all(image, mask, np.int32(bits)), quantiles)
    places = []
    for quantile, below_bracket, low, high in zip(quantiles, below, lower, upper, strict=True):
        position = quantile * (count - 1)
        first = int(position)
        last = min(first + 1, count - 1)
        start, stop = np.count_nonzero(collected < low), np.count_nonzero(collected <= high)
        offset = start - int(below_bracket)
        if not start <= first + offset <= last + offset < stop:
            return _select(_collect_all(image, mask, np.int32(bits)), quantiles)
        places.append((first + offset, last + offset, position - first))
    collected.partition(sorted({rank for first, last, _ in places for rank in (first, last)}))
    values = [_lerp(collected[first], collected[last], fraction) for first, last, fraction in places]
    return int(count), tuple(values)


def dense(image: Floats, mask: Mask, bits: int) -> tuple[Floats, Mask]:
    """Return image and mask as contiguous arrays, on which loops are several times faster.

    Without ``bits`` nobody looks at the mask: any array of its shape will do.
    """
    image = np.ascontiguousarray(image)
    return image, np.ascontiguousarray(mask) if bits else image.view(np.int32)


def _select(values: Floats, quantiles: tuple[float, ...]) -> tuple[int, tuple[float, ...]]:
    count = len(values)
    if count == 0:
        return 0, (float("nan"),) * len(quantiles)
    positions = [quantile * (count - 1) for quantile in quantiles]
    ranks = [(int(p), min(int(p) + 1, count - 1)) for p in positions]
    wanted = sorted({rank for pair in ranks for rank in pair})
    if count < FEWEST_FOR_DIGITS:
        values.partition(wanted)
        found = {rank: values[rank] for rank in wanted}
    else:
        found = dict(zip(wanted, _of_rank(values, np.array(wanted)), strict=True))
    return count, tuple(
        _lerp(found[a], found[b], p - int(p)) for p, (a, b) in zip(positions, ranks, strict=True)
    )


@numba.njit(cache=True, nogil=True)
def _of_rank(values: Floats, ranks: npt.NDArray[np.int64]) -> Floats:
    """Values of the given ranks (ascending), found digit by digit.

    The bits of a float32, with the sign bit turned over and those of negative
    numbers reversed, order like the number. Counting the upper 16 bits of all
    values tells the upper half of the wanted ones; counting the lower 16 bits
    of the values that share it tells the rest.
    """
    keys = values.view(np.uint32)
    upper = np.zeros(1 << 16, np.int32)
    for i in range(len(keys)):
        keys[i] ^= np.uint32(0xFFFFFFFF) if keys[i] >> np.uint32(31) else np.uint32(0x80000000)
        upper[keys[i] >> np.uint32(16)] += 1
    lower = np.zeros(1 << 16, np.int32)
    found = np.empty(len(ranks), np.uint32)
    below, digit, counted = 0, 0, -1
    for j in range(len(ranks)):
        while below + upper[digit] <= ranks[j]:
            below += upper[digit]
            digit += 1
        if counted != digit:
            counted = digit
            lower[:] = 0
            for i in range(len(keys)):
                if keys[i] >> np.uint32(16) == digit:
                    lower[keys[i] & np.uint32(0xFFFF)] += 1
        rest, last = ranks[j] - below, 0
        while rest >= lower[last]:
            rest -= lower[last]
            last += 1
        key = np.uint32((digit << 16) | last)
        found[j] = key ^ (np.uint32(0x80000000) if key >> np.uint32(31) else np.uint32(0xFFFFFFFF))
    return found.view(np.float32)


def _lerp(low: np.float32, high: np.float32, fraction: float) -> float:
    return float(low) if fraction == 0.0 else float(low) * (1.0 - fraction) + float(high) * fraction


def _brackets(sample: Floats, quantiles: tuple[float, ...]) -> tuple[Floats, Floats]:
    """Values that most probably enclose the quantiles of the whole image."""
    n = len(sample)
    lower = np.full(len(quantiles), -np.inf, np.float32)
    upper = np.empty(len(quantiles), np.float32)
    for i, quantile in enumerate(quantiles):
        spread = BRACKET_SIGMAS * np.sqrt(quantile * (1.0 - quantile) * n) + 2.0
        low, high = int(quantile * n - spread), int(quantile * n + spread)
        if low >= 0:
            lower[i] = sample[low]
        if high < n:
            upper[i] = sample[high]
        else:
            upper[i] = np.finfo(np.float32).max
    return lower, upper


@numba.njit(cache=True, nogil=True)
def _collect_all(image: Floats, mask: Mask, bits: np.int32) -> Floats:
    values = np.empty(image.size, np.float32)
    n = 0
    for y in range(image.shape[0]):
        for x in range(image.shape[1]):
            values[n] = image[y, x]  # kept only if n moves on
            n += int(((mask[y, x] & bits) == 0) & np.isfinite(image[y, x]))
    return values[:n]


@numba.njit(cache=True, nogil=True)
def _collect_sample(image: Floats, mask: Mask, bits: np.int32, step: int) -> Floats:
    ny, nx = image.shape
    values = np.empty(ny * nx // step + 1, np.float32)
    n = 0
    for i in range(0, ny * nx, step):
        y, x = i // nx, i % nx
        if (mask[y, x] & bits) == 0 and np.isfinite(image[y, x]):
            values[n] = image[y, x]
            n += 1
    return values[:n].copy()


@numba.njit(cache=True, nogil=True)
def _count_and_collect(
    image: Floats, mask: Mask, bits: np.int32, lower: Floats, upper: Floats
) -> tuple[int, npt.NDArray[np.int64], Floats]:
    """Count usable pixels and those below each bracket; collect those inside any.

    The loops over a row are kept simple (32-bit counters, no branches) so that
    the compiler can use vector instructions. Collecting stops when a quarter
    of the image is inside: then the brackets are no good.
    """
    ny, nx = image.shape
    collected = np.empty(image.size // 4 + nx, np.float32)
    below = np.zeros(len(lower), np.int64)
    row = np.empty(nx, np.float32)
    hit = np.empty(nx, np.bool_)
    count = place = 0
    for y in range(ny):
        count += _usable(image[y], mask[y], bits, row)
        hit[:] = False
        for j in range(len(lower)):
            low, high = lower[j], upper[j]
            smaller = np.int32(0)
            for x in range(nx):
                smaller += np.int32(row[x] < low)
                hit[x] |= (row[x] >= low) & (row[x] <= high)
            below[j] += smaller
        if place <= image.size // 4:
            for x in range(nx):
                collected[place] = row[x]  # kept only if the place moves on
                place += int(hit[x])
    return count, below, collected[:place]


@numba.njit(cache=True, nogil=True)
def _usable(image: Floats, mask: Mask, bits: np.int32, out: Floats) -> int:
    """Copy a row, with NaN for pixels that are not usable; returns how many are."""
    biggest = np.float32(np.finfo(np.float32).max)
    count = np.int32(0)
    for x in range(len(image)):
        usable = ((mask[x] & bits) == 0) & (abs(image[x]) <= biggest)
        out[x] = image[x] if usable else np.float32(np.nan)
        count += np.int32(usable)
    return int(count)
