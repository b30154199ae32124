"""Dark subtraction (spec section 4.13)."""

from __future__ import annotations

import logging
import math

import numpy as np

from isr.calibs import CalibImage
from isr.corrections import corrections_of, unite_mask
from isr.errors import ProcessingError
from isr.exposure import Exposure
from isr.mask import remap_planes

__all__ = ["dark_scale", "subtract_dark"]

log = logging.getLogger(__name__)


def dark_scale(exposure: Exposure, dark: CalibImage) -> float:
    """Return the dark time of the exposure over that of the dark frame.

    A dark frame that states no dark time belongs to one second (spec 4.13).

    Raises
    ------
    ProcessingError
        If the dark time of the exposure is not known, or that of the dark
        frame is not positive.
    """
    dark_time = exposure.visit_info.dark_time
    if not math.isfinite(dark_time):
        raise ProcessingError(
            f"Visit {exposure.visit_info.visit} detector {exposure.detector.id}: the dark time is "
            f"{dark_time}, so the dark frame cannot be scaled; mend EXPTIME in the raw header or set "
            "doDark=False."
        )
    if math.isnan(dark.dark_time):
        log.warning("Dark %s states no dark time (DARKTIME): 1 s assumed", dark.info.name)
        return dark_time
    if not dark.dark_time > 0.0 or math.isinf(dark.dark_time):
        raise ProcessingError(
            f"dark {dark.info.name}: DARKTIME is {dark.dark_time}, expected a positive number of seconds."
        )
    return dark_time / dark.dark_time


def subtract_dark(exposure: Exposure, dark: CalibImage) -> None:
    """Subtract the scaled dark frame; mask ORed in, variance added.

    Parameters
    ----------
    exposure : `isr.exposure.Exposure`
        Assembled exposure (ADU), changed in place.
    dark : `isr.calibs.CalibImage`
        Dark frame (ADU per its dark time).

    Raises
    ------
    ProcessingError
        See `dark_scale`.
    """
    scale = dark_scale(exposure, dark)
    notes = corrections_of(exposure, "dark", dark)
    notes.dark = dark.image, dark.variance, np.float32(scale), np.float32(scale * scale)
    if dark.mask is not None:
        unite_mask(exposure, remap_planes(dark.mask, dark.planes, exposure.planes))
    log.info("Dark %s subtracted, scaled by %.6g", dark.info.name, scale)
