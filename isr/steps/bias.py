"""Bias subtraction (spec section 4.6)."""

from __future__ import annotations

import logging

from isr.calibs import CalibImage
from isr.corrections import corrections_of, unite_mask
from isr.exposure import Exposure
from isr.mask import remap_planes

__all__ = ["subtract_bias"]

log = logging.getLogger(__name__)


def subtract_bias(exposure: Exposure, bias: CalibImage) -> None:
    """Subtract a bias frame; its mask is ORed in and its variance added.

    Parameters
    ----------
    exposure : `isr.exposure.Exposure`
        Exposure (ADU), assembled or not, changed in place.
    bias : `isr.calibs.CalibImage`
        Bias frame (ADU).

    Notes
    -----
    The variance added here is lost when `isr.steps.variance.compute_variance`
    runs after it, as in LSST (spec 4.6).
    """
    if exposure.shape == exposure.detector.shape:
        corrections_of(exposure, "bias", bias).bias = bias.image, bias.variance
    else:  # not assembled yet
        exposure.image -= bias.image
        if bias.variance is not None:
            exposure.variance += bias.variance
    if bias.mask is not None:
        unite_mask(exposure, remap_planes(bias.mask, bias.planes, exposure.planes))
    log.info("Bias %s subtracted", bias.info.name)
