"""Stray light of HSC-Y as wavelet coefficients in FITS images (spec section 4.14)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from isr.calibs import CalibInfo, StrayLight
from isr.errors import FitsFileError, HeaderError
from isr.fits.calib_info import info_cards, read_info, source_name
from isr.fits.cards import Card, Part, encode_hdu
from isr.fits.hdus import FitsFile, open_fits

__all__ = ["encode_stray_light", "read_stray_light"]

ANGLES = 720
"""Rotator angles in a turn, before compression."""
_LEVELS = ("WTLEVEL1", "WTLEVEL2", "WTLEVEL3")


def read_stray_light(source: str | Path | bytes, *, entry: CalibInfo | None = None) -> StrayLight:
    """Read the stray light of a detector (dataset type ``yBackground``).

    Parameters
    ----------
    source : `str`, `pathlib.Path` or `bytes`
        Path, URI or content of a FITS file with one image (angle, y, x) for
        each amplifier, left to right, the first in the primary HDU, whose
        header has F_NAXIS1, F_NAXIS2 (columns, rows of an amplifier) and
        WTLEVEL1 to WTLEVEL3 (levels along x, y and angle).
    entry : `isr.calibs.CalibInfo`, optional
        What an index says of the file, see `isr.fits.calib.read_calib_image`.

    Raises
    ------
    FitsFileError
        If an image has not the shape that the header implies.
    HeaderError
        If a keyword is missing or makes no sense.
    ObjectError
        If the file cannot be read.
    """
    name = source_name(source, entry)
    file = open_fits(source, name)
    header = file.cards(0)
    columns, rows = (_integer(header, key, file.name, 1) for key in ("F_NAXIS1", "F_NAXIS2"))
    x_level, y_level, angle_level = (_integer(header, key, file.name, 0) for key in _LEVELS)
    sizes = ((ANGLES, angle_level), (rows, y_level), (columns, x_level))
    expected = tuple(-(-size // 2**level) for size, level in sizes)
    cubes = tuple(_cube(file, index, expected) for index in range(len(file.units)))
    info = read_info(name, file.sha256, "yBackground", header, entry)
    return StrayLight(info, cubes, (rows, columns), (x_level, y_level, angle_level))


def encode_stray_light(stray_light: StrayLight) -> bytes:
    """Encode stray light as obs_subaru's ``SubaruStrayLightData`` reads it.

    The same stray light gives the same bytes.
    """
    rows, columns = stray_light.shape
    levels = zip(_LEVELS, stray_light.levels, strict=True)
    cards = [
        *[("F_NAXIS1", columns, "columns of an amplifier"), ("F_NAXIS2", rows, "rows of an amplifier")],
        *[(key, level, "level of the wavelet transform") for key, level in levels],
        *info_cards(stray_light.info),
    ]
    parts: list[Part] = []
    for cube in stray_light.cubes:
        n_angles, ny, nx = cube.shape
        first: list[Card] = [("XTENSION", "IMAGE", "image extension")] if parts else [("SIMPLE", True, "")]
        last: list[Card] = [("PCOUNT", 0, ""), ("GCOUNT", 1, "")] if parts else [("EXTEND", True, ""), *cards]
        axes: list[Card] = [
            *[("BITPIX", -32, ""), ("NAXIS", 3, "")],
            *[("NAXIS1", nx, ""), ("NAXIS2", ny, ""), ("NAXIS3", n_angles, "")],
        ]
        parts += encode_hdu([*first, *axes, *last], cube.astype(">f4").tobytes())
    return b"".join(parts)


def _cube(file: FitsFile, index: int, expected: tuple[int, ...]) -> npt.NDArray[np.float32]:
    try:
        data: Any = file.hdus[index].data
        shape = np.shape(data)
    except Exception as error:  # a damaged header can make astropy raise anything
        raise FitsFileError(
            f"{file.name}, HDU {index}: unreadable image ({error}); fetch it again."
        ) from error
    if shape != expected:
        raise FitsFileError(
            f"{file.name}, HDU {index}: shape {shape}, but F_NAXIS1, F_NAXIS2 and WTLEVEL1 to WTLEVEL3 of "
            f"the primary header imply {expected} (angle, y, x); fetch the file again."
        )
    return np.ascontiguousarray(data, np.float32)


def _integer(header: dict[str, Any], key: str, name: str, minimum: int) -> int:
    value = header.get(key)
    if type(value) is not int or not minimum <= value <= 2**16:
        raise HeaderError(
            f"{name}: header card {key} = {value!r}, expected an integer from {minimum}; give a yBackground "
            "file."
        )
    return value
