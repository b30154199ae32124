"""Saturated and suspect pixels, on raw ADU (spec section 4.2)."""

from __future__ import annotations

import logging
import math

from isr.camera import Amplifier
from isr.config import IsrConfig
from isr.exposure import Exposure
from isr.raw_planes import planes_of

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
    levels, planes = {}, planes_of(frame, amplifier, "levels")
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
            count = planes.mask_bright(amplifier, level, bit)
            log.info("%s amplifier %s: %d pixels at or above %g adu", plane, amplifier.name, count, level)
    all_masked = bits != 0 and planes.all_have(amplifier, bits)
    if all_masked:
        log.warning("Amplifier %s is saturated or suspect in every pixel: made BAD", amplifier.name)
        planes.mask_data(amplifier, frame.planes.bitmask("BAD"))
    return all_masked
