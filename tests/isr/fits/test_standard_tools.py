"""Programs of others accept what is written here: fitsverify, funpack (cfitsio) and fitsio."""

from __future__ import annotations

import shutil
import subprocess

import numpy as np
import pytest

from isr.fits.exposure import write_exposure
from tests.isr.fits.test_exposure import full_exposure

COMPRESSIONS = ("none", "gzip2")


def tool(name: str, package: str) -> str:
    """Return the path of a program; skip the test if it is not there."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"needs {name} (Debian package {package}), which this machine does not have")
    return path


@pytest.fixture(params=COMPRESSIONS)
def written(request, tmp_path):
    """An exposure, with noise and rows of one value, and its file."""
    exposure = full_exposure()
    rng = np.random.default_rng(5)
    exposure.image[...] = rng.normal(300.0, 17.0, exposure.image.shape)
    exposure.image[2], exposure.image[3, 3] = 0.0, np.nan
    exposure.mask[...] = np.where(rng.random(exposure.mask.shape) < 0.1, 1 << 14, 0)
    path = tmp_path / "exposure.fits"
    write_exposure(exposure, path, compression=request.param)
    return exposure, path


def test_fitsverify_finds_no_error(written):
    """It warns of cards without a value and of points in names of columns, as in files of afw."""
    fitsverify = tool("fitsverify", "fitsverify")
    done = subprocess.run([fitsverify, written[1]], capture_output=True, text=True, check=False)
    assert "and 0 error(s). ****" in done.stdout, done.stdout


def test_funpack_gives_the_pixels_back(written, tmp_path):
    funpack = tool("funpack", "libcfitsio-bin")
    exposure, path = written
    subprocess.run([funpack, "-O", tmp_path / "plain.fits", path], check=True)
    same_pixels(exposure, tmp_path / "plain.fits")


def test_fitsio_reads_the_pixels(written):
    same_pixels(*written)


def same_pixels(exposure, path):
    fitsio = pytest.importorskip("fitsio")
    with fitsio.FITS(path) as file:
        for index, name in ((1, "image"), (2, "mask"), (3, "variance")):
            found = file[index].read()
            assert found.astype(found.dtype.newbyteorder("=")).tobytes() == getattr(exposure, name).tobytes()
