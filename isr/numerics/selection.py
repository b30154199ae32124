"""Exact order statistics without sorting."""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

__all__ = ["order_statistics"]

Floats = npt.NDArray[np.float32]


def order_statistics(
    image: Floats, mask: npt.NDArray[np.int32], bits: int, quantiles: tuple[float, ...]
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
    The float bits, made monotone, are counted in two radix passes of 16 bits:
    exact, O(n), and independent of the order of the pixels.
    """
    keys = image.view(np.uint32)
    selected = np.int32(bits)
    high = np.zeros(1 << 16, np.int64)
    count = int(_count_high(keys, mask, selected, high))
    if count == 0:
        return 0, (float("nan"),) * len(quantiles)
    positions = np.array(quantiles, np.float64) * (count - 1)
    lower = positions.astype(np.int64)
    ranks = np.concatenate([lower, np.minimum(lower + 1, count - 1)])

    cumulative = np.cumsum(high)
    rank_bins = np.searchsorted(cumulative, ranks, side="right")
    bins, slots = np.unique(rank_bins, return_inverse=True)
    slot_of_bin = np.full(1 << 16, -1, np.int8)
    slot_of_bin[bins] = np.arange(len(bins))
    low = np.zeros((len(bins), 1 << 16), np.int64)
    _count_low(keys, mask, selected, slot_of_bin, low)

    low_cumulative = np.cumsum(low, axis=1)
    below = cumulative[rank_bins] - high[rank_bins]
    values = np.empty(len(ranks), np.float64)
    for i, (rank, slot) in enumerate(zip(ranks, slots, strict=True)):
        low_bits = np.searchsorted(low_cumulative[slot], rank - below[i], side="right")
        values[i] = _float_from_key((int(bins[slot]) << 16) | int(low_bits))
    n = len(quantiles)
    fraction = positions - lower
    interpolated = values[:n] * (1.0 - fraction) + values[n:] * fraction
    return count, tuple(float(v) for v in np.where(fraction == 0.0, values[:n], interpolated))


def _float_from_key(key: int) -> float:
    bits = key & 0x7FFFFFFF if key & 0x80000000 else ~key & 0xFFFFFFFF
    return float(np.array(bits, np.uint32).view(np.float32))


@numba.njit(cache=True, nogil=True, inline="always")
def _monotone(bits: np.uint32) -> np.uint32:
    """Map float bits to integers that sort like the floats."""
    return ~bits if bits & np.uint32(0x80000000) else bits | np.uint32(0x80000000)


@numba.njit(cache=True, nogil=True)
def _count_high(
    keys: npt.NDArray[np.uint32], mask: npt.NDArray[np.int32], bits: np.int32, counts: npt.NDArray[np.int64]
) -> int:
    total = 0
    for y in range(keys.shape[0]):
        for x in range(keys.shape[1]):
            key = keys[y, x]
            finite = (key & np.uint32(0x7F800000)) != np.uint32(0x7F800000)
            if finite and (mask[y, x] & bits) == 0:
                counts[_monotone(key) >> np.uint32(16)] += 1
                total += 1
    return total


@numba.njit(cache=True, nogil=True)
def _count_low(
    keys: npt.NDArray[np.uint32],
    mask: npt.NDArray[np.int32],
    bits: np.int32,
    slot_of_bin: npt.NDArray[np.int8],
    counts: npt.NDArray[np.int64],
) -> None:
    for y in range(keys.shape[0]):
        for x in range(keys.shape[1]):
            key = keys[y, x]
            finite = (key & np.uint32(0x7F800000)) != np.uint32(0x7F800000)
            if finite and (mask[y, x] & bits) == 0:
                monotone = _monotone(key)
                slot = slot_of_bin[monotone >> np.uint32(16)]
                if slot >= 0:
                    counts[slot, monotone & np.uint32(0xFFFF)] += 1
