"""Sorting the short rows of an image, many at a time."""

from __future__ import annotations

from functools import lru_cache

import numba
import numpy as np
import numpy.typing as npt

__all__ = ["sort_rows"]

Floats = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]

LONGEST = 64
"""Columns up to which a network beats sorting row by row."""


def sort_rows(image: Floats) -> Floats:
    """Return the rows of an image sorted, as columns.

    Parameters
    ----------
    image : `numpy.ndarray`, (ny, nx), float32
        Pixels; there must be no NaN.

    Returns
    -------
    ranked : `numpy.ndarray`, (nx, ny), float32
        Element ``[rank, y]`` is the pixel of that rank in row y.

    Notes
    -----
    A sorting network (K. E. Batcher, AFIPS 32 (1968) 307; D. E. Knuth, The Art
    of Computer Programming 3, algorithm 5.2.2M) compares the same places of
    all rows, so that vector instructions do many rows at once.
    """
    ranked = np.array(image.T, order="C")
    if len(ranked) > LONGEST:
        ranked.sort(axis=0)
    else:
        _exchange(ranked, _network(len(ranked)))
    return ranked


@lru_cache(maxsize=8)
def _network(n: int) -> Indices:
    """Return the pairs of places that are compared, in this order."""
    pairs = []
    top = 1 << max(0, (n - 1).bit_length() - 1)
    p = top
    while p > 0:
        q, r, d = top, 0, p
        while d > 0:
            pairs += [(i, i + d) for i in range(n - d) if i & p == r]
            d, q, r = q - p, q >> 1, p
        p >>= 1
    return np.array(pairs, np.int64).reshape(-1, 2)


@numba.njit(cache=True, nogil=True)
def _exchange(columns: Floats, pairs: Indices) -> None:
    for k in range(len(pairs)):
        low, high = columns[pairs[k, 0]], columns[pairs[k, 1]]
        for y in range(len(low)):
            a, b = low[y], high[y]
            low[y], high[y] = (b, a) if b < a else (a, b)
