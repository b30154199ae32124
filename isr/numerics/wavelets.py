"""Inverse wavelet transform of Cohen, Daubechies and Feauveau, "CDF 9/7", by lifting.

Source: lifting steps of ITU-T Rec. T.800 (JPEG 2000), annex F. The scale `K`
gives low-pass filters whose taps sum to sqrt(2) (spec section 4.14).
"""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

__all__ = ["compressed_size", "expand"]

ALPHA, BETA, GAMMA, DELTA = -1.586134342059924, -0.052980118572961, 0.882911075530934, 0.443506852043971
K = 0.86986445162477855

Rows = npt.NDArray[np.float64]


def compressed_size(size: int, levels: int) -> int:
    """Return the number of low-pass coefficients of a vector after some levels."""
    return -(-size // (1 << levels))


def expand(coefficients: Rows, size: int, levels: int, *, periodic: bool = False) -> Rows:
    """Undo levels of the CDF 9/7 transform along the last axis.

    Parameters
    ----------
    coefficients : `numpy.ndarray`, (rows, n), float64
        First ``n`` coefficients of each row, low-pass first; those missing
        are zero.
    size : `int`
        Length of the rows to make.
    levels : `int`
        Number of levels.
    periodic : `bool`
        Whether rows continue periodically (``size`` is then a multiple of
        ``2**levels``), else by reflection about their end pixels.

    Returns
    -------
    rows : `numpy.ndarray`, (rows, size), float64
        The expanded rows.
    """
    rows = np.zeros((len(coefficients), size))
    rows[:, : coefficients.shape[1]] = coefficients
    sizes = np.array([compressed_size(size, level) for level in range(levels)][::-1], np.int64)
    _expand_rows(rows, sizes, periodic)
    return rows


@numba.njit(cache=True, nogil=True)
def _expand_rows(rows: Rows, sizes: npt.NDArray[np.int64], periodic: bool) -> None:
    buffer = np.empty(rows.shape[1])
    for y in range(rows.shape[0]):
        for size in sizes:
            if size < 2:
                continue
            half = (size + 1) // 2
            for i in range(half):
                buffer[2 * i] = K * rows[y, i]
            for i in range(size - half):
                buffer[2 * i + 1] = (1.0 / K) * rows[y, half + i]
            _lift(buffer, size, 0, DELTA, periodic)
            _lift(buffer, size, 1, GAMMA, periodic)
            _lift(buffer, size, 0, BETA, periodic)
            _lift(buffer, size, 1, ALPHA, periodic)
            for i in range(size):
                rows[y, i] = buffer[i]


@numba.njit(cache=True, nogil=True)
def _lift(values: Rows, size: int, start: int, factor: float, periodic: bool) -> None:
    """Subtract ``factor`` times the sum of both neighbours from every second value."""
    last = size - 1
    if start == 0:
        values[0] -= factor * (values[1] + values[last if periodic else 1])
    for i in range(start if start else 2, last, 2):
        values[i] -= factor * (values[i - 1] + values[i + 1])
    if last % 2 == start:
        values[last] -= factor * (values[last - 1] + values[0 if periodic else last - 1])
