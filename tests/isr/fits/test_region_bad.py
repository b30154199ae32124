"""Parts of files that are damaged, or not such files."""

from __future__ import annotations

import io

import numpy as np
import pytest
from astropy.io import fits

from isr.camera import Box
from isr.errors import FitsFileError, IsrError
from isr.fits.exposure import encode_exposure
from isr.fits.region import read_component, read_region
from tests.isr.fits.test_region import BOX, exposure


@pytest.fixture(scope="module", params=["none", "gzip2"])
def data(request):
    return encode_exposure(exposure(), request.param)


@pytest.fixture(scope="module")
def plain():
    return encode_exposure(exposure())


def test_a_truncated_file_is_noticed(data):
    for size in range(0, len(data), 14400 + 1440):
        with pytest.raises(FitsFileError):
            read_region(io.BytesIO(data[:size]), BOX)


@pytest.mark.parametrize("content", [b"", b"text", b"<!DOCTYPE html>", b"\x1f\x8bdamaged"])
def test_what_is_not_fits_is_named(content):
    with pytest.raises(FitsFileError, match=r"x\.fits"):
        read_region(io.BytesIO(content), BOX, name="x.fits")


def test_a_damaged_archive_is_noticed(plain):
    position = plain.rindex(b"HSC-R")
    damaged = plain[:position] + b"HSC-I" + plain[position + 5 :]
    with pytest.raises(FitsFileError, match=r"archive, HDU .*DATASUM"):
        read_component(io.BytesIO(damaged), "filter")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ((b"ZTILE2  =                    1", b"ZTILE2  =                    0"), None),
        ((b"TFORM1  = '1PB(", b"TFORM1  = '1ZZ("), "TFORM1"),
        ((b"TFORM1  = '1PB(", b"TFORM1  = '9PB("), "bytes of a row"),
        ((b"EXTTYPE = 'IMAGE   '", b"EXTTYPE = 'MASK    '"), "EXTTYPE"),
        ((b"ZNAXIS  =                    2", b"ZNAXIS  =                    1"), "two-dimensional"),
        ((b"ZNAXIS2 =                  200", b"ZNAXIS2 =                  900"), "HDU 2: shape"),
        (
            (b"ZIMAGE  =                    T", b"ZIMAGE  =                    F"),
            "expected the image, found",
        ),
    ],
)
def test_headers_that_contradict_themselves(change, message):
    data = encode_exposure(exposure(), "gzip2")
    damaged = data.replace(*change, 1)
    assert damaged != data
    if message is None:  # tiles of no height: taken for tiles of unknown shape
        assert read_component(io.BytesIO(data), "image", BOX).shape == (17, 50)
        return
    with pytest.raises(FitsFileError, match=message):
        read_region(io.BytesIO(damaged), BOX)


def test_a_tile_outside_the_heap():
    data = bytearray(encode_exposure(exposure(), "gzip2"))
    with fits.open(io.BytesIO(data), disable_image_compression=True) as hdus:
        place = hdus[1].fileinfo()["datLoc"] + 8 * 40
    data[place + 4 : place + 8] = (2**30).to_bytes(4, "big")
    with pytest.raises(FitsFileError, match=r"HDU 1: tiles at bytes .* of a heap of"):
        read_region(io.BytesIO(data), BOX)


def test_random_damage_gives_an_error_or_pixels():
    data = encode_exposure(exposure(), "gzip2")
    random = np.random.default_rng(3)
    errors = 0
    for position in random.integers(0, len(data), 15).tolist() + random.integers(0, 8640, 15).tolist():
        damaged = bytearray(data)
        damaged[position] ^= 1 << int(random.integers(0, 8))
        try:
            found = read_region(io.BytesIO(damaged), Box(0, 0, 20, 20))
        except (IsrError, ValueError):
            errors += 1
        else:
            assert found.shape == (20, 20)
    assert errors > 2


class Slow(io.BytesIO):
    """Gives few bytes at a time, and at some point no more."""

    def __init__(self, data: bytes, limit: int) -> None:
        super().__init__(data)
        self.left = limit

    def read(self, size: int | None = -1, /) -> bytes:
        part = super().read(min(size if size is not None and size >= 0 else 1 << 30, 1000, self.left))
        self.left -= len(part)
        return part


def test_streams_may_give_less_than_is_asked_for(plain):
    expected = read_component(io.BytesIO(plain), "image", BOX)
    assert read_component(Slow(plain, 10**9), "image", BOX).tobytes() == expected.tobytes()


def test_a_stream_that_breaks_off_is_noticed(plain):
    with pytest.raises(FitsFileError, match="bytes before it should"):
        read_component(Slow(plain, 20000), "image", BOX)


def test_too_few_tiles():
    data = encode_exposure(exposure(), "gzip2")
    at = data.index(b"COMPRESSED_DATA")
    start = data.rindex(b"NAXIS2  =                  200", 0, at)
    damaged = data[:start] + b"NAXIS2  =                  100" + data[start + 30 :]
    with pytest.raises(FitsFileError, match="HDU 1: 100 tiles, expected 200"):
        read_component(io.BytesIO(damaged), "image", Box(0, 150, 10, 10))


def test_an_archive_that_is_too_large(plain, monkeypatch):
    monkeypatch.setattr("isr.fits.partial.MAX_GUNZIPPED", 10000)
    with pytest.raises(FitsFileError, match="archive has more than"):
        read_component(io.BytesIO(plain), "filter")
