"""Charge that collected charge has deflected, put back.

With *T* the image in electrons and *P* = kernel * *T* (the deflection
potential) the correction of Coulton et al., AJ 155 (2018) 258, is
``(grad T . grad P + T laplace P) / 2``; since *T* is not known, the corrected
image is put in again until it hardly changes.

A constant level in *T* changes *P* by a constant only. It is taken out before
the convolution, so that float32 is precise enough: the corrected pixels are
good to about 1e-7 (the reference uses float64 and FFTs). Only a threshold of
convergence that is smaller than the rounding errors needs float64.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from isr.numerics.potential import PADDING, UNROLLED, fold, potential_row

__all__ = ["Gains", "charge_correction"]

Image = npt.NDArray[np.float32]
Row = npt.NDArray[np.float32]
Kernel = npt.NDArray[np.float64]

LANES = 8
LEVEL_SAMPLES = 128
"""Pixels along the shorter side from which the level is taken."""
SINGLE_LIMIT = 5e-5
"""Threshold in electrons per pixel below which rounding in float32 would decide on the convergence."""
BAND = 64
"""Rows that are held at once, besides those that the kernel reaches."""


class Gains(NamedTuple):
    """What makes electrons of the pixels.

    Attributes
    ----------
    boxes : `numpy.ndarray`, (n, 4), int64
        x0, y0, width, height of the amplifiers; they do not overlap. Pixels
        outside count as 0.
    values : `numpy.ndarray`, (n,), float32
        Electrons per unit of the image.
    """

    boxes: npt.NDArray[np.int64]
    values: Row

    def electrons(self, image: Image) -> Image:
        """Return the image in electrons."""
        electrons = np.zeros_like(image)
        for (x0, y0, width, height), gain in zip(self.boxes.tolist(), self.values, strict=True):
            box = slice(y0, y0 + height), slice(x0, x0 + width)
            np.multiply(image[box], gain, out=electrons[box])
        return electrons


def charge_correction(
    image: Image,
    gains: Gains,
    kernel: Kernel,
    max_iterations: int,
    threshold: float,
    *,
    conserve: bool = False,
) -> tuple[Image, int, float]:
    """Return what brings the charge of an image back to where it would have been collected.

    Parameters
    ----------
    image : `numpy.ndarray`, (ny, nx), float32
        Image; not changed. Non-finite pixels count as 0.
    gains : `Gains`
        What makes electrons of it.
    kernel : `numpy.ndarray`, (n, n), float64
        Kernel ``[y, x]`` (1/electron), n odd.
    max_iterations : `int`
        Number of iterations at most.
    threshold : `float`
        Iteration ends when the sum of the absolute changes of all pixels
        (electron) is below this; never before the second iteration.
    conserve : `bool`, optional
        Whether to move charge between neighbouring pixels instead (LSST's
        variant, DM-38555): the correction is a sum of flows across pixel
        borders, ``- T (P' - P) / 2`` with *T* of the pixel that the charge
        comes from, so that the total charge is conserved. Outside the image
        the level counts as charge; like the reference the flow uses *T* with
        the mean of the image taken out.

    Returns
    -------
    correction : `numpy.ndarray`, (ny, nx), float32 or float64
        To be added to the image (electron). Unless ``conserve``, it is 0 for
        pixels so near to the edge that the kernel reaches over it.
    iteration : `int`
        The last iteration, counted from 0.
    change : `float`
        Sum of the absolute changes in it (electron).

    Notes
    -----
    The border that is left alone is one pixel wider at the upper edges than at
    the lower ones, as in LSST (spec 4.12 item 3).
    """
    dtype = np.float64 if threshold < SINGLE_LIMIT * image.size else np.float32
    electrons = gains.electrons(image)
    if conserve:
        return _conserving_correction(electrons, kernel, max_iterations, threshold, dtype)
    level = _typical_level(electrons)
    del electrons  # 34 MB
    folded, is_quarter = fold(kernel, dtype)
    correction = np.zeros(image.shape, dtype)
    change, iteration = float("inf"), -1
    for iteration in range(max_iterations):
        of_corrections = _deflect(image, gains, level, folded, is_quarter, len(kernel) // 2, correction)
        if iteration == 0:
            continue
        # The reference compares with an image of zeros the first time.
        change = _sum_of_charge(image, gains, level, correction) if iteration == 1 else of_corrections
        if change < threshold:
            break
    return correction, iteration, change


def _conserving_correction(
    electrons: Image, kernel: Kernel, max_iterations: int, threshold: float, dtype: type
) -> tuple[Image, int, float]:
    """Do the same by flows; it feels the level that is taken out, which must be the mean."""
    usable = np.isfinite(electrons)
    level = float(np.mean(electrons, where=usable, dtype=np.float64)) if usable.any() else 0.0
    base: Image = np.empty(electrons.shape, dtype)
    _take_out(electrons, level, base)
    folded, is_quarter = fold(kernel, dtype)
    half = len(kernel) // 2
    correction, old, new = np.zeros_like(base), base, base.copy()
    change, iteration = float("inf"), -1
    for iteration in range(max_iterations):
        of_corrections = _flow(old, folded, is_quarter, half, base, usable, correction, new)
        old, new = new, (base.copy() if old is base else old)
        if iteration == 0:
            continue
        change = _sum_of_all(old) if iteration == 1 else of_corrections
        if change < threshold:
            break
    return correction, iteration, change


def _typical_level(electrons: Image) -> float:
    """Return a level near the sky."""
    step = max(1, min(electrons.shape) // LEVEL_SAMPLES)
    sample = electrons[::step, ::step]
    sample = sample[np.isfinite(sample)]
    return float(np.median(sample)) if len(sample) else 0.0


@numba.njit(cache=True, nogil=True)
def _take_out(electrons: Image, level: float, out: Image) -> None:
    """Write the image less its level, with 0 for pixels that are not finite."""
    for y in range(electrons.shape[0]):
        for x in range(electrons.shape[1]):
            value = electrons[y, x]
            out[y, x] = np.float64(value) - level if np.isfinite(value) else 0.0


@numba.njit(cache=True, nogil=True)
def _deflect(
    image: Image,
    gains: Gains,
    level: float,
    folded: Image,
    is_quarter: bool,
    half: int,
    correction: Image,
) -> float:
    """Replace the correction by that of the corrected image.

    The corrected image is made row by row, and kept as long as the kernel
    reaches it. Returns the sum of the absolute changes of the correction.
    """
    ny, nx = image.shape
    reach = max(half, UNROLLED) + 1
    held = np.empty((BAND + 2 * reach + 1, nx), correction.dtype)
    bottom = top = 0  # rows of the image that are held
    single_level = folded.dtype.type(level)
    potential = np.zeros((3, nx), folded.dtype)
    scratch = np.zeros(nx + PADDING, folded.dtype)
    row = np.zeros(nx, folded.dtype)
    change = 0.0
    first, last = half + 1, ny - half - 2  # rows that are corrected: first <= y < last
    left, right = half + 1, max(half + 1, nx - half - 2)
    for y in range(first - 2, last):
        wanted = min(ny, y + 1 + reach)
        if wanted > top:
            lowest = max(0, y - reach)
            for k in range(lowest, top):
                held[k - lowest] = held[k - bottom]
            bottom = lowest
            highest = min(ny, bottom + len(held))
            for k in range(max(top, bottom), highest):
                _row_of_charge(image, gains, level, correction, k, held[k - bottom])
            top = highest
        part, here = held[: top - bottom], y - bottom
        potential_row(part, folded, is_quarter, here + 1, potential[(y + 1) % 3], scratch)
        if y < first:
            continue
        potentials = potential[(y - 1) % 3], potential[y % 3], potential[(y + 1) % 3]
        _correction_row(part[here - 1], part[here], part[here + 1], *potentials, single_level, row)
        change += _sum_of_changes(row, correction[y], left, right)
        correction[y, left:right] = row[left:right]
    return change


@numba.njit(cache=True, nogil=True)
def _row_of_charge(image: Image, gains: Gains, level: float, correction: Image, y: int, out: Row) -> None:
    """Write a row of the corrected image, in electrons, less the level."""
    boxes, values = gains
    out[:] = -level
    for k in range(len(boxes)):
        x0, y0, width, height = boxes[k, 0], boxes[k, 1], boxes[k, 2], boxes[k, 3]
        if y0 <= y < y0 + height:
            _take_out_of_row(image[y, x0 : x0 + width], values[k], level, out[x0 : x0 + width])
    _add_row(out, correction[y])


@numba.njit(cache=True, nogil=True)
def _take_out_of_row(pixels: Row, gain: np.float32, level: float, out: Row) -> None:
    for x in range(len(pixels)):
        value = pixels[x] * gain
        out[x] = np.float64(value) - level if np.isfinite(value) else -level


@numba.njit(cache=True, nogil=True)
def _correction_row(
    image_below: Row,
    image: Row,
    image_above: Row,
    below: Row,
    here: Row,
    above: Row,
    level: np.float32,
    out: Row,
) -> None:
    """Write the correction of one row; the first and last pixel are not written.

    A function of its own, with few arrays, so that the compiler can tell that
    they do not overlap and use vector instructions.
    """
    for x in range(1, len(out) - 1):
        gradients = (image_above[x] - image_below[x]) * (above[x] - below[x])
        gradients += (image[x + 1] - image[x - 1]) * (here[x + 1] - here[x - 1])
        twice = here[x] + here[x]
        laplacian = (above[x] - twice + below[x]) + (here[x + 1] - twice + here[x - 1])
        charge = image[x] + level
        out[x] = np.float32(0.5) * (np.float32(0.25) * gradients + charge * laplacian)


@numba.njit(cache=True, nogil=True)
def _add_row(total: Row, row: Row) -> None:
    for x in range(len(total)):
        total[x] += row[x]


@numba.njit(cache=True, nogil=True)
def _sum_of_charge(image: Image, gains: Gains, level: float, correction: Image) -> float:
    """Sum the absolute values of the corrected image."""
    total = 0.0
    row = np.empty(image.shape[1], correction.dtype)
    against = np.full(image.shape[1], -level)
    for y in range(image.shape[0]):
        _row_of_charge(image, gains, level, correction, y, row)
        total += _sum_of_changes(row, against, 0, image.shape[1])
    return total


@numba.njit(cache=True, nogil=True)
def _sum_of_all(image: Image) -> float:
    """Sum the absolute values of an image."""
    total = 0.0
    against = np.zeros(image.shape[1])
    for y in range(image.shape[0]):
        total += _sum_of_changes(image[y], against, 0, image.shape[1])
    return total


@numba.njit(cache=True, nogil=True)
def _sum_of_changes(new: Row, old: Row | npt.NDArray[np.float64], first: int, last: int) -> float:
    """Sum absolute differences in independent lanes, which the compiler can use vectors for."""
    sums = np.zeros(LANES)
    whole = last - (last - first) % LANES
    for x in range(first, whole, LANES):
        for lane in range(LANES):
            sums[lane] += abs(np.float64(new[x + lane]) - np.float64(old[x + lane]))
    for x in range(whole, last):
        sums[0] += abs(np.float64(new[x]) - np.float64(old[x]))
    return sums.sum()


@numba.njit(cache=True, nogil=True)
def _flow(
    image: Image,
    folded: Image,
    is_quarter: bool,
    half: int,
    base: Image,
    usable: npt.NDArray[np.bool_],
    correction: Image,
    corrected: Image,
) -> float:
    """Write base + correction to ``corrected``; return the sum of the absolute changes.

    Within half a kernel of the lower edges there is no potential and no flow,
    as in LSST, where the convolution leaves NaN there.
    """
    ny, nx = image.shape
    potential = np.zeros((2, nx), image.dtype)
    scratch = np.zeros(nx + PADDING, image.dtype)
    flows = np.zeros((2, nx))  # net flow into row y and into row y + 1
    change = 0.0
    if half < ny:
        potential_row(image, folded, is_quarter, half, potential[half % 2], scratch)
    for y in range(half, ny):
        here, above = potential[y % 2], potential[(y + 1) % 2]
        into, into_above = flows[y % 2], flows[(y + 1) % 2]
        into_above[:] = 0.0
        if y + 1 < ny:
            potential_row(image, folded, is_quarter, y + 1, above, scratch)
            for x in range(half, nx):
                slope = np.float64(above[x]) - np.float64(here[x])
                charge = image[y, x] if slope > 0.0 else image[y + 1, x]
                into[x] += 0.5 * charge * slope
                into_above[x] -= 0.5 * charge * slope
        for x in range(half, nx - 1):
            slope = np.float64(here[x + 1]) - np.float64(here[x])
            charge = image[y, x] if slope > 0.0 else image[y, x + 1]
            into[x] += 0.5 * charge * slope
            into[x + 1] -= 0.5 * charge * slope
        for x in range(nx):
            before = np.float64(correction[y, x])
            correction[y, x] = into[x]
            change += abs(np.float64(correction[y, x]) - before)
            corrected[y, x] = base[y, x] + correction[y, x]
            if not usable[y, x]:
                corrected[y, x] = 0.0
    return change
