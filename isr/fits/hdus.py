"""FITS files of image planes: opening and checking, writing plain and compressed HDUs."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
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
    encode_gzip_rows,
)

if TYPE_CHECKING:
    from astropy.io.fits import HDUList

__all__ = [
    "FitsFile",
    "PlaneCompression",
    "encode_image_hdu",
    "encode_primary",
    "open_fits",
    "reading",
]

PlaneCompression = Literal["GZIP_2", "RICE_1"]

_BITPIX = {"f4": -32, "i4": 32}
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
