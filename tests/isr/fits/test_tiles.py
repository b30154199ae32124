"""Lossless tiles of whole rows."""

from __future__ import annotations

import io

import numpy as np
import pytest
from astropy.io import fits

from isr.errors import FitsFileError
from isr.fits.scan import scan_hdus
from isr.fits.tiles import decode_gzip_rows, encode_gzip_rows, has_gzip_rows, has_only_zeros


def compressed(array, kind="GZIP_2", **options):
    """Return file and second HDU of an image that astropy has compressed, and its data unit."""
    stream = io.BytesIO()
    hdu = fits.CompImageHDU(array, compression_type=kind, **({"quantize_level": 0.0} | options))
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(stream)
    data = stream.getvalue()
    unit = list(scan_hdus(data, "test"))[1]
    return unit, bytearray(data[unit.data_start : unit.data_start + unit.data_size])


@pytest.fixture
def pixels():
    rng = np.random.default_rng(3)
    array = rng.normal(0.0, 1e4, (6, 37)).astype(np.float32)
    array[1] = array[2] = array[5] = 0.0  # equal tiles, side by side and apart
    array[3, :4] = np.nan, np.inf, -np.inf, -0.0
    return array


@pytest.mark.parametrize("kind", ["GZIP_1", "GZIP_2"])
@pytest.mark.parametrize("dtype", ["u1", "i2", "i4", "f4", "f8"])
def test_every_type_comes_back_bit_for_bit(pixels, kind, dtype):
    array = (
        pixels.astype(dtype) if dtype[0] == "f" else np.nan_to_num(pixels, posinf=5, neginf=6).astype("i8")
    )
    array = (array % 251).astype(dtype) if dtype == "u1" else array.astype(dtype)
    unit, data = compressed(array, kind)
    assert has_gzip_rows(unit.header)
    decoded = decode_gzip_rows(memoryview(data), unit.header, "test")
    assert decoded.dtype == np.dtype(dtype)
    assert decoded.tobytes() == array.tobytes()


@pytest.mark.parametrize(
    "options",
    [
        {"kind": "RICE_1", "quantize_level": 16.0},
        {"quantize_level": 16.0},
        {"tile_shape": (2, 37)},
        {"tile_shape": (1, 10)},
    ],
)
def test_other_forms_are_left_to_astropy(pixels, options):
    unit, _ = compressed(np.nan_to_num(pixels, posinf=5.0, neginf=6.0), **options)
    assert not has_gzip_rows(unit.header)


def test_scaled_pixels_and_plain_images_are_left_to_astropy(pixels):
    unit, _ = compressed((pixels[:1] * 0).astype(np.uint16))
    assert unit.header["BZERO"] == 32768
    assert not has_gzip_rows(unit.header)
    assert not has_gzip_rows({"XTENSION": "IMAGE", "NAXIS": 2})


def test_a_damaged_tile_is_named(pixels):
    unit, data = compressed(pixels)
    start = unit.header["NAXIS1"] * 6 + np.frombuffer(data, ">i4", 12).reshape(6, 2)[4, 1]
    data[start + 15] ^= 0xFF
    with pytest.raises(FitsFileError, match=r"file\.fits, HDU 1: tile 4 .*(damaged|bytes)"):
        decode_gzip_rows(memoryview(data), unit.header, "file.fits, HDU 1")


def test_a_tile_outside_of_the_file_is_refused(pixels):
    unit, data = compressed(pixels)
    data[2 * 8 : 2 * 8 + 4] = (10**6).to_bytes(4, "big")
    with pytest.raises(FitsFileError, match="tile 2 lies outside"):
        decode_gzip_rows(memoryview(data), unit.header, "test")


def test_a_tile_never_grows_beyond_its_row(pixels):
    unit, data = compressed(pixels)
    with pytest.raises(FitsFileError, match="tile 0 is damaged, or has more than 80 bytes"):
        decode_gzip_rows(memoryview(data), unit.header | {"ZNAXIS1": 20}, "test")
    with pytest.raises(FitsFileError, match="tile 0 has 148 bytes, expected 160"):
        decode_gzip_rows(memoryview(data), unit.header | {"ZNAXIS1": 40}, "test")


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_a_plane_of_zeros_is_seen(dtype):
    plane = np.zeros((6, 37), dtype)
    for place, expected in ((None, True), ((0, 0), False), ((5, 36), False), (slice(None), False)):
        plane[:] = 0
        if place is not None:
            plane[place] = 3
        unit, data = compressed(plane)
        assert has_only_zeros(memoryview(data), unit.header, "test") is expected


def test_a_plane_of_damaged_zeros_is_not_one():
    unit, data = compressed(np.zeros((1, 37), np.float32))
    with pytest.raises(FitsFileError, match="tile 0 has 148 bytes, expected 160"):
        has_only_zeros(memoryview(data), unit.header | {"ZNAXIS1": 40}, "test")
    data[unit.header["NAXIS1"] + 12] ^= 0xFF
    with pytest.raises(FitsFileError, match="tile 0"):
        has_only_zeros(memoryview(data), unit.header, "test")


def test_bytes_do_not_depend_on_the_rows_around(pixels):
    """Tiles that repeat are not compressed again, and rows are rearranged some at a time."""
    tiles = encode_gzip_rows(np.tile(pixels, (4, 1)))
    assert tiles == [encode_gzip_rows(pixels[i : i + 1])[0] for i in range(6)] * 4
