"""Calibrations of all kinds as files, in LSST's formats (spec section 8)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from isr.calibs import (
    BrighterFatterKernel,
    Calib,
    CalibImage,
    CalibInfo,
    Crosstalk,
    Defects,
    Linearizer,
    StrayLight,
)
from isr.errors import CalibMismatchError
from isr.fits.calib_crosstalk import encode_crosstalk, read_crosstalk
from isr.fits.calib_defects import encode_defects, read_defects
from isr.fits.calib_image import encode_calib_image, read_calib_image
from isr.fits.calib_info import source_name
from isr.fits.calib_kernel import (
    encode_brighter_fatter_kernel,
    encode_kernel_array,
    read_brighter_fatter_kernel,
    read_kernel_array,
)
from isr.fits.calib_linearizer import encode_linearizer, read_linearizer
from isr.fits.calib_stray_light import encode_stray_light, read_stray_light
from isr.fits.hdus import reading

__all__ = [
    "encode_brighter_fatter_kernel",
    "encode_calib",
    "encode_calib_image",
    "encode_crosstalk",
    "encode_defects",
    "encode_kernel_array",
    "encode_linearizer",
    "encode_stray_light",
    "read_brighter_fatter_kernel",
    "read_calib",
    "read_calib_image",
    "read_crosstalk",
    "read_defects",
    "read_kernel_array",
    "read_linearizer",
    "read_stray_light",
]

IMAGE_KINDS = ("bias", "dark", "flat", "fringe")
READERS: Mapping[str, Callable[..., Calib]] = {
    "defects": read_defects,
    "linearizer": read_linearizer,
    "crosstalk": read_crosstalk,
    "bfKernel": read_kernel_array,
    "brighterFatterKernel": read_brighter_fatter_kernel,
    "yBackground": read_stray_light,
}


def read_calib(source: str | Path | bytes, kind: str, *, entry: CalibInfo | None = None) -> Calib:
    """Read a calibration.

    Parameters
    ----------
    source : `str`, `pathlib.Path` or `bytes`
        Path, URI or content.
    kind : `str`
        LSST's dataset type: ``"bias"``, ``"dark"``, ``"flat"``, ``"fringe"``,
        ``"defects"``, ``"linearizer"``, ``"crosstalk"``, ``"bfKernel"``,
        ``"brighterFatterKernel"`` or ``"yBackground"``.
    entry : `isr.calibs.CalibInfo`, optional
        What an index says of the file, see `read_calib_image`.

    Raises
    ------
    CalibMismatchError
        If there is no such kind, or the file is of another.
    FitsFileError, HeaderError, ObjectError
        If it cannot be read, see the reader of the kind.
    """
    if kind not in (*IMAGE_KINDS, *READERS):
        raise CalibMismatchError(
            f"{kind!r} is no kind of calibration; expected one of {', '.join((*IMAGE_KINDS, *READERS))}."
        )
    with reading(source_name(source, entry), kind):
        if kind in IMAGE_KINDS:
            return read_calib_image(source, kind, entry=entry)
        return READERS[kind](source, entry=entry)


def encode_calib(calib: Calib) -> bytes:
    """Encode a calibration as LSST's reader of its kind accepts it.

    A `isr.calibs.BrighterFatterKernel` whose ``info.kind`` is ``"bfKernel"``
    becomes a pickled array, else a FITS table. The same calibration gives the
    same bytes.

    Raises
    ------
    CalibMismatchError
        If the format has no place for a value of the calibration.
    HeaderError
        If FITS cannot hold some metadata.
    """
    match calib:
        case CalibImage():
            return encode_calib_image(calib)
        case Defects():
            return encode_defects(calib)
        case Linearizer():
            return encode_linearizer(calib)
        case Crosstalk():
            return encode_crosstalk(calib)
        case BrighterFatterKernel():
            is_old = calib.info.kind == "bfKernel"
            return encode_kernel_array(calib) if is_old else encode_brighter_fatter_kernel(calib)
        case StrayLight():
            return encode_stray_light(calib)
