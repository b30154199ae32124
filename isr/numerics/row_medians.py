"""Medians of the rows of an image."""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

from isr.numerics.box_medians import middle

__all__ = ["row_medians"]

Floats = npt.NDArray[np.float32]


@numba.njit(cache=True, nogil=True)
def row_medians(image: Floats, usable: npt.NDArray[np.bool_]) -> Floats:
    """Return the median of the finite, usable pixels of each row.

    Parameters
    ----------
    image : `numpy.ndarray`, (ny, nx), float32
        Pixels.
    usable : `numpy.ndarray`, (ny, nx), bool
        Which of them count.

    Returns
    -------
    medians : `numpy.ndarray`, (ny,), float32
        Medians, the mean of the two middle ones (in float32) for an even
        number, as `numpy.nanmedian` gives; NaN for a row without a pixel.
    """
    ny, nx = image.shape
    medians = np.full(ny, np.float32(np.nan), np.float32)
    row = np.empty(nx, np.float32)
    for y in range(ny):
        n = 0
        for x in range(nx):
            if usable[y, x] and not np.isnan(image[y, x]):
                row[n] = image[y, x]
                n += 1
        if n:
            medians[y] = middle(row, n, (n - 1) // 2, n // 2)
    return medians
