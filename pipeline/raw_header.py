"""Headers of raw frames anywhere, without reading their pixels."""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Iterator
from math import prod
from typing import Any, cast

from lsst.resources import ResourcePath

from isr.errors import FitsFileError, ObjectError
from isr.fits.scan import scan_hdus

__all__ = ["read_raw_header"]

BLOCK = 2880
HEAD = 1 << 18
"""Bytes that are fetched: headers of raw frames have a tenth of it."""

_END = b"END".ljust(80)


def read_raw_header(uri: ResourcePath) -> dict[str, Any]:
    """Read the header of a raw frame: of the primary HDU and, if that has no pixels, the next one.

    Parameters
    ----------
    uri : `lsst.resources.ResourcePath`
        Plain, tile-compressed or gzipped FITS file; only its beginning is
        fetched.

    Returns
    -------
    header : `dict` [`str`, `object`]
        Keyword to value; of a keyword in both HDUs that of the second.

    Raises
    ------
    ObjectError
        If it cannot be opened.
    FitsFileError
        If it is not FITS, damaged or cut short.
    """
    name = str(uri)
    try:
        size: int | None = uri.size()
        with uri.open("rb") as stream:
            head = cast(bytes, stream.read(HEAD))
    except FileNotFoundError:
        raise ObjectError(f"{name}: no such file; check the path.") from None
    except OSError as error:
        raise ObjectError(f"{name}: cannot be read ({error.strerror or error}).") from None
    if head.startswith(b"\x1f\x8b"):
        try:
            head, size = zlib.decompressobj(wbits=31).decompress(head, HEAD), None
        except zlib.error as error:
            raise FitsFileError(f"{name}: gzip data are damaged ({error}); fetch the file again.") from None
    if not head.startswith(b"SIMPLE  ="):
        next(scan_hdus(head, name))  # says what it is instead
    return _merge(head, size, name)


def _merge(head: bytes, size: int | None, name: str) -> dict[str, Any]:
    """Merge headers up to the first HDU with pixels, and check that the file has these pixels."""
    merged: dict[str, Any] = {}
    for header, data_start in _headers(head, name):
        merged |= header
        data_size = _data_size(header)
        if data_size:
            if size is not None and size < data_start + data_size:
                raise FitsFileError(
                    f"{name}: the file is cut short: it has {size} bytes, its header asks for "
                    f"{data_start + data_size}; fetch it again."
                )
            return merged
    raise FitsFileError(f"{name}: has no image in its first two HDUs; this is not a raw frame.")


def _headers(head: bytes, name: str) -> Iterator[tuple[dict[str, Any], int]]:
    """Yield the first two headers and where their data begin; the first is taken to have no data."""
    end = 0
    for _ in range(2):
        start = end
        while end == start or not any(head[i : i + 80] == _END for i in range(end - BLOCK, end, 80)):
            end += BLOCK
            if end > len(head):
                raise FitsFileError(
                    f"{name}: a header has no END; the file is cut short or damaged, fetch it again."
                )
        yield _parse(head[start:end]), end


def _parse(block: bytes) -> dict[str, Any]:
    from astropy.io import fits

    text = "".join(c if " " <= c <= "~" else "?" for c in block.decode("latin-1"))
    values: dict[str, Any] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about non-standard cards, which raws have
        for card in fits.Header.fromstring(text).cards:
            try:
                key, value = card.keyword, card.value
            except (fits.VerifyError, ValueError):
                continue
            if key not in ("", "COMMENT", "HISTORY", "END"):
                values[key] = None if isinstance(value, fits.card.Undefined) else value
    return values


def _data_size(header: dict[str, Any]) -> int:
    """Return the bytes of data that a header announces; 0 if it makes no sense."""
    n_axes = header.get("NAXIS")
    if not isinstance(n_axes, int) or not 1 <= n_axes <= 999:
        return 0
    numbers = [header.get(f"NAXIS{i + 1}") for i in range(n_axes)]
    numbers += [header.get("BITPIX"), header.get("GCOUNT", 1), header.get("PCOUNT", 0)]
    if not all(type(number) is int for number in numbers):
        return 0
    *axes, bitpix, groups, parameters = cast(list[int], numbers)
    return abs(bitpix) // 8 * groups * (parameters + prod(axes))
