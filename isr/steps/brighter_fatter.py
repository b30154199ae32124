"""Brighter-fatter correction (spec section 4.12)."""

from __future__ import annotations

import logging
import math

import numba
import numpy as np
import numpy.typing as npt

from isr.calibs import BrighterFatterKernel, CalibImage
from isr.camera import Box, Detector
from isr.config import IsrConfig
from isr.errors import ProcessingError
from isr.exposure import Exposure
from isr.mask import MaskPlanes, grow_plane, remap_planes
from isr.numerics.deflection import Gains, charge_correction
from isr.numerics.runs import find_runs
from isr.steps.dark import dark_scale
from isr.steps.interpolate import fill_runs, interpolation_fallback
from isr.steps.masking import mask_edges
from isr.steps.variance import gain_and_noise

__all__ = ["correct_brighter_fatter"]

log = logging.getLogger(__name__)

Image = npt.NDArray[np.float32]


def correct_brighter_fatter(
    exposure: Exposure,
    kernel: BrighterFatterKernel,
    dark: CalibImage | None,
    flat: CalibImage | None,
    config: IsrConfig,
) -> int:
    """Put the charge back to where it would have been collected.

    Parameters
    ----------
    exposure : `isr.exposure.Exposure`
        Assembled exposure (ADU), changed in place: the image; EDGE on the
        outermost pixels, half a kernel wide; the planes of
        ``brighterFatterMaskListToInterpolate`` grown.
    kernel : `isr.calibs.BrighterFatterKernel`
        Kernel (1/electron) and, if it has them, gains.
    dark, flat : `isr.calibs.CalibImage` or `None`
        Frames with which the work copy is cleaned before it is interpolated.
    config : `isr.config.IsrConfig`
        The fields ``brighterFatter...``.

    Returns
    -------
    iteration : `int`
        The last iteration, counted from 0, as IsrTask records it.

    Raises
    ------
    ProcessingError
        If the iteration diverges.

    Notes
    -----
    Method: W. R. Coulton et al., AJ 155 (2018) 258 (`isr.numerics.deflection`).
    The correction is computed in electrons on a copy that is interpolated over
    bad pixels, and only the difference is added to the image.
    """
    work = _working_image(exposure, dark, flat, config)
    gains = _gains(exposure.detector, kernel, config)
    correction, iteration, change = charge_correction(
        work,
        gains,
        kernel.kernel,
        config.brighterFatterMaxIter,
        config.brighterFatterThreshold,
        conserve=config.doFluxConservingBrighterFatterCorrection,
    )
    if iteration > 0 and not math.isfinite(change):
        raise ProcessingError(
            f"bfKernel {kernel.info.name}: the brighter-fatter correction of visit "
            f"{exposure.visit_info.visit} detector {exposure.detector.id} diverges, the kernel is too large "
            f"(its largest element is {np.abs(kernel.kernel).max():.3g} 1/electron, HSC's is 5e-7); give the "
            "right one or set doBrighterFatter=False."
        )
    for amp, gain in zip(exposure.detector.amplifiers, gains.values, strict=True):
        _add_difference(exposure.image, correction, work, amp.bbox, gain)

    mask_edges(exposure, kernel.kernel.shape[0] // 2, "EDGE")
    grown = [name for name in config.brighterFatterMaskListToInterpolate if name in exposure.planes]
    grow_plane(exposure.mask, exposure.planes.bitmask(*grown), config.brighterFatterMaskGrowSize)
    if change >= config.brighterFatterThreshold:
        log.warning("Brighter-fatter: not converged after %d iterations", iteration + 1)
    log.info("Brighter-fatter: %d iterations, last change %.4g electron", iteration + 1, change)
    return iteration


def _gains(detector: Detector, kernel: BrighterFatterKernel, config: IsrConfig) -> Gains:
    """Return the gains by amplifier."""
    amplifiers = detector.amplifiers
    values = [1.0] * len(amplifiers)
    if config.brighterFatterApplyGain:
        values = [kernel.gains.get(amp.name, gain_and_noise(amp)[0]) for amp in amplifiers]
    return Gains(np.array([amp.bbox for amp in amplifiers], np.int64), np.array(values, np.float32))


def _working_image(
    exposure: Exposure, dark: CalibImage | None, flat: CalibImage | None, config: IsrConfig
) -> Image:
    """Return the image with plausible values in bad pixels.

    It is dark-subtracted and flat-fielded, interpolated, and brought back. The
    masks of dark and flat count, but are not given to the exposure here.
    """
    planes = MaskPlanes(exposure.planes)
    mask = exposure.mask.copy()
    for calib in (dark, flat):
        if calib is not None and calib.mask is not None:
            mask |= remap_planes(calib.mask, calib.planes, planes)
    nothing = np.zeros((1, 1), np.float32)
    scale = np.float32(0.0 if dark is None else dark_scale(exposure, dark))
    frames = (
        nothing if dark is None else dark.image,
        scale,
        dark is not None,
        nothing if flat is None else flat.image,
        flat is not None,
    )
    work = np.empty_like(exposure.image)
    _clean(exposure.image, work, *frames)

    wanted = [name for name in config.brighterFatterMaskListToInterpolate if name in planes]
    if config.saturatedMaskName in wanted:
        saturated = planes.bitmask(config.saturatedMaskName)
        grow_plane(mask, saturated, config.growSaturationFootprintSize)
    runs = find_runs(mask, np.int32(planes.bitmask(*wanted)))
    fill_runs(work, runs, interpolation_fallback(work, runs))
    _undo_clean(work, *frames)
    return work


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _clean(
    image: Image, out: Image, dark: Image, scale: np.float32, has_dark: bool, flat: Image, has_flat: bool
) -> None:
    for y in range(image.shape[0]):
        for x in range(image.shape[1]):
            value = image[y, x]
            if has_dark:
                value -= scale * dark[y, x]
            if has_flat:
                value /= flat[y, x]
            out[y, x] = value


@numba.njit(cache=True, nogil=True)
def _undo_clean(
    work: Image, dark: Image, scale: np.float32, has_dark: bool, flat: Image, has_flat: bool
) -> None:
    for y in range(work.shape[0]):
        for x in range(work.shape[1]):
            value = work[y, x]
            if has_flat:
                value *= flat[y, x]
            if has_dark:
                value += scale * dark[y, x]
            work[y, x] = value


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _add_difference(image: Image, correction: Image, work: Image, box: Box, gain: np.float32) -> None:
    x0, y0, width, height = box
    inverse_gain = np.float32(1.0) / gain
    for y in range(y0, y0 + height):
        target, before = image[y, x0 : x0 + width], work[y, x0 : x0 + width]
        added = correction[y, x0 : x0 + width]
        for x in range(width):
            charge = before[x] * gain
            target[x] += np.float32(charge + added[x]) * inverse_gain - before[x]
