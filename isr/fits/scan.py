"""Header-data units of a FITS file in memory: where they are, and whether they are whole.

Files come from anywhere: all sizes are checked before they are used, and a file
that ends too early is an error (astropy would warn and go on).
"""

from __future__ import annotations

import gzip
import io
import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

import deflate

from isr.errors import FitsFileError
from isr.fits.cards import BLOCK, COMMENTARY, ones_complement_sum
from isr.fits.header import parse_cards

__all__ = ["Hdu", "check_magic", "gunzip", "header_size", "parse_hdu", "scan_hdus", "verify_checksums"]

MAX_GUNZIPPED = 1 << 28
"""Files that are larger than this many bytes without gzip are refused."""

_MOST_GAIN = 1032  # a byte of a gzip stream never becomes more bytes

MAX_HEADER_BLOCKS = 2000
MOST_FIELDS = 999
_BITPIX = (8, 16, 32, 64, -32, -64)
_END = b"END".ljust(80)


@dataclass(frozen=True, slots=True)
class Hdu:
    """A header-data unit.

    Attributes
    ----------
    index : `int`
        Number in the file, 0 is the primary.
    header : `dict` [`str`, `object`]
        Keyword to value (`None`: no value), without commentary. Of a repeated
        keyword the last value is taken, as afw does.
    start, data_start, end : `int`
        Where header and data begin, and where the next unit does.
    data_size : `int`
        Bytes of data, without padding.
    """

    index: int
    header: dict[str, Any]
    start: int
    data_start: int
    data_size: int
    end: int


def gunzip(data: bytes, name: str) -> bytes:
    """Decompress a file if it is gzipped as a whole.

    Raises
    ------
    FitsFileError
        If it is damaged, or larger than `MAX_GUNZIPPED` when decompressed.
    """
    if not data.startswith(b"\x1f\x8b"):
        return data
    content = _gunzip_at_once(data)
    if content is not None:
        return content
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as stream:
            content = stream.read(MAX_GUNZIPPED + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise FitsFileError(
            f"{name}: gzip data are damaged or cut short ({error}); fetch the file again."
        ) from error
    if len(content) > MAX_GUNZIPPED:
        raise FitsFileError(
            f"{name}: has more than {MAX_GUNZIPPED >> 20} MiB when decompressed; expected one detector."
        )
    return content


def _gunzip_at_once(data: bytes) -> bytes | None:
    """Decompress a file of one gzip stream; `None` if it is not that.

    This takes a third of the time of the gzip module. The size stands at the
    end, with a checksum of the content, which tells whether that was all.
    """
    checksum, size = (int.from_bytes(data[i : i + 4], "little") for i in (len(data) - 8, len(data) - 4))
    if not 0 < size <= min(MAX_GUNZIPPED, _MOST_GAIN * len(data)):
        return None
    try:
        content = deflate.gzip_decompress(data, size)
    except deflate.DeflateError:
        return None
    is_all = len(content) == size and deflate.crc32(content) == checksum
    return bytes(content) if is_all else None


def scan_hdus(data: bytes, name: str) -> Iterator[Hdu]:
    """Yield the header-data units of a file, each checked to be whole.

    Parameters
    ----------
    data : `bytes`
        The file, not gzipped.
    name : `str`
        Its name, for messages.

    Raises
    ------
    FitsFileError
        If this is not a FITS file, or a damaged one.
    """
    check_magic(data, name)
    start, index = 0, 0
    while start < len(data):
        if index and data[start : start + 8] != b"XTENSION":
            return  # "special records": whatever follows is not ours
        hdu = _read_hdu(data, start, index, name)
        yield hdu
        start, index = hdu.end, index + 1


def verify_checksums(data: bytes, hdu: Hdu, name: str) -> None:
    """Check CHECKSUM and DATASUM of a header-data unit, if it has them.

    Raises
    ------
    FitsFileError
        If they do not fit: the file was damaged after it was written.
    """
    view = memoryview(data)
    stated_sum, checksum = hdu.header.get("DATASUM"), hdu.header.get("CHECKSUM")
    if not (stated_sum or checksum):
        return
    data_sum = ones_complement_sum(view[hdu.data_start : hdu.end])
    if stated_sum and str(stated_sum).strip() != str(data_sum):
        _refuse_sum(name, hdu, "DATASUM", stated_sum, data_sum)
    total = ones_complement_sum(view[hdu.start : hdu.data_start], data_sum)
    if checksum and str(checksum).strip() and total not in (0, 0xFFFFFFFF):
        _refuse_sum(name, hdu, "CHECKSUM", checksum, f"a total of {total:#010x} instead of 0xffffffff")


def _refuse_sum(name: str, hdu: Hdu, key: str, stated: object, found: object) -> NoReturn:
    raise FitsFileError(
        f"{name}, HDU {hdu.index}: {key} = {stated!r}, but the bytes give {found}; "
        "the file is damaged, fetch it again."
    )


def check_magic(data: bytes, name: str) -> None:
    """Check that a file begins as FITS files do.

    Raises
    ------
    FitsFileError
        If not; it says what the file is instead, if that can be told.
    """
    head = data[:512].lstrip().lower()
    if not data:
        problem = "is empty (0 bytes)"
    elif head.startswith(b"<"):
        problem = "is a web page or XML, not FITS; an archive may have answered with an error or a login page"
    elif head.startswith(b"version https://git-lfs"):
        problem = "is a Git LFS pointer, not the file itself; fetch it with: git lfs pull"
    elif not data.startswith(b"SIMPLE  ="):
        problem = f"is not a FITS file: it begins with {data[:16]!r}, expected 'SIMPLE  ='"
    else:
        return
    raise FitsFileError(f"{name}: {problem}.")


def _read_hdu(data: bytes, start: int, index: int, name: str) -> Hdu:
    size = header_size(data, start)
    if size is None:
        refuse_endless(name, index)
    return parse_hdu(data[start : start + size], start, index, len(data), name)


def parse_hdu(head: bytes, start: int, index: int, file_size: int, name: str) -> Hdu:
    """Read a header, and find out from it where the data are.

    Parameters
    ----------
    head : `bytes`
        The header: whole blocks up to that with END.
    start, index : `int`
        Where it is in the file, and number of the HDU.
    file_size : `int`
        Bytes in the file.
    name : `str`
        Name of the file, for messages.

    Raises
    ------
    FitsFileError
        If the header is damaged, or the file ends before the data do.
    """
    where = f"{name}, HDU {index}"
    header = _parse_header(head, where)
    size = _data_size(header, where)
    data_start = start + len(head)
    end = data_start + -(-size // BLOCK) * BLOCK
    if end > file_size:
        raise FitsFileError(
            f"{where}: the file is cut short: it has {file_size} bytes, its header asks for {end}; "
            "fetch it again."
        )
    return Hdu(index, header, start, data_start, size, end)


def header_size(data: bytes, start: int = 0) -> int | None:
    """Return the bytes of the header that begins at ``start``; `None` if there is no END."""
    for block in range(start, min(len(data), start + MAX_HEADER_BLOCKS * BLOCK), BLOCK):
        if any(data[i : i + 80] == _END for i in range(block, block + BLOCK, 80)):
            return block + BLOCK - start if block + BLOCK <= len(data) else None
    return None


def refuse_endless(name: str, index: int) -> NoReturn:
    """Raise the error for a header without END."""
    raise FitsFileError(
        f"{name}, HDU {index}: the header has no END; the file is cut short or damaged, fetch it again."
    )


def _parse_header(block: bytes, where: str) -> dict[str, Any]:
    return {key: value for key, value in parse_cards(block, where) if key not in COMMENTARY}


def _data_size(header: dict[str, Any], where: str) -> int:
    bitpix = _integer(header, "BITPIX", where, -64)
    if bitpix not in _BITPIX:
        raise FitsFileError(f"{where}: BITPIX is {bitpix}, expected one of {_BITPIX}; the header is damaged.")
    n_axes = min(_integer(header, "NAXIS", where), 999)
    fields = _integer(header, "TFIELDS", where, default=0)
    if fields > MOST_FIELDS:
        raise FitsFileError(
            f"{where}: TFIELDS is {fields}, FITS allows {MOST_FIELDS}; the header is damaged."
        )
    axes = [_integer(header, f"NAXIS{i + 1}", where) for i in range(n_axes)]
    pixels = math.prod(axes) if axes else 0
    groups = _integer(header, "GCOUNT", where, 1, default=1)
    return abs(bitpix) // 8 * groups * (_integer(header, "PCOUNT", where, default=0) + pixels)


def _integer(
    header: dict[str, Any], key: str, where: str, minimum: int = 0, *, default: int | None = None
) -> int:
    value = header.get(key, default)
    if type(value) is not int or value < minimum:
        raise FitsFileError(
            f"{where}: {key} is {value!r}, expected an integer from {minimum}; the header is damaged."
        )
    return value
