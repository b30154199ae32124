"""Exact order statistics of images without sorting them."""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

from isr.numerics.box_medians import select

__all__ = ["dense", "keep_usable", "order_statistics", "scratch", "select_large", "sorted_sample"]

Floats = npt.NDArray[np.float32]
Mask = npt.NDArray[np.int32]

SAMPLES = 1 << 15
"""Pixels that are sampled, at most, to bracket the quantiles."""
BRACKET_SIGMAS = 3.5
FEWEST_FOR_DIGITS = 1 << 12
"""Values from which on counting digits is faster than `numpy.partition`."""
SAMPLE_PAYS = 1 << 15
"""Pixels from which on a sample is worth its price."""
SAMPLED = 16
"""At most one pixel in so many is sampled."""
MOST_COLLECTED = 4
"""At most one pixel in so many is collected; if more are in the brackets, these are no good."""
CHUNK = 2048
"""Pixels that are looked at together; they stay in the nearest cache."""
FEW = 24
"""Pixels among which it is as quick to select as to narrow the bracket further."""
PASSES = 12


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
    selected from. A bracket of one value only, which many pixels have, need
    not be collected. If a bracket turns out not to hold the quantile, all pixels
    are selected from, as in small images: the result is exact in either case.
    """
    image, mask = dense(image, mask, bits)
    if image.size >= SAMPLE_PAYS:
        wanted, values = np.array(quantiles, np.float64), np.empty(len(quantiles))
        line = image.reshape(-1), mask.reshape(-1), np.int32(bits)
        count = select_large(*line, wanted, sorted_sample(*line), *scratch(image.size), values, -1)
        if count >= 0:
            return int(count), tuple(values.tolist())
    return _select(_collect_all(image, mask, np.int32(bits)), quantiles)


def dense(image: Floats, mask: Mask, bits: int) -> tuple[Floats, Mask]:
    """Return image and mask as contiguous arrays, on which loops are several times faster.

    Without ``bits`` nobody looks at the mask: any array of its shape will do.
    """
    image = np.ascontiguousarray(image)
    return image, np.ascontiguousarray(mask) if bits else image.view(np.int32)


def scratch(size: int) -> tuple[float, Floats]:
    """Return the width of the brackets and room for `select_large`.

    Allocated by NumPy, which asks for huge pages (Numba does not), and for as
    many images of up to this size as one likes.
    """
    return BRACKET_SIGMAS, np.empty((2, size // MOST_COLLECTED + CHUNK), np.float32)


def sorted_sample(image: Floats, mask: Mask, bits: np.int32) -> Floats:
    """Return a regular sample of the usable pixels of a flat image, sorted (by NumPy, which is fastest)."""
    sample = _sample(image, mask, bits, min(SAMPLES, len(image) // SAMPLED))
    sample.sort()
    return sample


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
def select_large(
    image: Floats,
    mask: Mask,
    bits: np.int32,
    quantiles: npt.NDArray[np.float64],
    sample: Floats,
    sigmas: float,
    room: Floats,
    values: npt.NDArray[np.float64],
    known_count: int,
) -> int:
    """Write quantiles of the usable pixels of a flat image to ``values``.

    Returns the number of these pixels, or -1 if the brackets are no good. The
    arguments after ``quantiles`` are `sorted_sample` and `scratch`. If the
    number is known, all other pixels must be NaN already; this is faster.
    """
    n = len(quantiles)
    collected, few = room[0], room[1]
    lower, upper = np.empty(n, np.float32), np.empty(n, np.float32)
    _brackets(sample, quantiles, sigmas, lower, upper)
    below = np.zeros((n, 2), np.int64)  # usable pixels below either end of a bracket
    count, place = _count_and_collect(image, mask, bits, lower, upper, below, collected, known_count)
    if place < 0:
        return -1
    values[:] = np.nan
    if count == 0:
        return 0
    for j in range(n):
        position = quantiles[j] * (count - 1)
        first = int(position)
        last = min(first + 1, count - 1)
        if not (below[j, 0] <= first and last < below[j, 1]):
            return -1
        if upper[j] == np.nextafter(lower[j], np.float32(np.inf)):
            values[j] = lower[j]
            continue
        of_collected = _count_below(collected, place, lower[j], upper[j])
        offset = of_collected[0] - below[j, 0]
        low, high = _neighbours(
            collected, place, first + offset, last + offset, lower[j], upper[j], of_collected, few
        )
        fraction = position - first
        values[j] = low if fraction == 0.0 else low * (1.0 - fraction) + high * fraction
    return count


@numba.njit(cache=True, nogil=True)
def _sample(image: Floats, mask: Mask, bits: np.int32, size: int) -> Floats:
    step = (len(image) // size + 1) | 1
    sample = np.empty(len(image) // step + 1, np.float32)
    n = 0
    for i in range(0, len(image), step):
        if (mask[i] & bits) == 0 and np.isfinite(image[i]):
            sample[n] = image[i]
            n += 1
    return sample[:n]


@numba.njit(cache=True, nogil=True)
def _brackets(
    sample: Floats, quantiles: npt.NDArray[np.float64], sigmas: float, lower: Floats, upper: Floats
) -> None:
    """Write values that most probably enclose the quantiles of the whole image, upper ones excluded."""
    n = len(sample)
    biggest = np.float32(np.finfo(np.float32).max)
    for j in range(len(quantiles)):
        spread = sigmas * np.sqrt(quantiles[j] * (1.0 - quantiles[j]) * n) + 2.0
        low, high = int(np.floor(quantiles[j] * n - spread)), int(quantiles[j] * n + spread)
        lower[j] = sample[low] if low >= 0 else -biggest
        upper[j] = np.nextafter(sample[high], np.float32(np.inf)) if high < n else np.float32(np.inf)
        half = int(0.5 * spread)
        near, far = int(quantiles[j] * n) - half, int(quantiles[j] * n) + half
        if near >= 0 and far < n and sample[near] == sample[far]:  # most of the bracket is one value
            lower[j] = sample[near]
            upper[j] = np.nextafter(lower[j], np.float32(np.inf))


@numba.njit(cache=True, nogil=True)
def _count_and_collect(
    image: Floats,
    mask: Mask,
    bits: np.int32,
    lower: Floats,
    upper: Floats,
    below: npt.NDArray[np.int64],
    collected: Floats,
    known_count: int,
) -> tuple[int, int]:
    """Count usable pixels and those below the ends of each bracket; collect those inside any.

    Returns their number and how many were collected, -1 if they are too many.
    The loops over a chunk are kept simple (32-bit counters, no branches) so
    that the compiler can use vector instructions.
    """
    chunk = np.empty(CHUNK, np.float32)
    hits = np.zeros(CHUNK, np.uint8)
    count, place = max(known_count, 0), 0
    for start in range(0, len(image), CHUNK):
        size = min(CHUNK, len(image) - start)
        if place + CHUNK > len(collected):
            return count, -1
        if known_count >= 0:
            chunk = image[start : start + size]
        else:
            count += keep_usable(image[start : start + size], mask[start : start + size], bits, chunk)
        hits[:] = 0
        for j in range(len(lower)):
            if upper[j] == np.nextafter(lower[j], np.float32(np.inf)):
                below_low, below_high = _count_below(chunk, size, lower[j], upper[j])
            else:
                below_low, below_high = _mark(chunk, size, lower[j], upper[j], hits)
            below[j, 0] += below_low
            below[j, 1] += below_high
        place += _pick(chunk, size, hits, collected[place:])
    return count, place


@numba.njit(cache=True, nogil=True)
def _pick(values: Floats, size: int, hits: npt.NDArray[np.uint8], out: Floats) -> int:
    """Copy the values that are hit, which are few; returns how many."""
    eights = hits.view(np.uint64)
    n = 0
    for k in range((size + 7) // 8):
        if eights[k] != 0:
            for x in range(8 * k, min(8 * k + 8, size)):
                out[n] = values[x]  # kept only if the place moves on
                n += int(hits[x])
    return n


@numba.njit(cache=True, nogil=True)
def keep_usable(image: Floats, mask: Mask, bits: np.int32, out: Floats) -> int:
    """Copy a row, with NaN for pixels that are not usable; returns how many are."""
    biggest = np.float32(np.finfo(np.float32).max)
    count = np.int32(0)
    for x in range(len(image)):
        usable = ((mask[x] & bits) == 0) & (abs(image[x]) <= biggest)
        out[x] = image[x] if usable else np.float32(np.nan)
        count += np.int32(usable)
    return int(count)


@numba.njit(cache=True, nogil=True)
def _mark(
    values: Floats, size: int, low: np.float32, high: np.float32, hits: npt.NDArray[np.uint8]
) -> tuple[int, int]:
    """Mark the values in ``[low, high)``; returns how many are below either."""
    below_low = np.int32(0)
    below_high = np.int32(0)
    for x in range(size):
        below_low += np.int32(values[x] < low)
        below_high += np.int32(values[x] < high)
        hits[x] |= np.uint8((values[x] >= low) & (values[x] < high))
    return int(below_low), int(below_high)


@numba.njit(cache=True, nogil=True)
def _count_below(values: Floats, size: int, low: np.float32, high: np.float32) -> tuple[int, int]:
    below_low = np.int32(0)
    below_high = np.int32(0)
    for i in range(size):
        below_low += np.int32(values[i] < low)
        below_high += np.int32(values[i] < high)
    return int(below_low), int(below_high)


@numba.njit(cache=True, nogil=True)
def _neighbours(
    values: Floats,
    size: int,
    first: int,
    last: int,
    lower: np.float32,
    upper: np.float32,
    below: tuple[int, int],
    few: Floats,
) -> tuple[float, float]:
    """Values of the ranks ``first`` and ``last`` (equal or next), which are in ``[lower, upper)``.

    Passes that only count narrow the bracket, as if the values inside were
    spread evenly; the few that are left are selected from.
    """
    start, end = below
    for _ in range(PASSES):
        if end - start <= FEW or np.isinf(upper):
            break
        slope = (np.float64(upper) - np.float64(lower)) / (end - start)
        margin = 4.0 + 0.05 * (end - start)
        low = max(lower, np.float32(lower + slope * (first - start - margin)))
        high = min(upper, np.float32(lower + slope * (last + 1 - start + margin)))
        below_low, below_high = _count_below(values, size, low, high)
        if below_high <= first:
            lower, start = high, below_high
        elif below_high > last:
            upper, end = high, below_high
        if below_low > last:
            upper, end = low, below_low
        elif below_low <= first and low > lower:
            lower, start = low, below_low
    hits = np.zeros(CHUNK, np.uint8)
    n = 0
    for i in range(0, size, CHUNK):
        chunk = values[i : min(i + CHUNK, size)]
        hits[:] = 0
        _mark(chunk, len(chunk), lower, upper, hits)
        n += _pick(chunk, len(chunk), hits, few[n:])
    select(few, n, first - start)
    found = few[first - start]
    following = found
    if last > first:
        following = few[last - start]
        for i in range(last - start + 1, n):
            following = min(following, few[i])
    return np.float64(found), np.float64(following)
