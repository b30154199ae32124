"""Which pixels belong to sources: Gaussian smoothing and a threshold (spec section 5.6)."""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

from isr.numerics.statistics import clipped_statistics

__all__ = ["gaussian_kernel", "smear", "smooth", "smoothed_threshold"]

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
    smoothed = np.empty_like(image)  # by NumPy, which asks for huge pages
    _smooth(image, kernel, smoothed)
    return smoothed


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
    return factor * clipped_statistics(smoothed, smear(mask, bits, half), 1).stdev


def smear(mask: Mask, bits: int, half: int) -> Mask:
    """Return 1 where any pixel within ``half`` in x and y has any of ``bits``, else 0."""
    out = np.empty_like(mask)
    _smear(mask, np.int32(bits), half, out)
    return out


@numba.njit(cache=True, nogil=True)
def _smooth(image: Image, kernel: Kernel, out: Image) -> None:
    """Smooth rows, of which as many as the kernel is long are kept, and add them up."""
    ny, nx = image.shape
    n = len(kernel)
    half = n // 2
    out[: min(half, ny)] = np.nan
    out[max(ny - half, 0) :] = np.nan
    if nx < n or ny < n:
        out[:] = np.nan
        return
    across = np.empty((n, nx - n + 1), np.float32)
    for y in range(ny):
        row = across[y % n]
        row[:] = 0.0
        for k in range(n):
            _add_product(row, image[y, k : k + nx - n + 1], kernel[k])
        if y < n - 1:
            continue
        target = out[y - half]
        target[:half] = np.nan
        target[nx - half :] = np.nan
        inner = target[half : nx - half]
        inner[:] = 0.0
        for k in range(n):
            _add_product(inner, across[(y - n + 1 + k) % n], kernel[k])


@numba.njit(cache=True, nogil=True)
def _add_product(total: Image, values: Image, weight: float) -> None:
    for x in range(len(total)):
        total[x] = np.float32(np.float64(total[x]) + np.float64(values[x]) * weight)


@numba.njit(cache=True, nogil=True)
def _smear(mask: Mask, bits: np.int32, half: int, out: Mask) -> None:
    ny, nx = mask.shape
    last = np.full(nx, -half - 1, np.int32)  # last row whose mask reaches the window of row y, per column
    far = np.int32(-1)  # the last of all
    for y in range(-half, ny):
        if y + half < ny:
            far = max(far, _reach(mask[y + half], bits, half, np.int32(y + half), last))
        if y >= 0 and far < y - half:
            out[y] = 0
        elif y >= 0:
            row = out[y]
            for x in range(nx):
                row[x] = np.int32(last[x] >= np.int32(y - half))


@numba.njit(cache=True, nogil=True)
def _reach(row: Mask, bits: np.int32, half: int, y: np.int32, last: Mask) -> np.int32:
    """Write ``y`` wherever a set pixel of the row reaches; returns it, -1 if none is set."""
    nx = len(row)
    any_set = np.int32(0)
    for x in range(nx):
        any_set |= row[x] & bits
    if any_set == 0:
        return np.int32(-1)
    end = 0  # one past the last column within reach of a set pixel to the left
    for x in range(nx):
        if (row[x] & bits) != 0:
            for i in range(max(end, x - half), min(x + half + 1, nx)):
                last[i] = y
            end = x + half + 1
    return y
