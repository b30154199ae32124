"""Raw frames that must be refused, each with a message that says why."""

import gzip
import struct
import zlib

import numpy as np
import pytest
from astropy.io import fits

from isr.camera import Camera
from isr.errors import CameraError, FitsFileError, HeaderError, IsrError
from isr.fits import scan
from isr.fits.raw import read_raw
from tests.isr.fits.raws import SMALL_HSC, fpacked, header, plain, ramp, save, to_bytes


def zipped(data):
    """Gzip without the time: the same bytes, and the same names of tests, in every process."""
    return gzip.compress(data, mtime=0)


def refuse(data, error, message, camera=SMALL_HSC):
    """Read bytes that must be refused; every message begins with the name of the file."""
    with pytest.raises(error, match=rf"(?s)^bad\.fits.*({message})"):
        read_raw(data, camera=camera, name="bad.fits")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", r"is empty \(0 bytes\)"),
        (b"<!DOCTYPE html><html><body>Please log in</body></html>", "web page"),
        (b"\n <?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "web page or XML"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 3\n", "git lfs pull"),
        (b"\x93NUMPY\x01\x00" + bytes(100), "is not a FITS file: it begins with"),
        (b"SIMPLE", "is not a FITS file"),
        (bytes(5760), "is not a FITS file"),
        (zipped(b""), r"is empty \(0 bytes\)"),
        (zipped(b"hello"), "is not a FITS file"),
        (zipped(zipped(b"hello")), "is not a FITS file"),
        (b"SIMPLE  =                    T".ljust(2880), "header has no END"),
        (b"SIMPLE  =                    T".ljust(80) + b"END".ljust(1000), "header has no END"),
    ],
)
def test_not_fits(data, message):
    refuse(data, FitsFileError, message)


def test_name_of_the_file_is_in_the_message(tmp_path):
    path = save(tmp_path, b"")
    with pytest.raises(FitsFileError, match=r"raw\.fits: is empty"):
        read_raw(path)


@pytest.mark.parametrize("write", [plain, fpacked])
@pytest.mark.parametrize("keep", [0.02, 0.3, 0.6, 0.9, 0.99])
def test_truncated(write, keep):
    data = write()
    refuse(data[: int(keep * len(data))], FitsFileError, "cut short|no END")


@pytest.mark.parametrize("write", [plain, fpacked])
@pytest.mark.parametrize("lost", [1, 80, 2880])
def test_truncated_at_the_end(write, lost):
    refuse(
        write()[:-lost], FitsFileError, "HDU .: the file is cut short: it has .* bytes, its header asks for"
    )


@pytest.mark.parametrize("keep", [5, 15, 200, -4, -1])
def test_truncated_gzip(keep):
    refuse(zipped(plain())[:keep], FitsFileError, "gzip data are damaged or cut short")


def test_corrupt_gzip():
    data = bytearray(zipped(plain()))
    data[len(data) // 2] ^= 0xFF
    refuse(bytes(data), FitsFileError, "gzip data are damaged")
    refuse(zipped(plain()) + b"garbage after it", FitsFileError, "gzip data are damaged")


def test_gzip_bomb(monkeypatch):
    """Decompression stops at the limit: memory is not filled to find out how large it would be."""
    monkeypatch.setattr(scan, "MAX_GUNZIPPED", 1 << 20)
    compressor = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = compressor.compress(plain() + bytes(1 << 22)) + compressor.flush()
    assert len(bomb) < 10_000
    refuse(bomb, FitsFileError, "more than 1 MiB when decompressed")
    assert scan.MAX_GUNZIPPED < 1 << 30


@pytest.mark.parametrize(
    ("hdus", "found"),
    [
        ([fits.PrimaryHDU()], "0: PRIMARY of 0 bytes"),
        ([fits.PrimaryHDU(header=header())], "0: PRIMARY of 0 bytes"),
        (
            [fits.PrimaryHDU(), fits.BinTableHDU.from_columns([fits.Column("x", "E", array=np.zeros(3))])],
            "0: PRIMARY of 0 bytes, 1: BINTABLE of 12 bytes",
        ),
        ([fits.PrimaryHDU(), fits.ImageHDU()], "0: PRIMARY of 0 bytes, 1: IMAGE of 0 bytes"),
    ],
)
def test_no_image(hdus, found):
    refuse(to_bytes(fits.HDUList(hdus)), FitsFileError, f"has no image; its HDUs are {found}")


def test_something_else_after_the_primary():
    refuse(to_bytes(fits.PrimaryHDU()) + bytes(2880), FitsFileError, "has no image")


@pytest.mark.parametrize("write", [plain, fpacked])
@pytest.mark.parametrize("shape", [(23, 41), (22, 42), (42, 23), (46, 84)])
def test_wrong_size(write, shape):
    message = (
        rf"HDU .: the image has {shape[1]} x {shape[0]} pixels .*expected 42 x 23 for detector 22 \(0_27\)"
    )
    refuse(write(np.zeros(shape, np.uint16)), FitsFileError, message)


@pytest.mark.parametrize("shape", [(42,), (1, 23, 42)])
def test_wrong_number_of_axes(shape):
    refuse(plain(np.zeros(shape, np.uint16)), FitsFileError, f"the image has {len(shape)} axes, expected 2")


def test_wrong_size_of_hsc():
    refuse(plain(), FitsFileError, "has 42 x 23 pixels .* expected 2144 x 4241", camera=None)


@pytest.mark.parametrize(
    ("dtype", "found"),
    [
        ("f4", "BITPIX = -32, BZERO = 0"),
        ("f8", "BITPIX = -64"),
        ("i4", "BITPIX = 32"),
        ("u4", "BITPIX = 32, BZERO = 2147483648"),
        ("i2", "BITPIX = 16, BZERO = 0"),
        ("u1", "BITPIX = 8"),
    ],
)
def test_wrong_type_of_pixels(dtype, found):
    message = rf"{found}.*expected unsigned 16-bit integers"
    refuse(plain(np.zeros((23, 42), dtype)), FitsFileError, message)


def test_wrong_type_of_compressed_pixels():
    refuse(fpacked(np.zeros((23, 42), np.int32)), FitsFileError, "BITPIX = 32")
    refuse(fpacked(np.zeros((23, 42), np.int16)), FitsFileError, "BITPIX = 16, BZERO = 0")


def test_scaled_pixels():
    data = plain().replace(b"BSCALE  =                    1", b"BSCALE  =                    2")
    refuse(data, FitsFileError, "BSCALE = 2")


@pytest.mark.parametrize("write", [plain, fpacked])
def test_damaged_pixels_are_found_by_the_checksum(write):
    data = bytearray(write(checksum=True))
    assert read_raw(bytes(data), camera=SMALL_HSC).header
    # Within the data, before the padding of zeros at the end of the file.
    data[len(data) - 2880 + 200] ^= 1
    refuse(bytes(data), FitsFileError, "DATASUM = '.*', but the bytes give .* damaged")


@pytest.mark.parametrize("write", [plain, fpacked])
def test_damaged_header_is_found_by_the_checksum(write):
    data = write(checksum=True)
    changed = data.replace(b"OBJECT  = 'STRIPE82L", b"OBJECT  = 'STRIPE83L")
    assert changed != data
    refuse(changed, FitsFileError, "CHECKSUM = .*damaged")


def test_damaged_empty_primary_is_found_by_the_checksum():
    data = fpacked(checksum=True)
    changed = data.replace(b"EXTEND  =                    T", b"EXTEND  =                    F", 1)
    assert changed != data
    refuse(changed, FitsFileError, "HDU 0: CHECKSUM")


def test_damaged_tiles():
    data = fpacked(np.random.default_rng(3).integers(0, 65536, (23, 42)).astype(np.uint16))
    start = data.rindex(b"END" + b" " * 77)
    start += 2880 - start % 2880  # the table of tiles, then the tiles
    tiles = start + 8 * 23
    refuse(data[:start] + b"\xff" * (8 * 23) + data[tiles:], FitsFileError, "HDU 1: tile 0 lies outside")
    last = struct.unpack(">ii", data[tiles - 8 : tiles])
    short = struct.pack(">ii", last[0] // 2, last[1])
    refuse(data[: tiles - 8] + short + data[tiles:], FitsFileError, "HDU 1: tile 22 ends before its last")


def test_damaged_tiles_of_other_shapes():
    noise = np.random.default_rng(3).integers(0, 65536, (23, 42)).astype(np.uint16)
    data = fpacked(noise, tile=(5, 42))
    start = data.rindex(b"END" + b" " * 77)
    start += 2880 - start % 2880
    tiles = start + 8 * 5
    refuse(data[:start] + b"\xff" * (8 * 5) + data[tiles:], FitsFileError, "HDU 1: the tiles are damaged")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"'RICE_1  '", b"'RICE_9  '", "ZCMPTYPE = 'RICE_9', expected RICE_1"),
        (
            b"ZVAL1   =                   32",
            b"ZVAL1   =                    0",
            "BLOCKSIZE = 0, expected 16 or 32",
        ),
        (b"ZVAL2   =                    2", b"ZVAL2   =                    8", "BYTEPIX = 8, expected 2"),
        (b"ZTILE1  =                   42", b"ZTILE1  =                    0", "tiles of 0 x 1 pixels"),
        (b"ZTILE1  =                   42", b"ZTILE1  =           2000000000", "tiles of 2000000000 x 1"),
        (b"ZNAXIS1 =                   42", b"ZNAXIS1 =           2000000000", "has 2000000000 x 23 pixels"),
        (b"NAXIS2  =                   23", b"NAXIS2  =                   20", "tiles are damaged|cut short"),
        (b"PCOUNT  =  ", b"PCOUNT  = -", "PCOUNT is -.*, expected an integer from 0"),
        (b"GCOUNT  =                    1", b"GCOUNT  =                    0", "GCOUNT is 0, expected"),
        (b"NAXIS2  =                   23", b"NAXIS2  =                     ", "NAXIS2 is None"),
        (b"BITPIX  =                    8", b"BITPIX  =                  8.0", "BITPIX is 8.0, expected"),
        (
            b"BITPIX  =                    8",
            b"BITPIX  =                    9",
            "BITPIX is 9, expected one of",
        ),
        (b"TFIELDS =                    1", b"TFIELDS =                    2", "TFIELDS = 2"),
    ],
)
def test_hostile_structure(old, new, message):
    data = fpacked()
    head, body = data[:2880], data[2880:]
    assert old in body
    refuse(head + body.replace(old, new, 1), FitsFileError, message)


def test_other_compression():
    """Gzip tiles could be bombs; HSC's archive does not have them."""
    refuse(fpacked(compression="GZIP_2"), FitsFileError, "ZCMPTYPE = 'GZIP_2', expected RICE_1.*funpack")


@pytest.mark.parametrize("key", ["EXP-ID", "DET-ID", "EXPTIME", "FILTER01", "DATE-OBS"])
def test_missing_keyword(key):
    refuse(plain(**{key: None}), HeaderError, f"header keyword {key} is missing; expected")


def test_unknown_detector():
    refuse(plain(DET_ID=23), CameraError, "DET-ID: Camera HSC has no detector 23")
    refuse(plain(DET_ID=112), CameraError, "DET-ID: Camera HSC has no detector 112", camera=None)


def test_not_hsc():
    data = to_bytes(fits.PrimaryHDU(ramp(), fits.Header([("INSTRUME", "Suprime-Cam")])))
    refuse(data, HeaderError, "is not a raw frame of HSC: INSTRUME is 'Suprime-Cam'", camera=None)
    refuse(to_bytes(fits.PrimaryHDU(ramp())), HeaderError, "INSTRUME is None", camera=None)


def test_other_camera():
    other = Camera("other", SMALL_HSC.detectors)
    refuse(
        to_bytes(fits.PrimaryHDU(ramp())),
        HeaderError,
        "DET-ID is missing; expected the detector of camera other, one of 22, 100",
        camera=other,
    )
    cards = fits.Header([("DET-ID", 22), ("DATE-OBS", "yesterday")])
    refuse(
        to_bytes(fits.PrimaryHDU(ramp(), cards)),
        HeaderError,
        "DATE-OBS = 'yesterday'; expected",
        camera=other,
    )


@pytest.mark.parametrize("seed", range(4))
def test_random_damage(seed):
    """Whatever the damage, the file is read or refused, by an error of ours."""
    random = np.random.default_rng(seed)
    files = plain(), fpacked(), zipped(plain())
    outcomes = set()
    for i in range(120):
        data = bytearray(files[i % 3])
        start = int(random.integers(len(data)))
        if i % 4 == 0:
            del data[start:]
        else:
            size = int(random.integers(1, 1 + 10 ** int(random.integers(3))))
            data[start : start + size] = random.integers(0, 256, size).astype(np.uint8).tobytes()
        try:
            read_raw(bytes(data), camera=SMALL_HSC)
            outcomes.add("read")
        except IsrError:
            outcomes.add("refused")
    assert outcomes == {"read", "refused"}
