"""Which pixels belong to sources: Gaussian smoothing and a threshold (spec section 5.6)."""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

from isr.numerics.statistics import clipped_statistics

__all__ = ["gaussian_kernel", "smooth", "smoothed_threshold"]

Image = npt.NDArray[np.float32]
Mask = npt.NDArray[np.int32]
Kernel = npt.NDArray[np.float64]

KERNEL_WIDTH = 7.0
"""Width of the smoothing kernel in sigma."""


def gaussian_kernel(sigma: float) -> Kernel:
    """Return a Gaussian of odd length (7 sigma) that sums to one, float64."""
    half = int(KERNEL_WIDTH * sigma + 0.5) // 2
    offsets = np.arange(-half, half + 1)
    kernel: Kernel = np.exp(-(offsets**2) / (2.0 * sigma**2))
    return kernel / kernel.sum()


def smooth(image: Image, kernel: Kernel) -> Image:
    """Convolve rows, then columns, with a kernel of 2 h + 1 elements.

    Sums run in float32 over products in float64, as in afw. The outermost
    ``h`` pixels on all sides are NaN.
    """
    across = _smooth_rows(image, kernel)
    return _smooth_columns(across, kernel)


def smoothed_threshold(smoothed: Image, mask: Mask, bits: int, half: int, factor: float) -> float:
    """Return ``factor`` times the clipped standard deviation of a smoothed image.

    Parameters
    ----------
    smoothed : `numpy.ndarray`, (ny, nx), float32
        Image smoothed with a kernel of ``2 half + 1`` pixels.
    mask : `numpy.ndarray`, (ny, nx), int32
        Mask of the image before smoothing.
    bits : `int`
        Pixels into which a pixel with any of these bits was smoothed do not count.
    half : `int`
        Half-width of the kernel in pixels.
    factor : `float`
        Factor.
    """
    spoiled = _smear(mask, np.int32(bits), half)
    return factor * clipped_statistics(smoothed, spoiled, 1).stdev


@numba.njit(cache=True, nogil=True)
def _smooth_rows(image: Image, kernel: Kernel) -> Image:
    ny, nx = image.shape
    n = len(kernel)
    half = n // 2
    out = np.empty_like(image)
    for y in range(ny):
        out[y] = np.nan
        if nx < n:
            continue
        inner = out[y, half : nx - half]
        inner[:] = 0.0
        for k in range(n):
            _add_product(inner, image[y, k : k + nx - n + 1], kernel[k])
    return out


@numba.njit(cache=True, nogil=True)
def _smooth_columns(image: Image, kernel: Kernel) -> Image:
    ny, nx = image.shape
    n = len(kernel)
    half = n // 2
    out = np.empty_like(image)
    for y in range(ny):
        out[y] = np.nan
        if y < half or y >= ny - half or nx < n:
            continue
        inner = out[y, half : nx - half]
        inner[:] = 0.0
        for k in range(n):
            _add_product(inner, image[y - half + k, half : nx - half], kernel[k])
    return out


@numba.njit(cache=True, nogil=True)
def _add_product(total: Image, values: Image, weight: float) -> None:
    for x in range(len(total)):
        total[x] = np.float32(np.float64(total[x]) + np.float64(values[x]) * weight)


@numba.njit(cache=True, nogil=True)
def _smear(mask: Mask, bits: np.int32, half: int) -> Mask:
    """1 where any pixel within ``half`` in x and y has any of ``bits``."""
    ny, nx = mask.shape
    across = np.zeros((ny, nx), np.uint8)
    for y in range(ny):
        any_set = np.int32(0)
        for x in range(nx):
            any_set |= mask[y, x] & bits
        if any_set == 0:
            continue
        reach = -1  # last column within the reach of a set pixel to the left
        for x in range(nx):
            if (mask[y, x] & bits) != 0:
                across[y, max(reach + 1, x - half) : x + half + 1] = 1
                reach = x + half
    rows = np.zeros(nx, np.int16)  # rows of the window with a pixel set, per column
    out = np.empty((ny, nx), np.int32)
    for y in range(min(half, ny)):
        rows += across[y]
    for y in range(ny):
        if y + half < ny:
            rows += across[y + half]
        if y - half - 1 >= 0:
            rows -= across[y - half - 1]
        for x in range(nx):
            out[y, x] = np.int32(rows[x] > 0)
    return out
