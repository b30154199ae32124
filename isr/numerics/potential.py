"""Convolution of an image with a small kernel, one row at a time.

The brighter-fatter kernel of HSC is 17 x 17 and symmetric under both mirrors,
so rows and columns at the same distance are added before they are multiplied
("folded"): 81 products a pixel instead of 289. Sums run in float32 in a fixed
order; give an image with its level subtracted to keep them precise.
"""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

__all__ = ["PADDING", "UNROLLED", "fold", "potential_row"]

Image = npt.NDArray[np.float32]
Row = npt.NDArray[np.float32]

UNROLLED = 8
"""Half-width of the folded kernels whose sum over columns is written out."""
FLOAT32_EPSILON = float(np.finfo(np.float32).eps)
PADDING = 2 * UNROLLED
"""Elements that the scratch row needs beyond those of a row."""


def fold(kernel: npt.NDArray[np.float64], dtype: type) -> tuple[Image, bool]:
    """Prepare a kernel for `potential_row`.

    Parameters
    ----------
    kernel : `numpy.ndarray`, (n, n), float64
        Kernel ``[y, x]``, n odd.
    dtype : `type`
        `numpy.float32` or `numpy.float64`: of the images that it is for.

    Returns
    -------
    folded : `numpy.ndarray`, (9, 9) or (n, n)
        For a kernel of up to 17 x 17 that is symmetric under both mirrors
        (to float32 precision, which is what it is used with):
        its quarter from the centre outwards, padded with zeros. Else the
        kernel itself, turned by 180 degrees so that it can be slid.
    is_quarter : `bool`
        Which of the two it is.
    """
    half = kernel.shape[0] // 2
    mirrored = 0.25 * (kernel + kernel[::-1] + kernel[:, ::-1] + kernel[::-1, ::-1])
    symmetric = np.allclose(kernel, mirrored, rtol=0.0, atol=FLOAT32_EPSILON * np.abs(kernel).max())
    if symmetric and half <= UNROLLED:
        folded: Image = np.zeros((UNROLLED + 1, UNROLLED + 1), dtype)
        folded[: half + 1, : half + 1] = mirrored[half:, half:]
        return folded, True
    return np.ascontiguousarray(kernel[::-1, ::-1], dtype), False


@numba.njit(cache=True, nogil=True)
def potential_row(image: Image, folded: Image, is_quarter: bool, y: int, out: Row, scratch: Row) -> None:
    """Write row ``y`` of the convolution of ``image`` to ``out``.

    Pixels outside the image count as zero. ``scratch`` has `PADDING` elements
    more than a row; its first and last eight are zero and stay so.
    """
    if is_quarter:
        _quarter_row(image, folded, y, out, scratch)
    else:
        _whole_row(image, folded, y, out)


@numba.njit(cache=True, nogil=True)
def _quarter_row(image: Image, quarter: Image, y: int, out: Row, scratch: Row) -> None:
    ny, nx = image.shape
    for x in range(nx):
        out[x] = 0.0
    for j in range(UNROLLED + 1):
        below, above = y - j, y + j
        if j > 0 and below >= 0 and above < ny:
            for x in range(nx):
                scratch[x + 8] = image[below, x] + image[above, x]
        elif below >= 0:
            for x in range(nx):
                scratch[x + 8] = image[below, x]
        elif above < ny:
            for x in range(nx):
                scratch[x + 8] = image[above, x]
        else:
            continue
        k0, k1, k2, k3, k4 = quarter[j, 0], quarter[j, 1], quarter[j, 2], quarter[j, 3], quarter[j, 4]
        k5, k6, k7, k8 = quarter[j, 5], quarter[j, 6], quarter[j, 7], quarter[j, 8]
        for x in range(nx):
            out[x] += (
                k0 * scratch[x + 8]
                + k1 * (scratch[x + 7] + scratch[x + 9])
                + k2 * (scratch[x + 6] + scratch[x + 10])
                + k3 * (scratch[x + 5] + scratch[x + 11])
                + k4 * (scratch[x + 4] + scratch[x + 12])
                + k5 * (scratch[x + 3] + scratch[x + 13])
                + k6 * (scratch[x + 2] + scratch[x + 14])
                + k7 * (scratch[x + 1] + scratch[x + 15])
                + k8 * (scratch[x] + scratch[x + 16])
            )


@numba.njit(cache=True, nogil=True)
def _whole_row(image: Image, kernel: Image, y: int, out: Row) -> None:
    ny, nx = image.shape
    half = kernel.shape[0] // 2
    for x in range(nx):
        out[x] = 0.0
    for j in range(-half, half + 1):
        if 0 <= y + j < ny:
            for i in range(-half, half + 1):
                k = kernel[j + half, i + half]
                for x in range(max(0, -i), min(nx, nx - i)):
                    out[x] += k * image[y + j, x + i]
