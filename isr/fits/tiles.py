"""Lossless tiles of whole rows: GZIP_1 and GZIP_2, as LSST's Butler and this package write planes; RICE_1.

astropy decodes them, too, but needs 0.3 s for a plane of HSC that is zero everywhere.
Source of the format: FITS standard 4.0, section 10.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import deflate
import numpy as np
import numpy.typing as npt

from isr.errors import FitsFileError

__all__ = [
    "SCALED",
    "decode_gzip_rows",
    "encode_gzip_rows",
    "has_gzip_rows",
    "has_only_zeros",
    "has_rice_rows",
    "read_descriptors",
    "rice_block",
]

_TYPES = {8: "u1", 16: "i2", 32: "i4", -32: "f4", -64: "f8"}
_DESCRIPTORS = {"P": ">i4", "Q": ">i8"}
_LEVEL = 1  # of compression; higher ones gain less than 1 % of the size of noisy pixels
_ROWS = 16  # rows whose bytes are moved at once: they stay in the processor's cache
SCALED = ("ZSCALE", "ZZERO", "ZBLANK", "BLANK", "BSCALE", "BZERO", "ZDITHER0")


def has_gzip_rows(header: Mapping[str, Any]) -> bool:
    """Tell whether a compressed image has the form that `decode_gzip_rows` decodes.

    Parameters
    ----------
    header : `~collections.abc.Mapping` [`str`, `object`]
        Cards of the binary table.
    """
    return (
        _has_rows(header)
        and header.get("ZCMPTYPE") in ("GZIP_1", "GZIP_2")
        and header.get("ZBITPIX") in _TYPES
        and header.get("ZQUANTIZ", "NONE") in ("NONE", "NO_DITHER")
        and "THEAP" not in header
        and not any(key in header for key in SCALED)
    )


def has_rice_rows(header: Mapping[str, Any], bitpix: int) -> bool:
    """Tell whether a compressed image has the form that `isr.fits.rice.decode_rice_rows` decodes.

    Parameters
    ----------
    header : `~collections.abc.Mapping` [`str`, `object`]
        Cards of the binary table. Those that say how pixels are scaled are for
        the caller.
    bitpix : `int`
        Bits of a pixel: 16 or 32.
    """
    parameters = {str(header.get(f"ZNAME{i}")): header.get(f"ZVAL{i}") for i in (1, 2)}
    return (
        _has_rows(header)
        and header.get("ZCMPTYPE") in ("RICE_1", "RICE_ONE")
        and header.get("ZBITPIX") == bitpix
        and parameters.get("BYTEPIX", 4) == bitpix // 8
        and rice_block(header) in (16, 32)
    )


def rice_block(header: Mapping[str, Any]) -> Any:
    """Return the pixels of a block of RICE_1."""
    return next((header.get(f"ZVAL{i}") for i in (1, 2) if header.get(f"ZNAME{i}") == "BLOCKSIZE"), 32)


def _has_rows(header: Mapping[str, Any]) -> bool:
    """Tell whether each row of a compressed image is one tile."""
    width, height = header.get("ZNAXIS1"), header.get("ZNAXIS2")
    expected = {
        "ZIMAGE": True,
        "ZNAXIS": 2,
        "TFIELDS": 1,
        "TTYPE1": "COMPRESSED_DATA",
        "NAXIS2": height,
    }
    return (
        all(header.get(key) == value for key, value in expected.items())
        and all(type(size) is int and size > 0 for size in (width, height))
        and (header.get("ZTILE1", width), header.get("ZTILE2", 1)) == (width, 1)
        and header.get("GCOUNT", 1) == 1
        and re.match(r"1?[PQ]B", str(header.get("TFORM1"))) is not None
    )


def read_descriptors(data: memoryview, header: Mapping[str, Any], where: str) -> npt.NDArray[np.int64]:
    """Return where the tiles of a compressed image are.

    Parameters
    ----------
    data : `memoryview`
        Table and heap of the HDU.
    header : `~collections.abc.Mapping` [`str`, `object`]
        Its cards, see `has_gzip_rows` and `has_rice_rows`.
    where : `str`
        File and number of the HDU, for messages.

    Returns
    -------
    table : `numpy.ndarray`, (tiles, 2), int64
        Length of each tile and where it begins in ``data``, in bytes; all are inside.

    Raises
    ------
    FitsFileError
        If a tile is not.
    """
    code = _DESCRIPTORS["Q" if "Q" in header["TFORM1"] else "P"]
    tiles, width = header["NAXIS2"], header["NAXIS1"]
    heap = header.get("THEAP", width * tiles)
    if width != 2 * int(code[2]) or type(heap) is not int or not width * tiles <= heap <= len(data):
        raise FitsFileError(f"{where}: the table of its tiles makes no sense; fetch the file again.")
    table = np.frombuffer(data, code, 2 * tiles).reshape(tiles, 2).astype(np.int64)
    lengths, starts = table.T
    room = len(data) - heap
    outside = (lengths <= 0) | (starts < 0) | (starts > room) | (lengths > room - starts)
    if outside.any():
        tile = int(outside.argmax())
        raise FitsFileError(f"{where}: tile {tile} lies outside of the file; fetch it again.")
    starts += heap
    return table


def encode_gzip_rows(pixels: npt.NDArray[Any]) -> list[bytes | bytearray]:
    """Compress an image as GZIP_2, each row as one tile.

    Parameters
    ----------
    pixels : `numpy.ndarray`, (ny, nx), float32 or int32
        Image, in this machine's byte order.

    Returns
    -------
    tiles : `list` [`bytes` or `bytearray`]
        Tiles; the same pixels give the same bytes on all machines.
    """
    tiles: list[bytes | bytearray] = []
    last = b""
    for content in _rows_as_bytes(np.ascontiguousarray(pixels)):
        if content != last:  # as in planes of zeros
            tile, last = deflate.gzip_compress(content, _LEVEL), content
        tiles.append(tile)
    return tiles


def _rows_as_bytes(pixels: npt.NDArray[Any]) -> Iterator[bytes]:
    """Yield the bytes of each row: the highest bytes of all pixels, then their second bytes ..."""
    numbers = pixels.view(f"u{pixels.itemsize}")
    for first in range(0, len(pixels), _ROWS):
        block = numbers[first : first + _ROWS]
        moved = np.empty((len(block), pixels.itemsize, pixels.shape[1]), np.uint8)
        for i in range(pixels.itemsize):
            np.right_shift(block, 8 * (pixels.itemsize - 1 - i), out=moved[:, i], casting="unsafe")
        for row in moved:
            yield row.tobytes()


def decode_gzip_rows(data: memoryview, header: Mapping[str, Any], where: str) -> npt.NDArray[Any]:
    """Decompress an image of which each row is one tile.

    Parameters
    ----------
    data, header, where
        See `read_descriptors`.

    Returns
    -------
    pixels : `numpy.ndarray`, (ny, nx)
        Pixels of the type that ZBITPIX says, in this machine's byte order.

    Raises
    ------
    FitsFileError
        If a tile is damaged or of another size.
    """
    dtype = np.dtype(_TYPES[header["ZBITPIX"]])
    nx = header["ZNAXIS1"]
    table = read_descriptors(data, header, where).tolist()
    pixels = np.zeros((len(table), nx), dtype)  # memory of rows of zeros is never touched
    zeros = bytes(nx * dtype.itemsize)
    tile: bytes | memoryview = b""
    content: bytes | bytearray = b""
    for first in range(0, len(table), _ROWS):
        contents = []
        for row, (length, start) in enumerate(table[first : first + _ROWS], first):
            previous, tile = tile, data[start : start + length]
            if tile != previous:
                content = _gunzip_tile(tile, len(zeros), f"{where}: tile {row}")
            contents.append(content)
        if any(content != zeros for content in contents):
            block = np.frombuffer(b"".join(contents), np.uint8)
            pixels[first : first + _ROWS].view(f"u{dtype.itemsize}")[:] = (
                _of_planes(block.reshape(-1, dtype.itemsize, nx))
                if header["ZCMPTYPE"] == "GZIP_2"
                else block.view(f">u{dtype.itemsize}").reshape(-1, nx)
            )
    return pixels


def has_only_zeros(data: memoryview, header: Mapping[str, Any], where: str) -> bool:
    """Tell whether all rows are the same tile, of zeros: quicker than to decode them.

    Parameters and errors are those of `decode_gzip_rows`.
    """
    table = read_descriptors(data, header, where).tolist()
    length, start = table[0]
    tile = data[start : start + length]
    if any(data[start : start + length] != tile for length, start in table):
        return False
    size = header["ZNAXIS1"] * np.dtype(_TYPES[header["ZBITPIX"]]).itemsize
    return not any(_gunzip_tile(tile, size, f"{where}: tile 0"))


def _of_planes(block: npt.NDArray[np.uint8]) -> npt.NDArray[Any]:
    """Return the numbers whose bytes, the highest first, are along the second axis."""
    numbers = block[:, 0].astype(f"u{block.shape[1]}")
    for i in range(1, block.shape[1]):
        numbers <<= 8
        numbers |= block[:, i]
    return numbers


def _gunzip_tile(tile: memoryview, size: int, what: str) -> bytearray:
    """Decompress one tile, but no more than ``size`` bytes of it."""
    try:
        content = deflate.gzip_decompress(tile, size)
    except deflate.DeflateError as error:
        raise FitsFileError(
            f"{what} is damaged, or has more than {size} bytes ({error}); fetch the file again."
        ) from error
    if len(content) != size:
        raise FitsFileError(f"{what} has {len(content)} bytes, expected {size}; fetch the file again.")
    return content
