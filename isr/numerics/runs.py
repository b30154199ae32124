"""Horizontal runs of masked pixels."""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

__all__ = ["find_runs"]


@numba.njit(cache=True, nogil=True)
def find_runs(mask: npt.NDArray[np.int32], bits: np.int32) -> npt.NDArray[np.int32]:
    """Find the maximal horizontal runs of pixels with any of ``bits``.

    Parameters
    ----------
    mask : `numpy.ndarray`, (ny, nx), int32
        Mask.
    bits : `numpy.int32`
        OR of the bits.

    Returns
    -------
    runs : `numpy.ndarray`, (n, 5), int32
        Row, first and last column, and the number of usable pixels (1 or 2)
        on the left and on the right: 1 if the second one belongs to the next run.
    """
    ny, nx = mask.shape
    count = 0
    for y in range(ny):
        for x in range(nx):
            is_set = (mask[y, x] & bits) != 0
            count += is_set and (x == 0 or (mask[y, x - 1] & bits) == 0)
    runs = np.empty((count, 5), np.int32)
    n = 0
    for y in range(ny):
        previous_end = -10
        x = 0
        while x < nx and n < count:
            if (mask[y, x] & bits) == 0:
                x += 1
                continue
            x0 = x
            while x < nx and (mask[y, x] & bits) != 0:
                x += 1
            runs[n, 0], runs[n, 1], runs[n, 2] = y, x0, x - 1
            runs[n, 3] = 1 if previous_end == x0 - 2 else 2
            runs[n, 4] = 1 if x + 1 < nx and (mask[y, x + 1] & bits) != 0 else 2
            previous_end = x - 1
            n += 1
    return runs
