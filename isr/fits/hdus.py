"""Image planes in FITS files: writing plain and compressed HDUs, reading and checking."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from isr.errors import FitsFileError, IsrError
from isr.fits.cards import BLOCK, Card, Part, encode_checked_header, encode_hdu, ones_complement_sum
from isr.fits.metadata import read_header
from isr.fits.scan import Hdu, gunzip, scan_hdus, verify_checksums
from isr.fits.tiles import (
    SCALED,
    decode_gzip_rows,
    encode_gzip_rows,
    has_gzip_rows,
    has_rice_rows,
    read_descriptors,
    rice_block,
)
from isr.mask import DEFAULT_PLANES, MaskPlanes

if TYPE_CHECKING:
    from astropy.io.fits import HDUList

__all__ = [
    "FitsFile",
    "PlaneCompression",
    "Planes",
    "decode_plane",
    "encode_image_hdu",
    "encode_primary",
    "open_fits",
    "planes_of",
    "read_planes",
    "reading",
]

PlaneCompression = Literal["GZIP_2", "RICE_1"]

_BITPIX = {"f4": -32, "i4": 32}
_PLAIN = {-32: ">f4", 32: ">i4"}
_CHUNK = 1 << 16  # pixels whose bytes are swapped at once: they stay in the processor's cache
_REMEDY = "fetch or make the file again"


@dataclass(frozen=True)
class FitsFile:
    """A FITS file whose structure and checksums have been verified.

    Attributes
    ----------
    name : `str`
        Path or URI.
    sha256 : `str`
        SHA-256 of the file as stored, hexadecimal.
    data : `bytes`
        Its content, without gzip.
    units : `tuple` [`isr.fits.scan.Hdu`, ...]
        Where the HDUs are in ``data``.
    """

    name: str
    sha256: str
    data: bytes
    units: tuple[Hdu, ...]

    def cards(self, index: int) -> dict[str, Any]:
        """Return the header cards of an HDU (`isr.fits.metadata.read_header`)."""
        unit = self.units[index]
        return read_header(self.data[unit.start : unit.data_start])

    @cached_property
    def hdus(self) -> HDUList:
        """The HDUs as astropy reads them, for what is not decoded here: its import takes 0.3 s."""
        from astropy.io import fits

        try:
            with warnings.catch_warnings():  # what astropy only warns of has been checked
                warnings.simplefilter("ignore")
                return fits.open(BytesIO(self.data), memmap=False, lazy_load_hdus=False)
        except Exception as error:  # a damaged header can make astropy raise anything
            raise FitsFileError(f"{self.name}: not a readable FITS file ({error}); {_REMEDY}.") from error


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


def encode_primary(cards: Iterable[Card]) -> list[Part]:
    """Encode a primary HDU without data."""
    mandatory = [("SIMPLE", True, ""), ("BITPIX", 8, ""), ("NAXIS", 0, ""), ("EXTEND", True, "")]
    return encode_hdu([*mandatory, *cards])


def encode_image_hdu(
    array: npt.NDArray[Any], cards: Iterable[Card], compression: PlaneCompression | None = None
) -> Iterator[Part]:
    """Encode a float32 or int32 plane as an image extension.

    Parameters
    ----------
    array : `numpy.ndarray`, (ny, nx), float32 or int32
        Pixels.
    cards : iterable of `Card`
        Cards besides those that describe the array.
    compression : `str`, optional
        How to compress losslessly, one tile per row: ``"GZIP_2"``, or
        ``"RICE_1"`` (int32 only); not at all if not given.

    Yields
    ------
    part : `bytes` or `memoryview`
        Header, data in several parts, and padding. Parts are made when they
        are asked for: all together they would need as much memory as the plane.
    """
    array = np.ascontiguousarray(array)
    if compression is not None:
        yield from _encode_tiles(array, cards, compression)
        return
    flat = array.reshape(-1)
    mandatory = [
        *[("XTENSION", "IMAGE", "image extension"), ("BITPIX", _BITPIX[array.dtype.str[1:]], "")],
        *[("NAXIS", 2, ""), ("NAXIS1", array.shape[1], ""), ("NAXIS2", array.shape[0], "")],
        *[("PCOUNT", 0, ""), ("GCOUNT", 1, "")],
    ]
    data_sum = ones_complement_sum(flat.view(np.uint8).data, order="=")
    yield encode_checked_header([*mandatory, *cards], data_sum)
    for first in range(0, flat.size, _CHUNK):
        yield flat[first : first + _CHUNK].astype(array.dtype.newbyteorder(">")).view(np.uint8).data
    yield bytes(-array.nbytes % BLOCK)


def _encode_tiles(
    array: npt.NDArray[Any], cards: Iterable[Card], compression: PlaneCompression
) -> Iterator[Part]:
    bitpix = _BITPIX[array.dtype.str[1:]]
    ny, nx = array.shape
    more: list[Card] = []
    tiles: Iterable[Part | bytearray | npt.NDArray[np.uint8]]
    if compression == "GZIP_2":
        tiles = rows = encode_gzip_rows(array)
        lengths = np.array([len(row) for row in rows])
        more += [("ZQUANTIZ", "NONE", "lossless")] if bitpix < 0 else []
    else:
        from isr.fits.rice import BLOCK as PIXELS
        from isr.fits.rice import encode_rice_rows

        lengths, heap = encode_rice_rows(array)
        tiles = [heap.data]
        more += [("ZNAME1", "BLOCKSIZE", ""), ("ZVAL1", PIXELS, "pixels of a block")]
        more += [("ZNAME2", "BYTEPIX", ""), ("ZVAL2", 4, "bytes of a pixel")]
    descriptors = np.stack([lengths, np.cumsum(lengths) - lengths], axis=1).astype(">i4")
    table = [
        ("XTENSION", "BINTABLE", "compressed image"),
        *[("BITPIX", 8, ""), ("NAXIS", 2, ""), ("NAXIS1", 8, ""), ("NAXIS2", ny, "")],
        *[("PCOUNT", int(lengths.sum()), ""), ("GCOUNT", 1, ""), ("TFIELDS", 1, "")],
        *[("TTYPE1", "COMPRESSED_DATA", ""), ("TFORM1", f"1PB({lengths.max()})", "")],
        *[("ZIMAGE", True, ""), ("ZBITPIX", bitpix, ""), ("ZNAXIS", 2, ""), ("ZNAXIS1", nx, "")],
        *[("ZNAXIS2", ny, ""), ("ZTILE1", nx, ""), ("ZTILE2", 1, ""), ("ZCMPTYPE", compression, "")],
    ]
    yield from encode_hdu([*table, *more, *cards], b"".join([descriptors.tobytes(), *tiles]))


@contextmanager
def reading(name: str, what: str) -> Iterator[None]:
    """Turn whatever goes wrong in reading an untrusted file into a `FitsFileError`."""
    try:
        yield
    except IsrError:
        raise
    except Exception as error:
        raise FitsFileError(
            f"{name}: cannot be read as {what} ({type(error).__name__}: {error}); the file is damaged or of "
            "another kind, fetch or make it again."
        ) from error


def open_fits(source: str | Path | bytes, name: str = "") -> FitsFile:
    """Open a FITS file and verify that it is whole.

    Parameters
    ----------
    source : `str`, `pathlib.Path` or `bytes`
        Path, URI or content; may be gzipped as a whole.
    name : `str`
        Name for messages if ``source`` is the content.

    Raises
    ------
    FitsFileError
        If it is empty, no FITS file, truncated, or a checksum is wrong.
    ObjectError
        If it cannot be read.
    """
    from isr.fits.source import read_bytes

    name = name if isinstance(source, bytes) else str(source)
    name = name or "FITS data in memory"
    stored = read_bytes(source)
    data = gunzip(stored, name)
    units = tuple(scan_hdus(data, name))
    for hdu in units:
        verify_checksums(data, hdu, name)
    return FitsFile(name, hashlib.sha256(stored).hexdigest(), data, units)


def read_planes(file: FitsFile) -> Planes:
    """Read image, mask and variance of a file in afw's layout, or a bare image.

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
    mask = _read_plane(file, 2, "mask")
    variance = _read_plane(file, 3, "variance")
    for index, plane in ((2, mask), (3, variance)):
        if plane.shape != image.shape:
            raise FitsFileError(
                f"{file.name}, HDU {index}: shape {plane.shape}, but the image is {image.shape}."
            )
    planes = planes_of(file.cards(2), file.name)
    return Planes(image, mask, variance, planes, header, image_header)


def _read_plane(file: FitsFile, index: int, what: str) -> npt.NDArray[Any]:
    if index >= len(file.units):
        raise FitsFileError(
            f"{file.name}, HDU {index}: there is no {what}, the file ends before it; {_REMEDY}."
        )
    unit, where = file.units[index], f"{file.name}, HDU {index}"
    check_exttype(unit.header, where, what)
    stored = memoryview(file.data)[unit.data_start : unit.data_start + unit.data_size]
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
