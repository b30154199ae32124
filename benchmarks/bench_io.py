"""Reading and writing against astropy and fitsio, in a warm page cache.

Ours does more than the others: it verifies checksums, hashes the raw for the
provenance and translates its header, and writes files that are there whole or
not at all.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable
from functools import partial
from pathlib import Path

import fitsio
import numpy as np
import pytest
from astropy.io import fits

from benchmarks.data import RAW_NAME, Inputs
from benchmarks.measure import race
from isr import read_exposure, read_raw, run_isr, write_exposure
from isr.exposure import Exposure

ROUNDS = 5


def astropy_read(path: Path, hdus: list[int]) -> list[np.ndarray]:
    with fits.open(path, memmap=False) as file:
        return [np.array(file[hdu].data) for hdu in hdus]


def fitsio_read(path: Path, hdus: list[int]) -> list[np.ndarray]:
    with fitsio.FITS(str(path)) as file:
        return [file[hdu].read() for hdu in hdus]


def first_image(path: Path) -> int:
    with fits.open(path) as file:
        return next(i for i, hdu in enumerate(file) if hdu.is_image and hdu.shape)


@pytest.fixture(scope="module")
def raws(data, tmp_path_factory) -> dict[str, Path]:
    """The raw of detector 22: plain, gzipped, and as fpack writes it (RICE, a tile a row)."""
    plain, folder = data / "raw" / RAW_NAME, tmp_path_factory.mktemp("raws")
    zipped, packed = folder / f"{RAW_NAME}.gz", folder / f"{RAW_NAME}.fz"
    zipped.write_bytes(gzip.compress(plain.read_bytes(), 6, mtime=0))
    with fits.open(plain, do_not_scale_image_data=True) as file:
        hdu = file[first_image(plain)]
        image = fits.CompImageHDU(hdu.data, hdu.header, compression_type="RICE_1", uint=True)
        for key in ("BZERO", "BSCALE"):
            image.header[key] = hdu.header[key]
        fits.HDUList([fits.PrimaryHDU(), image]).writeto(packed)
    np.testing.assert_array_equal(read_raw(packed).pixels, read_raw(plain).pixels)
    return {"plain": plain, "gz": zipped, "fz": packed}


@pytest.mark.parametrize("kind", ["plain", "gz", "fz"])
def test_read_raw(benchmark, raws, kind):
    path, hdu = raws[kind], [first_image(raws[kind])]
    race(
        benchmark,
        {
            "hsc-isr": partial(read_raw, path),
            "astropy": partial(astropy_read, path, hdu),
            "fitsio": partial(fitsio_read, path, hdu),
        },
        ROUNDS,
    )


@pytest.fixture(scope="module")
def exposure(inputs: Inputs) -> Exposure:
    """What full ISR makes of detector 22."""
    from isr import hsc_config

    return run_isr(inputs.raw, inputs.calibs, hsc_config()).exposure


def astropy_write(exposure: Exposure, path: Path, compression: str) -> None:
    hdus: list[object] = [fits.PrimaryHDU()]
    for plane in (exposure.image, exposure.mask, exposure.variance):
        if compression == "none":
            hdus.append(fits.ImageHDU(plane))
        else:
            hdus.append(fits.CompImageHDU(plane, compression_type="GZIP_2", quantize_level=0))
    fits.HDUList(hdus).writeto(path, overwrite=True)


def fitsio_write(exposure: Exposure, path: Path, compression: str) -> None:
    options = {} if compression == "none" else {"compress": "GZIP_2", "qlevel": 0}
    with fitsio.FITS(str(path), "rw", clobber=True) as file:
        for plane in (exposure.image, exposure.mask, exposure.variance):
            file.write(plane, **options)


def with_new_file(write: Callable[[Path], object], path: Path) -> Callable[[], object]:
    """Return a function that writes a file that is not there."""

    def call() -> object:
        path.unlink(missing_ok=True)
        return write(path)

    return call


@pytest.mark.parametrize("compression", ["none", "gzip2"])
def test_write_exposure(benchmark, exposure, folder, compression):
    writers = {
        "hsc-isr": lambda path: write_exposure(exposure, path, compression=compression),
        "astropy": lambda path: astropy_write(exposure, path, compression),
        "fitsio": lambda path: fitsio_write(exposure, path, compression),
    }
    if compression == "gzip2":
        del writers["astropy"]  # ten seconds and no different library below
    files = {name: folder / f"{name}.fits" for name in writers}
    contestants = {name: with_new_file(write, files[name]) for name, write in writers.items()}
    race(benchmark, contestants, rounds=ROUNDS if compression == "none" else 3)
    benchmark.extra_info["bytes"] = {name: path.stat().st_size for name, path in files.items()}


@pytest.mark.parametrize("compression", ["none", "gzip2"])
def test_read_exposure(benchmark, exposure, folder, compression):
    path = folder / "exposure.fits"
    write_exposure(exposure, path, compression=compression)
    race(
        benchmark,
        {
            "hsc-isr": partial(read_exposure, path),
            "astropy": partial(astropy_read, path, [1, 2, 3]),
            "fitsio": partial(fitsio_read, path, [1, 2, 3]),
        },
        ROUNDS,
    )
