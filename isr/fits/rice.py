"""Tiles that are compressed with the Rice algorithm (RICE_1): raw frames (by ``fpack``), masks.

Source of the format: FITS standard 4.0, section 10.4.1. A tile begins with its
first pixel; then each block of pixels has a few bits that say how the
differences between neighbouring pixels are coded in it: not at all (all are
zero), as they are, or cut in two: the upper part in unary, the lower one in
binary. Signed differences 0, -1, 1, -2, ... are numbered 0, 1, 2, 3, ...
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba.extending import intrinsic

from isr.errors import FitsFileError

__all__ = ["BLOCK", "decode_rice_rows", "encode_rice_rows"]

BLOCK = 32
"""Pixels of a block, unless a header says otherwise."""

_WORD = 8
"""Bytes that are looked at at once."""

_RUN = 32
"""Zeros that are counted at once: with the bits that follow they fit into a word."""

_ALL_OF_32 = 0xFFFFFFFF
_BELOW_HIGHEST = np.uint64((1 << 63) - 1)


def decode_rice_rows(
    data: memoryview,
    table: npt.NDArray[np.int64],
    out: npt.NDArray[Any],
    *,
    block: int,
    zero: int,
    is_reversed: bool,
    where: str,
) -> None:
    """Decompress an image of which each row is one tile.

    Parameters
    ----------
    data : `memoryview`
        Data of the HDU, and preferably what follows in the file: they are
        copied if there are fewer than 8 bytes after the last tile.
    table : `numpy.ndarray`, (ny, 2), int64
        Length and position of each tile in ``data``, in bytes; see
        `isr.fits.tiles.read_descriptors`.
    out : `numpy.ndarray`, (ny, nx), uint16 or int32, C-contiguous
        Receives the pixels; the tiles must be of pixels of this size.
    block : `int`
        Pixels of a block.
    zero : `int`
        Is added to all pixels, modulo the range of their type.
    is_reversed : `bool`
        Whether the last pixel of each row goes first.
    where : `str`
        File and number of the HDU, for messages.

    Raises
    ------
    FitsFileError
        If a tile ends before its last pixel.
    """
    content = np.frombuffer(data, np.uint8)
    if int(table.sum(axis=1).max(initial=0)) > len(content) - _WORD:
        content = np.concatenate([content, np.zeros(_WORD, np.uint8)])
    unsigned = out.view(f"u{out.itemsize}")
    tile = _decode(content, table, unsigned, -1 if is_reversed else 1, block, zero)
    if tile >= 0:
        raise FitsFileError(
            f"{where}: tile {tile} ends before its last pixel; it is damaged, fetch the file again."
        )


def _count_zeros(_context: Any, _bits: Any) -> Any:
    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.ctlz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return numba.types.uint64(numba.types.uint64), generate


def _load_word(_context: Any, data: Any, _position: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        place = builder.gep(array.data, [arguments[1]])
        word = builder.load(builder.bitcast(place, ir.IntType(64).as_pointer()))
        word.align = 1
        return builder.bswap(word)

    return numba.types.uint64(data, numba.types.intp), generate


_leading_zeros: Any = intrinsic(_count_zeros)
"""Returns the number of zeros before the highest of 64 bits that is set; 64 if none is."""

_load: Any = intrinsic(_load_word)
"""Returns 8 bytes from a position on as a big-endian number; all must be inside of the array."""

if numba.config.DISABLE_JIT:  # type: ignore[attr-defined] # plain Python, to measure what tests reach

    def _leading_zeros(bits: np.uint64) -> np.uint64:
        return np.uint64(64 - int(bits).bit_length())

    def _load(data: npt.NDArray[np.uint8], position: int) -> np.uint64:
        return np.uint64(int.from_bytes(data[position : position + _WORD].tobytes(), "big"))


@numba.njit(cache=True, nogil=True)
def _decode(data, table, out, step, block, zero):  # type: ignore[no-untyped-def]
    """Decompress all tiles; return the number of the first that is too short, else -1.

    After each tile ``data`` has `_WORD` more bytes. No bit is looked for that is
    further than the end of the tile, so all loads are inside of ``data``.
    """
    ny, nx = out.shape
    flat = out.reshape(-1)
    size = 8 * out.itemsize
    head, plain = (4, 14) if size == 16 else (5, 25)  # bits before a block; the number for "as they are"
    modulo, one = np.uint64((1 << size) - 1), np.uint64(1)
    for tile in range(ny):
        length, position = table[tile]
        bit, end = 8 * position + size, 8 * (position + length)
        if bit > end:
            return tile
        last = (_load(data, position) >> np.uint64(64 - size)) + np.uint64(zero)
        place = tile * nx + (nx - 1 if step < 0 else 0)
        for left in range(nx, 0, -block):
            bits = _load(data, bit >> 3) << np.uint64(bit & 7)
            split = np.int64(bits >> np.uint64(64 - head)) - 1
            bit += head
            if bit > end or split > plain:
                return tile
            for _ in range(min(block, left)):
                if split >= 0:
                    bits = _load(data, bit >> 3) << np.uint64(bit & 7)  # at least 57 bits are there
                    if split < plain:
                        high = np.int64(0)
                        zeros = np.int64(_leading_zeros(bits))
                        while zeros >= _RUN:
                            high += _RUN
                            bit += _RUN
                            if bit > end:
                                return tile
                            bits = _load(data, bit >> 3) << np.uint64(bit & 7)
                            zeros = np.int64(_leading_zeros(bits))
                        bit += zeros + 1 + split
                        low = (bits << np.uint64(zeros)) & _BELOW_HIGHEST
                        code = (np.uint64(high + zeros) << np.uint64(split)) | (low >> np.uint64(63 - split))
                    else:
                        bit += size
                        code = bits >> np.uint64(64 - size)
                    if bit > end:
                        return tile
                    last += (code >> one) ^ (np.uint64(0) - (code & one))
                flat[place] = last & modulo
                place += step
    return -1


def encode_rice_rows(pixels: npt.NDArray[np.int32]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
    """Compress an image, each row as one tile.

    Parameters
    ----------
    pixels : `numpy.ndarray`, (ny, nx), int32
        Image.

    Returns
    -------
    lengths : `numpy.ndarray`, (ny,), int64
        Bytes of each tile.
    tiles : `numpy.ndarray`, uint8
        The tiles, one after the other.
    """
    ny, nx = pixels.shape
    # At most: 32 bits for the first pixel and for each, 5 for each block; and what _encode writes at once.
    tiles = np.empty(
        ny * (4 * nx + nx // BLOCK + 8) + 8, np.uint8
    )  # memory that is not used is never touched
    lengths = np.empty(ny, np.int64)
    size = _encode(np.ascontiguousarray(pixels), lengths, tiles)
    return lengths, tiles[:size].copy()


@numba.njit(cache=True, nogil=True)
def _encode(pixels, lengths, tiles):  # type: ignore[no-untyped-def]
    """Compress all rows; return the number of bytes."""
    ny, nx = pixels.shape
    codes = np.empty(BLOCK, np.int64)
    size = 0
    for row in range(ny):
        begin = size
        last = np.int64(pixels[row, 0])
        bits, count, size = _put(tiles, size, 0, 0, last & _ALL_OF_32, 32)
        for first in range(0, nx, BLOCK):
            n = min(BLOCK, nx - first)
            block = pixels[row, first : first + n]
            differing = 0
            for i in range(n):
                differing |= block[i] ^ block[0]
            if not differing and block[0] == last:
                bits, count, size = _put(tiles, size, bits, count, 0, 5)
                continue
            total = 0
            for i in range(n):
                value = np.int64(block[i])
                difference = np.int64(np.int32(value - last))  # modulo 2**32
                codes[i] = ((difference << 1) ^ (difference >> 63)) & _ALL_OF_32
                total += codes[i]
                last = value
            mean = max(total - n // 2 - 1, 0) // n
            split = 0
            while mean >> (split + 1) > 0:
                split += 1
            bits, count, size = _put(tiles, size, bits, count, min(split, 25) + 1, 5)
            for i in range(n):
                if split >= 25:
                    bits, count, size = _put(tiles, size, bits, count, codes[i], 32)
                    continue
                high = codes[i] >> split
                while high >= 32:
                    bits, count, size = _put(tiles, size, bits, count, 0, 32)
                    high -= 32
                bits, count, size = _put(tiles, size, bits, count, 1, high + 1)
                bits, count, size = _put(tiles, size, bits, count, codes[i] & ((1 << split) - 1), split)
        _, _, size = _put(tiles, size, bits, count, 0, -count % 8)
        lengths[row] = size - begin
    return size


@numba.njit(cache=True, nogil=True)
def _put(tiles, size, bits, count, value, n):  # type: ignore[no-untyped-def]
    """Write ``n`` bits (at most 32); the ``count`` lowest of ``bits``, fewer than 8, came before them."""
    bits, count = (bits << n) | value, count + n
    while count >= 8:
        count -= 8
        tiles[size] = (bits >> count) & 0xFF
        size += 1
    return bits & 0xFF, count, size
