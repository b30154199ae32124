"""Image, mask and variance of FITS files: reading and checking."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from isr.errors import FitsFileError
from isr.fits.hdus import FitsFile
from isr.fits.scan import Hdu
from isr.fits.tiles import (
    SCALED,
    decode_gzip_rows,
    has_gzip_rows,
    has_only_zeros,
    has_rice_rows,
    read_descriptors,
    rice_block,
)
from isr.mask import DEFAULT_PLANES, MaskPlanes

__all__ = ["Planes", "check_exttype", "decode_plane", "planes_of", "read_planes"]

_PLAIN = {-32: ">f4", 32: ">i4"}
_REMEDY = "fetch or make the file again"


@dataclass(frozen=True, slots=True)
class Planes:
    """Image, mask and variance as read, and all header cards.

    Attributes
    ----------
    image : `numpy.ndarray`, (ny, nx), float32
        Image.
    mask : `numpy.ndarray`, (ny, nx), int32, or `None`
        Mask, if the file has one.
    variance : `numpy.ndarray`, (ny, nx), float32, or `None`
        Variance, if the file has one.
    planes : `isr.mask.MaskPlanes`
        Plane name to bit number of ``mask``.
    header : `dict` [`str`, `object`]
        Cards of the primary header and the image's, the latter winning.
    image_header : `dict` [`str`, `object`]
        Cards of the HDU that holds the image.
    """

    image: npt.NDArray[np.float32]
    mask: npt.NDArray[np.int32] | None
    variance: npt.NDArray[np.float32] | None
    planes: MaskPlanes
    header: dict[str, Any] = field(default_factory=dict)
    image_header: dict[str, Any] = field(default_factory=dict)


def read_planes(file: FitsFile, *, with_zeros: bool = True) -> Planes:
    """Read image, mask and variance of a file in afw's layout, or a bare image.

    Unless ``with_zeros`` a mask or variance that is zero everywhere is left out.
    HDUs 1, 2 and 3 are image, mask and variance, whatever their EXTNAME, plain
    or tile-compressed. If HDU 0 has pixels they are the image, and all there
    is. A file whose HDU 1 says EXTTYPE = 'IMAGE' must have all three.

    Raises
    ------
    FitsFileError
        If a plane is missing, of another type or shape, or MP_ cards make no sense.
    """
    primary = file.cards(0)
    first = 0 if primary.get("NAXIS") else 1
    image = _read_plane(file, first, "image")
    image_header = file.cards(first)
    header = primary | image_header
    if first == 0 or (len(file.units) < 3 and "EXTTYPE" not in image_header):
        return Planes(image, None, None, MaskPlanes(), header, image_header)
    others: list[npt.NDArray[Any] | None] = []
    for index, what in ((2, "mask"), (3, "variance")):
        if not with_zeros and _has_only_zeros(file, index, image.shape):
            others.append(None)
            continue
        plane = _read_plane(file, index, what)
        if plane.shape != image.shape:
            raise FitsFileError(
                f"{file.name}, HDU {index}: shape {plane.shape}, but the image is {image.shape}."
            )
        others.append(plane if with_zeros or plane.any() else None)
    mask, variance = others
    planes = planes_of(file.cards(2), file.name)
    return Planes(image, mask, variance, planes, header, image_header)


def _has_only_zeros(file: FitsFile, index: int, shape: tuple[int, ...]) -> bool:
    """Tell whether a compressed plane of this shape has only zeros, where that is easily seen."""
    if index >= len(file.units) or not has_gzip_rows(file.units[index].header):
        return False
    unit = file.units[index]
    if (unit.header["NAXIS2"], unit.header["ZNAXIS1"]) != shape:
        return False
    return has_only_zeros(_stored(file, unit), unit.header, f"{file.name}, HDU {index}")


def _stored(file: FitsFile, unit: Hdu) -> memoryview:
    return memoryview(file.data)[unit.data_start : unit.data_start + unit.data_size]


def _read_plane(file: FitsFile, index: int, what: str) -> npt.NDArray[Any]:
    if index >= len(file.units):
        raise FitsFileError(
            f"{file.name}, HDU {index}: there is no {what}, the file ends before it; {_REMEDY}."
        )
    unit, where = file.units[index], f"{file.name}, HDU {index}"
    check_exttype(unit.header, where, what)
    stored = _stored(file, unit)
    if unit.header.get("XTENSION") == "BINTABLE":
        if has_gzip_rows(unit.header):
            return to_plane(decode_gzip_rows(stored, unit.header, where), where, what)
        if has_rice_rows(unit.header, 32) and not any(key in unit.header for key in SCALED):
            return to_plane(_decode_rice(memoryview(file.data)[unit.data_start :], unit, where), where, what)
    if _is_plain(unit):
        shape = unit.header["NAXIS2"], unit.header["NAXIS1"]
        pixels = np.frombuffer(stored, _PLAIN[unit.header["BITPIX"]]).reshape(shape)
        return to_plane(pixels, where, what)
    return decode_plane(file.hdus[index], where, what)


def _decode_rice(data: memoryview, unit: Hdu, where: str) -> npt.NDArray[np.int32]:
    """Decompress int32 pixels."""
    from isr.fits.rice import decode_rice_rows  # late: its kernel is of no use for other files

    pixels = np.empty((unit.header["ZNAXIS2"], unit.header["ZNAXIS1"]), np.int32)
    table = read_descriptors(data[: unit.data_size], unit.header, where)
    block = rice_block(unit.header)
    decode_rice_rows(data, table, pixels, block=block, zero=0, is_reversed=False, where=where)
    return pixels


def _is_plain(unit: Hdu) -> bool:
    """Tell whether an image is stored as float32 or int32 numbers that are not scaled."""
    header = unit.header
    return (
        header.get("XTENSION", "IMAGE") == "IMAGE"
        and header["NAXIS"] == 2
        and header["BITPIX"] in _PLAIN
        and 0 < unit.data_size == 4 * header["NAXIS1"] * header["NAXIS2"]
        and not any(key in header for key in ("BSCALE", "BZERO", "BLANK", "GROUPS"))
    )


def check_exttype(header: Mapping[str, Any], where: str, what: str) -> None:
    """Check that an HDU does not say that it is another plane.

    Raises
    ------
    FitsFileError
        If it does.
    """
    exttype = header.get("EXTTYPE", what.upper())
    if exttype != what.upper():
        raise FitsFileError(
            f"{where}: EXTTYPE = {exttype!r}, expected {what.upper()!r}: the HDUs are "
            "image, mask, variance in this order."
        )


def decode_plane(hdu: Any, where: str, what: str) -> npt.NDArray[Any]:
    """Return the pixels of an HDU of astropy.

    Parameters
    ----------
    hdu : HDU of `astropy.io.fits`
        HDU.
    where : `str`
        File and number of the HDU, for messages.
    what : `str`
        ``"image"``, ``"mask"`` or ``"variance"``.

    Returns
    -------
    plane : `numpy.ndarray`, (ny, nx), int32 (masks) or float32
        Pixels, C-contiguous.

    Raises
    ------
    FitsFileError
        If the HDU does not hold such a plane.
    """
    from astropy.io import fits

    check_exttype(hdu.header, where, what)
    if not isinstance(hdu, fits.PrimaryHDU | fits.ImageHDU | fits.CompImageHDU):
        raise FitsFileError(f"{where}: expected the {what}, found a {type(hdu).__name__}.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pixels = hdu.data
    except Exception as error:  # damaged tiles can make the decoders raise anything
        raise FitsFileError(f"{where}: unreadable {what} ({error}); {_REMEDY}.") from error
    return to_plane(pixels, where, what)


def to_plane(data: npt.NDArray[Any] | None, where: str, what: str) -> npt.NDArray[Any]:
    """Return pixels as a plane, see `decode_plane`; `None` stands for an HDU without data.

    Raises
    ------
    FitsFileError
        If the shape or the type does not fit.
    """
    if data is None or data.ndim != 2:
        shape = "no pixels" if data is None else f"shape {data.shape}"
        raise FitsFileError(f"{where}: expected a two-dimensional {what}, found {shape}.")
    if what != "mask":
        return np.ascontiguousarray(data, np.float32)
    is_int32 = data.dtype.kind in "iu" and (
        np.can_cast(data.dtype, np.int32) or (data.min(initial=0) >= -(2**31) and data.max(initial=0) < 2**31)
    )
    if not is_int32:
        raise FitsFileError(
            f"{where}: expected a mask of 8 to 32 bits, found {data.dtype.name}; the HDUs are "
            "image, mask, variance in this order."
        )
    return np.ascontiguousarray(data, np.int32)


def planes_of(header: Mapping[str, Any], name: str) -> MaskPlanes:
    """Return the mask planes that the MP_ cards of HDU 2 name; without any, the default planes.

    Raises
    ------
    FitsFileError
        If a card makes no sense.
    """
    planes: dict[str, int] = {}
    for key, value in header.items():
        if not key.upper().startswith("MP_"):
            continue
        plane = key[3:].upper()
        if type(value) is not int or not 0 <= value <= 31 or value in planes.values():
            raise FitsFileError(
                f"{name}, HDU 2: {key} = {value!r}: expected the number of a bit (0 to 31) that "
                "no other mask plane has."
            )
        planes[plane] = value
    return MaskPlanes(planes or DEFAULT_PLANES)
