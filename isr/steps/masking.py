"""Non-finite pixels, bleed trails, edges (spec sections 4.11 and 4.12 item 6)."""

from __future__ import annotations

import logging

import numba
import numpy as np
import numpy.typing as npt

from isr.config import IsrConfig
from isr.exposure import Exposure
from isr.numerics.runs import find_runs

__all__ = [
    "mask_edges",
    "mask_non_finite",
    "mask_suspect_edges",
    "warn_of_unmasked",
    "widen_saturation_trails",
]

log = logging.getLogger(__name__)

Mask = npt.NDArray[np.int32]

SAMPLE = 64
TRAIL_GROWTH = np.array([0, 0, 0, 0, 0, 0, 1, 1, 3, 3, 4])
"""Pixels by which a run grows on either side, by its width; the last is for all wider runs."""


def mask_non_finite(exposure: Exposure) -> int:
    """Set UNMASKEDNAN where image or variance is not finite, masked or not.

    Returns
    -------
    count : `int`
        Number of such pixels.
    """
    bit = 1 << exposure.planes.add("UNMASKEDNAN")
    count = 0
    if exposure.compute() != 0:
        count = int(_mask_non_finite(exposure.image, exposure.variance, exposure.mask, np.int32(bit)))
    log.info("Non-finite pixels: %d", count)
    return count


def warn_of_unmasked(exposure: Exposure) -> None:
    """Log a warning if there are pixels that are not finite and have no mask bit at all.

    A zero or NaN in the flat makes them; LSST does not mask them either (see
    ``maskNonFiniteAfterFlat``).
    """
    is_finite = exposure.compute() == 0
    count = 0 if is_finite else _count_unmasked(exposure.image, exposure.variance, exposure.mask)
    if count:
        log.warning(
            "%d pixels are not finite and not masked (a calibration with zeros, NaN or inf?); "
            "maskNonFiniteAfterFlat=True masks them",
            count,
        )
    if not np.isfinite(exposure.image[::SAMPLE, ::SAMPLE]).any() and not np.isfinite(exposure.image).any():
        log.warning("No pixel of the image is finite: a calibration is NaN or inf in every pixel")


def widen_saturation_trails(exposure: Exposure, plane: str = "SAT") -> None:
    """Grow each horizontal run of saturated pixels by an amount that depends on its width.

    Wide runs are the cores of bright stars and their bleed trails, next to
    which pixels are spoiled as well: see `TRAIL_GROWTH`.
    """
    bit = np.int32(exposure.planes.bitmask(plane))
    widened = _widen(exposure.mask, find_runs(exposure.mask, bit), bit, TRAIL_GROWTH)
    log.info("Saturation trails: %d pixels added to %s", widened, plane)


def mask_suspect_edges(exposure: Exposure, config: IsrConfig) -> None:
    """Mark the outermost ``numEdgeSuspect`` pixels of the detector, or of each amplifier."""
    level, width, plane = config.edgeMaskLevel, config.numEdgeSuspect, config.suspectMaskName
    boxes = [amp.bbox for amp in exposure.detector.amplifiers] if level == "AMP" else [exposure.detector.bbox]
    bit = 1 << exposure.planes.add(plane)
    for box in boxes:
        _mask_border(exposure.mask[box.slices], width, bit)
    log.info("Edges: the outermost %d pixels of each %s marked %s", width, level.lower(), plane)


def mask_edges(exposure: Exposure, width: int, plane: str) -> None:
    """Set ``plane`` on the outermost ``width`` pixels of all four sides."""
    _mask_border(exposure.mask, width, 1 << exposure.planes.add(plane))


def _mask_border(mask: Mask, width: int, bit: int) -> None:
    if width > 0:
        mask[:width] |= bit
        mask[-width:] |= bit
        mask[width:-width, :width] |= bit
        mask[width:-width, -width:] |= bit


@numba.njit(cache=True, nogil=True)
def _mask_non_finite(
    image: npt.NDArray[np.float32], variance: npt.NDArray[np.float32], mask: Mask, bit: np.int32
) -> int:
    count = 0
    for y in range(image.shape[0]):
        in_row = 0
        for x in range(image.shape[1]):
            # 0 * inf and 0 * NaN are NaN, which does not equal itself
            spoiled = image[y, x] * np.float32(0.0) + variance[y, x] * np.float32(0.0)
            in_row += spoiled != np.float32(0.0)
        if in_row:
            for x in range(image.shape[1]):
                if not (np.isfinite(image[y, x]) and np.isfinite(variance[y, x])):
                    mask[y, x] |= bit
        count += in_row
    return count


@numba.njit(cache=True, nogil=True)
def _count_unmasked(image: npt.NDArray[np.float32], variance: npt.NDArray[np.float32], mask: Mask) -> int:
    count = 0
    for y in range(image.shape[0]):
        in_row = np.int32(0)
        for x in range(image.shape[1]):
            # 0 * inf and 0 * NaN are NaN, which does not equal itself
            spoiled = image[y, x] * np.float32(0.0) + variance[y, x] * np.float32(0.0)
            in_row += np.int32((spoiled != np.float32(0.0)) & (mask[y, x] == 0))
        count += int(in_row)
    return count


@numba.njit(cache=True, nogil=True)
def _widen(mask: Mask, runs: npt.NDArray[np.int32], bit: np.int32, growth: npt.NDArray[np.int64]) -> int:
    added = 0
    for i in range(len(runs)):
        y, x0, x1 = runs[i, 0], runs[i, 1], runs[i, 2]
        grow = growth[min(x1 - x0 + 1, len(growth) - 1)]
        for x in range(max(0, x0 - grow), min(mask.shape[1], x1 + grow + 1)):
            added += (mask[y, x] & bit) == 0
            mask[y, x] |= bit
    return added
