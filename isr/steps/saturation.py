"""Saturated and suspect pixels, on raw ADU (spec section 4.2)."""

from __future__ import annotations

import logging
import math

import numba
import numpy as np
import numpy.typing as npt

from isr.camera import Amplifier, Box
from isr.config import IsrConfig
from isr.exposure import Exposure
from isr.numerics.rounding import at_least

__all__ = ["mask_saturation"]

log = logging.getLogger(__name__)


def mask_saturation(frame: Exposure, amplifier: Amplifier, config: IsrConfig) -> bool:
    """Mask the saturated and the suspect pixels of an amplifier.

    Parameters
    ----------
    frame : `isr.exposure.Exposure`
        Raw frame, ADU with the bias level in; its mask is changed in place.
    amplifier : `isr.camera.Amplifier`
        The whole raw strip of this amplifier, overscan included, is looked at.
    config : `isr.config.IsrConfig`
        ``doSaturation``, ``doSuspect`` and their levels and planes. Pixels *at* a
        level are over it; a NaN level masks nothing.

    Returns
    -------
    all_masked : `bool`
        Whether every imaging pixel is saturated or suspect; then they are all
        made BAD, and the amplifier has no usable overscan.
    """
    levels = {}
    if config.doSaturation:
        own = not math.isfinite(config.saturation)
        levels[config.saturatedMaskName] = amplifier.saturation if own else config.saturation
    if config.doSuspect:
        levels[config.suspectMaskName] = amplifier.suspect_level
    bits = 0
    for plane, level in levels.items():
        bit = 1 << frame.planes.add(plane)
        bits |= bit
        if not math.isnan(level):
            box = amplifier.raw_bbox
            count = _mask_at_or_above(frame.image, frame.mask, box, at_least(level), np.int32(bit))
            log.info("%s amplifier %s: %d pixels at or above %g adu", plane, amplifier.name, count, level)
    box = amplifier.raw_data_bbox
    all_masked = bits != 0 and bool(_all_have(frame.mask, box, np.int32(bits)))
    if all_masked:
        log.warning("Amplifier %s is saturated or suspect in every pixel: made BAD", amplifier.name)
        frame.mask[box.slices] |= frame.planes.bitmask("BAD")
    return all_masked


@numba.njit(cache=True, nogil=True)
def _all_have(mask: npt.NDArray[np.int32], box: Box, bits: np.int32) -> bool:
    """Tell whether every pixel of a box has any of ``bits``; stops at the first that has not."""
    x0, y0, width, height = box
    for y in range(y0, y0 + height):
        for x in range(x0, x0 + width):
            if (mask[y, x] & bits) == 0:
                return False
    return True


@numba.njit(cache=True, nogil=True)
def _mask_at_or_above(
    image: npt.NDArray[np.float32], mask: npt.NDArray[np.int32], box: Box, level: np.float32, bit: np.int32
) -> int:
    x0, y0, width, height = box
    count = 0
    for y in range(y0, y0 + height):
        pixels = image[y, x0 : x0 + width]  # counting from 0 lets the compiler use vectors
        in_row = np.int32(0)
        for x in range(width):
            in_row += np.int32(pixels[x] >= level)
        if in_row:
            count += int(in_row)
            for x in range(width):
                if pixels[x] >= level:
                    mask[y, x0 + x] |= bit
    return count
