"""Bias subtraction (spec section 4.6)."""

from __future__ import annotations

import logging

from isr.calibs import CalibImage
from isr.exposure import Exposure
from isr.mask import remap_planes

__all__ = ["subtract_bias"]

log = logging.getLogger(__name__)


def subtract_bias(exposure: Exposure, bias: CalibImage) -> None:
    """Subtract a bias frame; its mask is ORed in and its variance added.

    Parameters
    ----------
    exposure : `isr.exposure.Exposure`
        Assembled exposure (ADU), changed in place.
    bias : `isr.calibs.CalibImage`
        Bias frame (ADU).

    Notes
    -----
    The variance added here is lost when `isr.steps.variance.compute_variance`
    runs after it, as in LSST (spec 4.6).
    """
    exposure.image -= bias.image
    if bias.mask is not None:
        exposure.mask |= remap_planes(bias.mask, bias.planes, exposure.planes)
    if bias.variance is not None:
        exposure.variance += bias.variance
    log.info("Bias %s subtracted", bias.info.name)
