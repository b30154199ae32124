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

import numba
import numpy as np
import numpy.typing as npt

from isr.numerics.potential import PADDING, fold, potential_row

__all__ = ["charge_correction"]

Image = npt.NDArray[np.float32]
Row = npt.NDArray[np.float32]
Kernel = npt.NDArray[np.float64]

LANES = 8
LEVEL_SAMPLES = 128
"""Pixels along the shorter side from which the level is taken."""
SINGLE_LIMIT = 5e-5
"""Threshold in electrons per pixel below which rounding in float32 would decide on the convergence."""


def charge_correction(
    electrons: Image, kernel: Kernel, max_iterations: int, threshold: float, *, conserve: bool = False
) -> tuple[Image, int, float]:
    """Return what brings the charge of an image back to where it would have been collected.

    Parameters
    ----------
    electrons : `numpy.ndarray`, (ny, nx), float32
        Image (electron); not changed. Non-finite pixels count as 0.
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
    level = _level(electrons, conserve=conserve)
    dtype = np.float64 if threshold < SINGLE_LIMIT * electrons.size else np.float32
    base = np.empty(electrons.shape, dtype)
    _take_out(electrons, level, 0.0 if conserve else -level, base)
    folded, is_quarter = fold(kernel, dtype)
    half = len(kernel) // 2
    correction = np.zeros_like(base)
    old, new = base, base.copy() if conserve else base
    usable = np.isfinite(electrons) if conserve else np.zeros((0, 0), np.bool_)
    change, iteration = float("inf"), -1
    for iteration in range(max_iterations):
        if conserve:
            flow_change = _flow(old, folded, is_quarter, half, base, usable, correction, new)
            old, new = new, (base.copy() if old is base else old)
        else:
            flow_change = _deflect(old, level, folded, is_quarter, half, electrons, correction)
        if iteration == 0:
            continue
        # The reference compares with an image of zeros the first time.
        offset = 0.0 if conserve else level
        change = _sum_of_charge(old, offset) if iteration == 1 else flow_change
        if change < threshold:
            break
    return correction, iteration, change


def _level(electrons: Image, *, conserve: bool) -> float:
    """Return the level to take out.

    The conserving variant feels it: it must be the mean. For the other one
    anything near the sky will do.
    """
    if conserve:
        usable = np.isfinite(electrons)
        return float(np.mean(electrons, where=usable, dtype=np.float64)) if usable.any() else 0.0
    step = max(1, min(electrons.shape) // LEVEL_SAMPLES)
    sample = electrons[::step, ::step]
    sample = sample[np.isfinite(sample)]
    return float(np.median(sample)) if len(sample) else 0.0


@numba.njit(cache=True, nogil=True)
def _take_out(electrons: Image, level: float, instead: float, out: Image) -> None:
    """Write the image less its level, with ``instead`` for pixels that are not finite."""
    for y in range(electrons.shape[0]):
        _take_out_of_row(electrons[y], level, instead, out[y])


@numba.njit(cache=True, nogil=True)
def _take_out_of_row(electrons: Row, level: float, instead: float, out: Row) -> None:
    for x in range(len(electrons)):
        value = electrons[x]
        out[x] = np.float64(value) - level if np.isfinite(value) else instead


@numba.njit(cache=True, nogil=True)
def _deflect(
    image: Image,
    level: float,
    folded: Image,
    is_quarter: bool,
    half: int,
    electrons: Image,
    correction: Image,
) -> float:
    """Replace the correction by that of ``image``, and ``image`` by the corrected one.

    Corrected rows wait until nobody needs the old ones. Returns the sum of the
    absolute changes of the correction.
    """
    ny, nx = image.shape
    single_level = folded.dtype.type(level)
    potential = np.zeros((3, nx), image.dtype)
    scratch = np.zeros(nx + PADDING, image.dtype)
    row = np.zeros(nx, image.dtype)
    delay = max(half - 1, 1)
    waiting = np.zeros((delay + 1, nx), image.dtype)
    change = 0.0
    first, last = half + 1, ny - half - 2  # rows that are corrected: first <= y < last
    left, right = half + 1, max(half + 1, nx - half - 2)
    for y in range(first - 1, min(first + 1, ny)):
        potential_row(image, folded, is_quarter, y, potential[y % 3], scratch)
    for y in range(first, last + delay):
        if y < last:
            potential_row(image, folded, is_quarter, y + 1, potential[(y + 1) % 3], scratch)
            below, here, above = potential[(y - 1) % 3], potential[y % 3], potential[(y + 1) % 3]
            _correction_row(image[y - 1], image[y], image[y + 1], below, here, above, single_level, row)
            change += _sum_of_changes(row, correction[y], left, right)
            correction[y, left:right] = row[left:right]
            corrected = waiting[y % (delay + 1)]
            _take_out_of_row(electrons[y], level, -level, corrected)
            _add_row(corrected, row, left, right)
        if first <= y - delay < last:
            image[y - delay, left:right] = waiting[(y - delay) % (delay + 1), left:right]
    return change


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
def _add_row(total: Row, row: Row, first: int, last: int) -> None:
    for x in range(first, last):
        total[x] += row[x]


@numba.njit(cache=True, nogil=True)
def _sum_of_charge(image: Image, level: float) -> float:
    total = 0.0
    against = np.full(image.shape[1], -level)
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
