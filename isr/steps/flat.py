"""Flat-field division (spec section 4.15)."""

from __future__ import annotations

import logging

import numba
import numpy as np
import numpy.typing as npt

from isr.calibs import CalibImage
from isr.exposure import Exposure
from isr.mask import remap_planes

__all__ = ["divide_by_flat"]

log = logging.getLogger(__name__)

Image = npt.NDArray[np.float32]


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
    no_variance = flat.variance is None
    flat_variance = flat.image[:1, :1] if flat.variance is None else flat.variance
    _divide(exposure.image, exposure.variance, flat.image, flat_variance, no_variance)
    if flat.mask is not None:
        exposure.mask |= remap_planes(flat.mask, flat.planes, exposure.planes)
    log.info("Divided by flat %s", flat.info.name)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _divide(image: Image, variance: Image, flat: Image, flat_variance: Image, no_variance: bool) -> None:
    for y in range(image.shape[0]):
        for x in range(image.shape[1]):
            i, f = image[y, x], flat[y, x]
            w = np.float32(0.0) if no_variance else flat_variance[y, x]
            square = f * f
            numerator = i * i * w + square * variance[y, x]
            variance[y, x] = np.float64(numerator) / (np.float64(square) * np.float64(square))
            image[y, x] = i / f
