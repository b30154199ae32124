"""Parts of a FITS file, read by seeking: headers, rows of an image, the tables at the end.

For files that are far away (one request for each read) or larger than what is wanted of them.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from io import BytesIO
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from isr.errors import FitsFileError
from isr.fits.archive import Archive, index_hdu
from isr.fits.cards import BLOCK, encode_header
from isr.fits.hdus import encode_primary
from isr.fits.metadata import is_structural, read_header
from isr.fits.planes import decode_plane
from isr.fits.scan import (
    MAX_GUNZIPPED,
    MAX_HEADER_BLOCKS,
    Hdu,
    check_magic,
    gunzip,
    header_size,
    parse_hdu,
    refuse_endless,
    scan_hdus,
    verify_checksums,
)

__all__ = ["PartialFile"]

_CHUNK = 4 * BLOCK
_TFORM = re.compile(r"(\d*)([LXBIJKAEDCMPQ])([LXBIJKAEDCM]?).*")
_BYTES = {"L": 1, "B": 1, "A": 1, "I": 2, "J": 4, "E": 4, "K": 8, "D": 8, "C": 8, "P": 8, "M": 16, "Q": 16}
_SUMS = ("CHECKSUM", "DATASUM", "ZHECKSUM", "ZDATASUM")


class PartialFile:
    """A FITS file of which only what is asked for is read.

    Sizes are checked as for whole files, checksums only of the archive: those
    of a plane need all of it.

    Parameters
    ----------
    stream : binary file that can seek
        The file. If it is gzipped as a whole, all of it is read.
    name : `str`
        Name for messages.

    Raises
    ------
    FitsFileError
        If it is no FITS file.
    """

    def __init__(self, stream: BinaryIO, name: str) -> None:
        self.name = name
        self._stream = stream
        self._size = stream.seek(0, 2)
        self._heads: list[tuple[Hdu, dict[str, Any]]] = []
        start = self._read(0, min(self._size, 512))
        if start.startswith(b"\x1f\x8b"):
            stream.seek(0)
            content = gunzip(stream.read(), name)
            self._stream, self._size, start = BytesIO(content), len(content), content[:512]
        check_magic(start, name)

    def hdu(self, index: int) -> Hdu | None:
        """Return a header-data unit; `None` if the file ends before it."""
        return self._heads[index][0] if self._find(index) else None

    def header(self, index: int) -> dict[str, Any]:
        """Return the header cards of a unit (`isr.fits.metadata.read_header`); none if it is not there."""
        return self._heads[index][1] if self._find(index) else {}

    def shape(self, index: int, what: str) -> tuple[int, int]:
        """Return the shape ``(ny, nx)`` of an image.

        Raises
        ------
        FitsFileError
            If the unit holds no two-dimensional image.
        """
        hdu = self._hdu(index, what)
        header, where = hdu.header, f"{self.name}, HDU {index}"
        prefix = "Z" if header.get("ZIMAGE") else ""
        if not prefix and header.get("XTENSION", "IMAGE") != "IMAGE":
            raise FitsFileError(f"{where}: expected the {what}, found a {header['XTENSION']}.")
        shape: list[Any] = [header.get(f"{prefix}NAXIS{axis}") for axis in (2, 1)]
        if header.get(f"{prefix}NAXIS") != 2 or not all(type(n) is int and n >= 0 for n in shape):
            raise FitsFileError(
                f"{where}: expected a two-dimensional {what}, found {prefix}NAXIS = "
                f"{header.get(f'{prefix}NAXIS')}, sizes {shape}."
            )
        return shape[0], shape[1]

    def rows(self, index: int, what: str, first: int, stop: int) -> npt.NDArray[Any]:
        """Read rows ``first`` to ``stop`` (exclusive) of an image.

        Of a compressed image the tiles that have such rows are read; all of
        them, if tiles do not span whole rows.

        Parameters
        ----------
        index : `int`
            Number of the unit.
        what : `str`
            ``"image"``, ``"mask"`` or ``"variance"``.
        first, stop : `int`
            Rows, inside the image.

        Returns
        -------
        pixels : `numpy.ndarray`, (stop - first, nx), int32 (masks) or float32
            All columns of these rows.
        """
        from astropy.io import fits

        ny, nx = self.shape(index, what)
        hdu = self._hdu(index, what)
        cards = {k: v for k, v in hdu.header.items() if (is_structural(k) or k[0] == "Z") and k not in _SUMS}
        if cards.get("ZIMAGE"):
            above, data = self._tiles(hdu, cards, (ny, nx), first, stop)
        else:
            row = abs(cards["BITPIX"]) // 8 * nx
            above, data = 0, self._read(hdu.data_start + first * row, (stop - first) * row)
            cards["NAXIS2"], first, stop = stop - first, 0, stop - first
        head = encode_header([(key, value, "") for key, value in cards.items()])
        parts = [*(encode_primary([]) if index else []), head, data, bytes(-len(data) % BLOCK)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with fits.open(BytesIO(b"".join(parts)), memmap=False) as hdus:
                pixels = decode_plane(hdus[1 if index else 0], f"{self.name}, HDU {index}", what)
        return pixels[first - above : stop - above]

    def archive(self) -> Archive:
        """Read the archive: all that comes from its index on."""
        from astropy.io import fits

        header = self.header(0)
        first = index_hdu(header, self.name)
        found = self.hdu(first) if first else None
        if found is None:
            return Archive.open(self.name, header, [])
        if self._size - found.start > MAX_GUNZIPPED:
            raise FitsFileError(f"{self.name}: the archive has more than {MAX_GUNZIPPED >> 20} MiB.")
        tail = self._read(found.start, self._size - found.start)
        content = b"".join([*encode_primary([]), tail])
        for hdu in scan_hdus(content, f"{self.name}, archive"):
            verify_checksums(content, hdu, f"{self.name}, archive")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            hdus = fits.open(BytesIO(content), memmap=False, lazy_load_hdus=False)
        return Archive.open(self.name, header, hdus[1:])

    def _hdu(self, index: int, what: str) -> Hdu:
        hdu = self.hdu(index)
        if hdu is None:
            raise FitsFileError(
                f"{self.name}, HDU {index}: there is no {what}, the file ends before it; fetch or make "
                "the file again."
            )
        return hdu

    def _find(self, index: int) -> bool:
        """Read headers up to that of a unit; tell whether the file has it."""
        while len(self._heads) <= index:
            start = self._heads[-1][0].end if self._heads else 0
            head = self._read_head(start) if start < self._size else b""
            if not head or (start and not head.startswith(b"XTENSION")):
                return False
            hdu = parse_hdu(head, start, len(self._heads), self._size, self.name)
            self._heads.append((hdu, read_header(head)))
        return True

    def _read_head(self, start: int) -> bytes:
        head = b""
        while len(head) < MAX_HEADER_BLOCKS * BLOCK:
            chunk = self._read(start + len(head), min(_CHUNK, self._size - start - len(head)))
            size = header_size(chunk)
            if size is not None:
                return head + chunk[:size]
            if len(chunk) < _CHUNK:
                break
            head += chunk
        return refuse_endless(self.name, len(self._heads))

    def _read(self, start: int, size: int) -> bytes:
        self._stream.seek(start)
        parts = []
        while size > 0:
            part = self._stream.read(size)
            if not part:
                raise FitsFileError(
                    f"{self.name}: the file ends {size} bytes before it should; fetch it again."
                )
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def _tiles(
        self, hdu: Hdu, cards: dict[str, Any], shape: tuple[int, int], first: int, stop: int
    ) -> tuple[int, bytes]:
        """Read the tiles that have certain rows, and make ``cards`` those of an image of these tiles.

        Returns
        -------
        above : `int`
            Rows above the first tile.
        data : `bytes`
            Table and heap of such an image.
        """
        where = f"{self.name}, HDU {hdu.index}"
        ny, nx = shape
        height = cards.get("ZTILE2", 1)
        start, heap_start = hdu.data_start, cards.pop("THEAP", cards["NAXIS1"] * cards["NAXIS2"])
        if cards.get("ZTILE1", nx) < nx or not (type(height) is int and height > 0):
            tiles, above, below = (0, cards["NAXIS2"]), 0, ny
        else:
            tiles = first // height, -(-stop // height)
            above, below = tiles[0] * height, min(tiles[1] * height, ny)
        if tiles[1] > cards["NAXIS2"]:
            raise FitsFileError(
                f"{where}: {cards['NAXIS2']} tiles, expected {-(-ny // height)}; it is damaged."
            )
        width = cards["NAXIS1"]
        content = self._read(start + tiles[0] * width, (tiles[1] - tiles[0]) * width)
        table = np.frombuffer(content, np.uint8).reshape(-1, width).copy()
        low, high = _heap_range(table, cards, where)
        if not 0 <= low <= high <= hdu.data_size - heap_start:
            raise FitsFileError(
                f"{where}: tiles at bytes {low} to {high} of a heap of {hdu.data_size - heap_start}; "
                "it is damaged, fetch it again."
            )
        heap = self._read(start + heap_start + low, high - low)
        cards |= {"NAXIS2": len(table), "PCOUNT": len(heap), "ZNAXIS2": below - above}
        if type(cards.get("ZDITHER0")) is int:  # tile i is dithered with the random numbers of ZDITHER0 + i
            cards["ZDITHER0"] = (cards["ZDITHER0"] - 1 + tiles[0]) % 10000 + 1
        return above, table.tobytes() + heap


def _heap_range(table: npt.NDArray[np.uint8], cards: Mapping[str, Any], where: str) -> tuple[int, int]:
    """Return which bytes of the heap the rows of a table refer to, and make them refer to these alone."""
    descriptors = []
    position = 0
    for i in range(1, cards["TFIELDS"] + 1):
        match = _TFORM.fullmatch(str(cards.get(f"TFORM{i}", "")).strip())
        if match is None:
            raise FitsFileError(f"{where}: TFORM{i} = {cards.get(f'TFORM{i}')!r} is no format of a column.")
        repeat, code, element = int(match[1] or 1), match[2], match[3]
        width = -(-repeat // 8) if code == "X" else repeat * _BYTES[code]
        if position + width > table.shape[1]:
            raise FitsFileError(f"{where}: the columns need more than the {table.shape[1]} bytes of a row.")
        if code in "PQ" and repeat:
            number = ">i4" if code == "P" else ">i8"
            pair = np.ascontiguousarray(table[:, position : position + width]).view(number)
            descriptors.append((position, pair, _BYTES.get(element, 1)))
        position += width
    used = [(pair[pair[:, 0] > 0].astype(np.int64), size) for _, pair, size in descriptors]
    low = min((int(pair[:, 1].min()) for pair, _ in used if len(pair)), default=0)
    high = max((int((pair[:, 1] + pair[:, 0] * size).max()) for pair, size in used if len(pair)), default=0)
    for position, pair, _ in descriptors:
        pair[:, 1] = np.where(pair[:, 0] > 0, pair[:, 1] - low, 0)
        content = pair.view(np.uint8)
        table[:, position : position + content.shape[1]] = content
    return low, high
