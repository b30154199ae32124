"""Flat-field division (spec section 4.15)."""

from __future__ import annotations

import logging

from isr.calibs import CalibImage
from isr.corrections import corrections_of, unite_mask
from isr.exposure import Exposure
from isr.mask import remap_planes

__all__ = ["divide_by_flat"]

log = logging.getLogger(__name__)


def divide_by_flat(exposure: Exposure, flat: CalibImage) -> None:
    """Divide by a flat; its mask is ORed in and its variance propagated.

    Parameters
    ----------
    exposure : `isr.exposure.Exposure`
        Assembled exposure (ADU), changed in place.
    flat : `isr.calibs.CalibImage`
        Relative response; not renormalised.

    Notes
    -----
    With image *i* of variance *v* and flat *f* of variance *w* the variance
    becomes ``(i**2 w + f**2 v) / f**4``: products in float32, the division in
    float64 (spec 4.15). A zero in the flat gives inf or NaN, which nothing
    masks afterwards, as in LSST.
    """
    corrections_of(exposure, "flat", flat).flat = flat.image, flat.variance
    if flat.mask is not None:
        unite_mask(exposure, remap_planes(flat.mask, flat.planes, exposure.planes))
    log.info("Divided by flat %s", flat.info.name)
