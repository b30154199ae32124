"""RICE_1: the pixels of astropy's and cfitsio's encoders, and nothing outside of the bytes of a tile."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st

from isr.errors import FitsFileError
from isr.fits.rice import decode_rice_rows, encode_rice_rows
from isr.fits.scan import scan_hdus
from isr.fits.tiles import has_rice_rows, read_descriptors

KINDS = ("equal", "ramp", "noise", "rare", "extreme", "mixed")


@st.composite
def images(draw, dtype):
    """Rows of any width, with blocks of all codings: none, split in all ways, as they are."""
    nx, ny = draw(st.integers(1, 70)), draw(st.integers(1, 4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    base = draw(st.integers(low, high))
    span = 2 ** draw(st.integers(0, 8 * np.dtype(dtype).itemsize - 1))
    match draw(st.sampled_from(KINDS)):
        case "equal":
            values = np.full((ny, nx), base)
        case "ramp":
            values = base + span * np.arange(nx * ny).reshape(ny, nx)
        case "noise":
            values = base + rng.integers(-span, span, (ny, nx))
        case "rare":  # long runs of zero bits
            values = base + np.where(rng.random((ny, nx)) < 0.03, span, 0)
        case "extreme":
            values = rng.choice([low, high], (ny, nx))
        case _:
            values = np.where(np.arange(nx) // 32 % 2, rng.integers(low, high, (ny, nx)), base)
    return ((values - low) % 2 ** (8 * np.dtype(dtype).itemsize) + low).astype(dtype)


def packed(pixels):
    """Return the second HDU of an image that astropy has compressed, and the file from its data on."""
    stream = io.BytesIO()
    image = fits.CompImageHDU(pixels, compression_type="RICE_1", tile_shape=(1, pixels.shape[1]))
    fits.HDUList([fits.PrimaryHDU(), image]).writeto(stream)
    data = stream.getvalue()
    unit = list(scan_hdus(data, "test"))[1]
    return unit, data[unit.data_start :]


def decoded(data, table, shape, dtype, *, zero=0, is_reversed=False):
    out = np.empty(shape, dtype)
    decode_rice_rows(
        memoryview(data), table, out, block=32, zero=zero, is_reversed=is_reversed, where="file.fits, HDU 1"
    )
    return out


def table_of(lengths):
    return np.stack([lengths, np.cumsum(lengths) - lengths], axis=1)


@given(images(np.uint16), st.booleans())
def test_raw_pixels_of_astropy_come_back(pixels, is_reversed):
    unit, data = packed(pixels)
    assert has_rice_rows(unit.header, 16)
    table = read_descriptors(memoryview(data)[: unit.data_size], unit.header, "test")
    found = decoded(data, table, pixels.shape, np.uint16, zero=32768, is_reversed=is_reversed)
    np.testing.assert_array_equal(found, pixels[:, ::-1] if is_reversed else pixels)


@given(images(np.int32))
def test_masks_of_astropy_come_back(pixels):
    unit, data = packed(pixels)
    assert has_rice_rows(unit.header, 32)
    table = read_descriptors(memoryview(data)[: unit.data_size], unit.header, "test")
    np.testing.assert_array_equal(decoded(data, table, pixels.shape, np.int32), pixels)


@given(images(np.int32))
def test_what_is_encoded_here_is_what_astropy_encodes(pixels):
    """The same bytes: so every reader of RICE_1 reads it."""
    unit, data = packed(pixels)
    table = read_descriptors(memoryview(data)[: unit.data_size], unit.header, "test")
    lengths, tiles = encode_rice_rows(pixels)
    assert lengths.tolist() == table[:, 0].tolist()
    heap = int(table[0, 1])
    assert tiles.tobytes() == data[heap : heap + len(tiles)]
    np.testing.assert_array_equal(decoded(tiles.tobytes(), table_of(lengths), pixels.shape, np.int32), pixels)


@pytest.mark.parametrize("dtype", [np.uint16, np.int32])
def test_by_cfitsio(tmp_path, dtype):
    fitsio = pytest.importorskip("fitsio")
    rng = np.random.default_rng(8)
    pixels = rng.normal(1200.0, 30.0, (40, 333)).astype(dtype)
    pixels[7] = 5
    pixels[9] = rng.integers(0, 65536, 333)
    fitsio.write(tmp_path / "x.fits", pixels, compress="RICE", tile_dims=(1, 333))
    data = (tmp_path / "x.fits").read_bytes()
    unit = list(scan_hdus(data, "test"))[1]
    data = data[unit.data_start :]
    table = read_descriptors(memoryview(data)[: unit.data_size], unit.header, "test")
    zero = 32768 if dtype == np.uint16 else 0
    np.testing.assert_array_equal(decoded(data, table, pixels.shape, dtype, zero=zero), pixels)


@given(images(np.int32), st.integers(0, 2**32 - 1))
def test_a_tile_that_is_cut_short_is_named(pixels, seed):
    lengths, tiles = encode_rice_rows(pixels)
    table = table_of(lengths)
    row = seed % len(pixels)
    table[row, 0] -= 1 + seed % lengths[row]
    with pytest.raises(FitsFileError, match=rf"^file\.fits, HDU 1: tile {row} ends before its last pixel"):
        decoded(tiles.tobytes(), table, pixels.shape, np.int32)


@pytest.mark.parametrize("dtype", [np.uint16, np.int32])
@pytest.mark.parametrize("content", ["zeros", "ones", "noise"])
def test_hostile_tiles_are_read_or_refused(dtype, content):
    """Whatever the bytes, only pixels of the image are written."""
    rng = np.random.default_rng(2)
    for _ in range(50):
        nx = int(rng.integers(1, 100))
        lengths = rng.integers(1, 6 * nx, 5)
        size = int(lengths.sum())
        tiles = rng.integers(0, 256, size).astype(np.uint8)
        if content != "noise":
            tiles[:] = 0 if content == "zeros" else 255
        around = np.full((7, nx), 77, dtype)
        with contextlib.suppress(FitsFileError):
            decode_rice_rows(
                tiles.data, table_of(lengths), around[1:6], block=32, zero=0, is_reversed=True, where="x"
            )
        assert (around[[0, 6]] == 77).all()
