"""Raw files for tests, written by astropy, with a small camera to read them."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from astropy.io import fits

from isr.camera import Camera
from tests.builders import two_amplifiers
from tests.isr.hsc.headers import ESSENTIAL, POINTING

_PLACE = {"focal_plane_position": (30.0, -60.0), "reference_pixel": (11.5, 9.5), "pixel_size": 0.015}
SMALL_HSC = Camera(
    "HSC",
    (
        two_amplifiers(id=22, name="0_27", serial="22", raw_flip="LR", **_PLACE),
        two_amplifiers(id=100, name="0_31", serial="100", raw_flip="TB", **_PLACE),
    ),
)
"""Two detectors of 23 rows and 42 columns."""

RAW_WCS: dict[str, object] = {
    "WCSAXES": 2,
    "CTYPE1": "RA---TAN",
    "CTYPE2": "DEC--TAN",
    "CRPIX1": 1024.5,
    "CRPIX2": 4395.167,
    "CRVAL1": 320.749925,
    "CRVAL2": 0.5,
    "CUNIT1": "degree",
    "CUNIT2": "degree",
    "CD1_1": 0.0,
    "CD1_2": 4.7e-05,
    "CD2_1": -4.7e-05,
    "CD2_2": 0.0,
    "LONPOLE": 180,
    "RADESYS": "FK5",
    "EQUINOX": 2000.0,
}


def ramp(shape: tuple[int, int] = (23, 42)) -> np.ndarray:
    """Return the index of each pixel, with both ends of the range of uint16."""
    pixels = (np.arange(shape[0] * shape[1]).reshape(shape) % 65536).astype(np.uint16)
    pixels[0, 0], pixels[-1, -1] = 0, 65535
    return pixels


def header(**changes: object) -> fits.Header:
    """Return a raw header; ``extra`` has more cards, `None` takes a card away.

    Underscores in names of arguments stand for dashes.
    """
    extra = changes.pop("extra", {})
    cards = ESSENTIAL | POINTING | {key.replace("_", "-"): value for key, value in changes.items()} | extra
    return fits.Header([(key, value) for key, value in cards.items() if value is not None])


def to_bytes(hdus: fits.HDUList | fits.PrimaryHDU, checksum: bool = False) -> bytes:
    """Write HDUs into memory."""
    stream = io.BytesIO()
    hdus.writeto(stream, checksum=checksum)
    return stream.getvalue()


def plain(pixels: np.ndarray | None = None, checksum: bool = False, **changes: object) -> bytes:
    """Return a plain raw file."""
    return to_bytes(fits.PrimaryHDU(ramp() if pixels is None else pixels, header(**changes)), checksum)


def fpacked(
    pixels: np.ndarray | None = None,
    checksum: bool = False,
    compression: str = "RICE_1",
    tile: tuple[int, int] | None = None,
    **changes: object,
) -> bytes:
    """Return a tile-compressed raw file: an empty primary, then the image."""
    pixels = ramp() if pixels is None else pixels
    image = fits.CompImageHDU(
        pixels, header(**changes), compression_type=compression, tile_shape=tile or (1, pixels.shape[1])
    )
    return to_bytes(fits.HDUList([fits.PrimaryHDU(), image]), checksum)


def save(folder: Path, data: bytes, name: str = "raw.fits") -> str:
    """Write a file and return its path."""
    path = folder / name
    path.write_bytes(data)
    return str(path)
