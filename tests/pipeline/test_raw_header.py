"""Headers of raw frames, read without the pixels."""

from __future__ import annotations

import gzip

import numpy as np
import pytest
from astropy.io import fits
from lsst.resources import ResourcePath

from isr.errors import FitsFileError, ObjectError
from isr.fits.scan import scan_hdus
from pipeline.raw_header import read_raw_header
from tests.pipeline.raws import DATA_SIZE, raw_header, write_raw


def read(path):
    return read_raw_header(ResourcePath(str(path)))


@pytest.fixture(scope="module")
def compressed(tmp_path_factory):
    """A tile-compressed raw whose cards are in the second HDU."""
    path = tmp_path_factory.mktemp("fz") / "raw.fits.fz"
    hdu = fits.CompImageHDU(np.zeros((64, 64), np.uint16), raw_header(), compression_type="RICE_1")
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path)
    return path


def test_plain_file(tmp_path):
    path = write_raw(tmp_path)
    header = read(path)
    assert (header["EXP-ID"], header["DET-ID"], header["FILTER01"]) == ("HSCA90333400", 22, "HSC-r")
    assert header == next(scan_hdus(path.read_bytes(), "")).header


def test_gzipped_file(tmp_path):
    plain = write_raw(tmp_path)
    zipped = tmp_path / "raw.fits.gz"
    zipped.write_bytes(gzip.compress(plain.read_bytes(), 1))
    assert read(zipped) == read(plain)


def test_compressed_file(compressed):
    header = read(compressed)
    assert (header["EXP-ID"], header["DET-ID"], header["ZIMAGE"]) == ("HSCA90333400", 22, True)


def test_only_the_beginning_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.raw_header.HEAD", 1 << 15)
    path = write_raw(tmp_path)
    with path.open("r+b") as stream:
        stream.seek(1 << 16)
        stream.write(b"\xff" * 80)
    assert read(path)["DET-ID"] == 22


def test_missing_file(tmp_path):
    with pytest.raises(ObjectError, match=r"nothing\.fits: no such file"):
        read(tmp_path / "nothing.fits")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"<html>login</html>", "is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
        (b"\x00" * 4000, "is not a FITS file"),
        (b"\x1f\x8b" + b"\x00" * 100, "gzip data are damaged"),
        (b"SIMPLE  =                    T".ljust(2000), "no END"),
        (b"SIMPLE  =                    T".ljust(2880 * 95), "no END"),
    ],
)
def test_what_is_no_fits_file(tmp_path, content, message):
    path = tmp_path / "bad.fits"
    path.write_bytes(content)
    with pytest.raises(FitsFileError, match=message):
        read(path)


def test_file_that_is_cut_short(tmp_path):
    path = write_raw(tmp_path)
    whole = path.stat().st_size
    with path.open("r+b") as stream:
        stream.truncate(whole - 2880 - 1)
    with pytest.raises(FitsFileError, match=f"cut short: it has {whole - 2881} bytes"):
        read(path)
    with path.open("r+b") as stream:
        stream.truncate(whole - DATA_SIZE)
    with pytest.raises(FitsFileError, match="cut short"):
        read(path)


def test_gzipped_file_that_is_cut_short_within_the_header(tmp_path):
    zipped = gzip.compress(write_raw(tmp_path).read_bytes(), 1)
    path = tmp_path / "cut.fits.gz"
    path.write_bytes(zipped[:1000])
    with pytest.raises(FitsFileError, match="no END"):
        read(path)


@pytest.mark.parametrize("axes", [{"NAXIS1": "x"}, {"NAXIS": 0}, {"NAXIS": 5000}, {"BITPIX": None}])
def test_header_without_pixels_that_make_sense(tmp_path, axes):
    header = raw_header()
    for key, value in axes.items():
        header[key] = value
    path = tmp_path / "odd.fits"
    path.write_bytes(header.tostring().encode() + bytes(2880) + b"END".ljust(2880))
    with pytest.raises(FitsFileError, match=r"no image in its first two HDUs|no END"):
        read(path)


def test_file_in_an_object_store(s3, s3_bucket, tmp_path):
    path = write_raw(tmp_path)
    key = "raw.fits"
    s3.client().put_object(Bucket=s3_bucket.removeprefix("s3://"), Key=key, Body=path.read_bytes())
    assert read(f"{s3_bucket}/{key}") == read(path)
    with pytest.raises(ObjectError, match="no such file"):
        read(f"{s3_bucket}/other.fits")
