"""Exposures as the image types of other packages, which are imported only when they are needed."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from isr.exposure import Exposure

if TYPE_CHECKING:
    from astropy.nddata import CCDData
    from lsst.images import MaskedImage

__all__ = ["BAD_PLANES", "to_ccddata", "to_masked_image"]

BAD_PLANES = ("BAD", "SAT", "NO_DATA", "UNMASKEDNAN")
"""Mask planes whose pixels are not to be used."""


def to_ccddata(exposure: Exposure, bad_planes: tuple[str, ...] = BAD_PLANES) -> CCDData:
    """Convert an exposure to astropy's image type.

    Parameters
    ----------
    exposure : `isr.exposure.Exposure`
        Exposure; its image and mask are shared, not copied.
    bad_planes : `tuple` [`str`, ...]
        Mask planes that make a pixel masked; those that the exposure lacks do not count.

    Returns
    -------
    ccd : `astropy.nddata.CCDData`
        Data (ny, nx) float32 in ADU; ``uncertainty``: the variance; ``mask``:
        boolean, True where a pixel is bad; ``flags``: the mask bits, numbered
        by ``meta["MASK PLANES"]``; ``wcs``; ``meta``: the metadata.
    """
    from astropy.nddata import CCDData, VarianceUncertainty
    from astropy.wcs import WCS

    planes = exposure.planes
    bits = planes.bitmask(*(name for name in bad_planes if name in planes))
    unit = str(exposure.metadata.get("LSST ISR UNITS") or "adu")
    return CCDData(
        exposure.image,
        unit=unit,
        uncertainty=VarianceUncertainty(exposure.variance, unit=f"{unit}2"),
        mask=(exposure.mask & bits) != 0,
        flags=exposure.mask,
        wcs=WCS(exposure.wcs) if exposure.wcs else None,
        meta=exposure.metadata | {"MASK PLANES": dict(planes)},
    )


def to_masked_image(exposure: Exposure) -> MaskedImage:
    """Convert an exposure to the image type of Rubin's ``lsst-images``.

    Parameters
    ----------
    exposure : `isr.exposure.Exposure`
        Exposure.

    Returns
    -------
    masked_image : `lsst.images.MaskedImage`
        Image, mask and variance; that package renames some mask planes (SAT
        becomes SATURATED). WCS and metadata come along.

    Raises
    ------
    ModuleNotFoundError
        If ``lsst-images`` is not installed.
    """
    try:
        from lsst.images import MaskedImage
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "to_masked_image needs lsst-images: pip install 'hsc-isr[images]'", name=error.name
        ) from error
    from astropy.io import fits

    from isr.fits.exposure import encode_exposure

    # Through our file in memory: lsst-images knows afw's layout, and with it the mask planes.
    with fits.open(io.BytesIO(encode_exposure(exposure))) as hdus:
        return MaskedImage.from_hdu_list(hdus)
