"""Dark subtraction (spec section 4.13)."""

from __future__ import annotations

import logging
import math

import numba
import numpy as np
import numpy.typing as npt

from isr.calibs import CalibImage
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
    _subtract_scaled(exposure.image, dark.image, np.float32(scale))
    if dark.mask is not None:
        exposure.mask |= remap_planes(dark.mask, dark.planes, exposure.planes)
    if dark.variance is not None:
        _add_scaled(exposure.variance, dark.variance, np.float32(scale * scale))
    log.info("Dark %s subtracted, scaled by %.6g", dark.info.name, scale)


@numba.njit(cache=True, nogil=True)
def _subtract_scaled(
    image: npt.NDArray[np.float32], dark: npt.NDArray[np.float32], scale: np.float32
) -> None:
    for y in range(image.shape[0]):
        for x in range(image.shape[1]):
            image[y, x] -= scale * dark[y, x]


@numba.njit(cache=True, nogil=True)
def _add_scaled(variance: npt.NDArray[np.float32], added: npt.NDArray[np.float32], scale: np.float32) -> None:
    for y in range(variance.shape[0]):
        for x in range(variance.shape[1]):
            variance[y, x] += scale * added[y, x]
