"""Calibration frames as FITS files: bias, dark, flat, fringe (spec section 8)."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from isr.calibs import CalibImage, CalibInfo
from isr.fits.calib_info import UNIT_KEY, info_cards, known_cards, own_keys, read_info, source_name
from isr.fits.cards import cards_of
from isr.fits.exposure import plane_cards
from isr.fits.hdus import encode_image_hdu, encode_primary, open_fits
from isr.fits.metadata import plain_metadata, visit_info_from
from isr.fits.planes import read_planes

__all__ = ["encode_calib_image", "read_calib_image"]


def read_calib_image(source: str | Path | bytes, kind: str, *, entry: CalibInfo | None = None) -> CalibImage:
    """Read a bias, dark, flat or fringe frame.

    Parameters
    ----------
    source : `str`, `pathlib.Path` or `bytes`
        Path, URI or content of a FITS file in afw's layout (image, mask and
        variance in HDUs 1 to 3, plain or compressed; the mask may have 8, 16
        or 32 bits), or of a bare image.
    kind : `str`
        ``"bias"``, ``"dark"``, ``"flat"`` or ``"fringe"``.
    entry : `isr.calibs.CalibInfo`, optional
        What an index says of the file: its validity is used, its detector and
        filter where the file itself does not state them, its name if
        ``source`` is the content.

    Returns
    -------
    calib : `isr.calibs.CalibImage`
        The calibration. Mask and variance that are zero everywhere are `None`.

    Raises
    ------
    CalibMismatchError
        If the file says that it is of another kind.
    FitsFileError
        If it is not a whole FITS file of that layout.
    HeaderError
        If a header card has a value that makes no sense.
    ObjectError
        If it cannot be read.
    """
    name = source_name(source, entry)
    file = open_fits(source, name)
    read = read_planes(file, with_zeros=False)
    return CalibImage(
        info=read_info(name, file.sha256, kind, read.header, entry, file),
        image=read.image,
        mask=read.mask,
        variance=read.variance,
        planes=read.planes,
        dark_time=visit_info_from({"DARKTIME": read.header.get("DARKTIME")}, file.name).dark_time,
        metadata=plain_metadata(read.header, own_keys(kind)),
    )


def encode_calib_image(calib: CalibImage) -> bytes:
    """Encode a calibration frame in afw's layout.

    Planes are uncompressed, but for a mask or variance that is not there: its
    zeros are compressed (GZIP_2), which takes 0.2 MB instead of 34.

    Detector, filter, unit, dark time and validity stand in the header, so that
    a file that is used for the wrong exposure can be recognised. The same
    calibration gives the same bytes.

    Raises
    ------
    HeaderError
        If FITS cannot hold some metadata.
    """
    info, shape = calib.info, calib.image.shape
    dark_time = None if math.isnan(calib.dark_time) else calib.dark_time
    cards = [
        *cards_of(plain_metadata(calib.metadata, own_keys(info.kind))),
        *info_cards(info),
        *known_cards([("DARKTIME", dark_time, "[s] dark time"), (UNIT_KEY, info.unit, "unit of the image")]),
    ]
    mask = np.zeros(shape, np.int32) if calib.mask is None else calib.mask
    variance = np.zeros(shape, np.float32) if calib.variance is None else calib.variance
    parts = encode_primary(cards)
    absent = {"MASK": calib.mask is None, "VARIANCE": calib.variance is None}
    for name, array in (("IMAGE", calib.image), ("MASK", mask), ("VARIANCE", variance)):
        planes = calib.planes if name == "MASK" else {}
        hdu_cards = plane_cards(name, unit=info.unit, planes=planes)
        parts += encode_image_hdu(array, hdu_cards, "GZIP_2" if absent.get(name) else None)
    return b"".join(parts)
