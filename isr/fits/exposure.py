"""The postISRCCD product: exposures in the layout of ``lsst.afw`` (spec section 7).

Pixels, mask planes, metadata, VisitInfo and WCS are in the first four HDUs;
filter, calibration, valid polygon and detector in archive tables after them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from isr.camera import Detector
from isr.errors import ObjectError
from isr.exposure import Exposure
from isr.fits.archive import Archive, ArchiveWriter
from isr.fits.archive_exposure import archive_of
from isr.fits.cards import Card, Part, cards_of
from isr.fits.exposure_parts import OWN_KEYS, UNIT_KEY, exposure_from
from isr.fits.files import write_atomically
from isr.fits.hdus import (
    PlaneCompression,
    encode_image_hdu,
    encode_primary,
    open_fits,
    reading,
)
from isr.fits.metadata import is_wcs, plain_metadata, visit_info_cards
from isr.fits.planes import read_planes

__all__ = [
    "Compression",
    "encode_exposure",
    "exposure_parts",
    "plane_cards",
    "read_exposure",
    "write_exposure",
]

Compression = Literal["none", "gzip2"]


def encode_exposure(exposure: Exposure, compression: Compression = "none") -> bytes:
    """Encode an exposure as a FITS file that afw's ``ExposureF`` reads.

    Parameters
    ----------
    exposure : `isr.exposure.Exposure`
        Exposure. Metadata that describe a file or an array, a WCS, or what
        the exposure's VisitInfo and detector say are not written: the pixels,
        ``exposure.wcs``, ``visit_info`` and ``detector`` are what counts.
    compression : `str`
        ``"none"``, or ``"gzip2"``: lossless, one tile per row, GZIP_2 for
        image and variance, RICE_1 for the mask.

    Returns
    -------
    data : `bytes`
        The file, with checksums in all HDUs. HDU 0: metadata; 1: image
        (float32), 2: mask (int32), 3: variance (float32); then the archive's
        index and tables. The same exposure gives the same bytes.

    Raises
    ------
    HeaderError
        If FITS or afw cannot hold some metadata.

    Notes
    -----
    Without compression afw reads infinite pixels as NaN; other readers do not.
    """
    return b"".join(exposure_parts(exposure, compression))


def exposure_parts(exposure: Exposure, compression: Compression = "none") -> Iterator[Part]:
    """Encode an exposure piece by piece, so that it need not be in memory twice.

    Parameters
    ----------
    exposure, compression
        See `encode_exposure`.

    Yields
    ------
    part : `bytes` or `memoryview`
        The next piece of the file that `encode_exposure` returns.
    """
    if compression not in ("none", "gzip2"):
        raise ValueError(f"compression = {compression!r}, expected 'none' or 'gzip2'")
    is_plain = compression == "none"
    metadata = exposure.metadata
    unit = str(metadata.get(UNIT_KEY) or metadata.get("BUNIT") or "").strip().lower()
    archive = archive_of(exposure)
    yield from encode_primary(_primary_cards(exposure, archive))
    for name, array in (
        ("IMAGE", exposure.image),
        ("MASK", exposure.mask),
        ("VARIANCE", exposure.variance),
    ):
        planes = exposure.planes if name == "MASK" else {}
        cards = plane_cards(name, unit=unit, wcs=exposure.wcs, origin=exposure.origin, planes=planes)
        lossless: PlaneCompression = "RICE_1" if name == "MASK" else "GZIP_2"
        yield from encode_image_hdu(array, cards, None if is_plain else lossless)
    yield from archive.encode()


def write_exposure(
    exposure: Exposure, path: str | Path, *, compression: Compression = "none", overwrite: bool = False
) -> None:
    """Write an exposure to a local FITS file, whole or not at all.

    Parameters
    ----------
    exposure, compression
        See `encode_exposure`.
    path : `str` or `pathlib.Path`
        File to write.
    overwrite : `bool`
        Whether to replace an existing file.

    Raises
    ------
    HeaderError
        If FITS or afw cannot hold some metadata.
    ObjectError
        If the file exists (without ``overwrite``) or cannot be written.
    """
    if "://" in str(path):
        raise ObjectError(f"{path}: not a local path; encode_exposure gives the bytes to put there.")
    write_atomically(path, exposure_parts(exposure, compression), overwrite=overwrite)


def plane_cards(
    name: str,
    *,
    unit: str = "",
    wcs: Mapping[str, Any] | None = None,
    origin: tuple[int, int] = (0, 0),
    planes: Mapping[str, int] | None = None,
) -> list[Card]:
    """Return the cards of one plane's HDU in afw's layout.

    Parameters
    ----------
    name : `str`
        ``"IMAGE"``, ``"MASK"`` or ``"VARIANCE"``.
    unit : `str`
        Unit of the image; ``""``: not stated.
    wcs : `~collections.abc.Mapping` [`str`, `object`]
        FITS WCS cards, for this array (CRPIX counts its pixels from 1).
    origin : `tuple` [`int`, `int`]
        afw's xy0: coordinates of the first pixel (x, y), written as WCS 'A'.
    planes : `~collections.abc.Mapping` [`str`, `int`]
        Mask planes: name to bit number.
    """
    x0, y0 = origin
    cards = cards_of({key: value for key, value in (wcs or {}).items() if is_wcs(key, primary_only=True)})
    cards.sort(key=lambda card: card[0] != "WCSAXES")  # FITS wants it before the others
    cards += [("LTV1", float(-x0), ""), ("LTV2", float(-y0), "")]
    if unit and name != "MASK":
        cards.append(("BUNIT", unit if name == "IMAGE" else f"{unit}**2", ""))
    cards += [("INHERIT", True, ""), ("EXTTYPE", name, ""), ("EXTNAME", name, "")]
    cards += [(f"MP_{plane}", bit, "") for plane, bit in sorted((planes or {}).items())]
    for axis, first in ((1, x0), (2, y0)):
        cards += [(f"CTYPE{axis}A", "LINEAR", ""), (f"CRPIX{axis}A", 1.0, "")]
        cards += [(f"CRVAL{axis}A", float(first), ""), (f"CUNIT{axis}A", "PIXEL", "")]
    return cards


def _primary_cards(exposure: Exposure, archive: ArchiveWriter) -> list[Card]:
    visit_info = visit_info_cards(exposure.visit_info)
    own_keys = OWN_KEYS | {key for key, _, _ in visit_info + archive.primary_cards()}
    cards = cards_of(plain_metadata(exposure.metadata, own_keys))
    names = (("DETNAME", exposure.detector.name), ("DETSER", exposure.detector.serial))
    cards += [(key, value, "") for key, value in names if value]
    cards = [*cards, *archive.primary_cards(), *visit_info]
    return [*cards, ("EXPID", int(exposure.exposure_id), "exposure and detector")]


def read_exposure(source: str | Path | bytes, detector: Detector | None = None) -> Exposure:
    """Read an exposure written by this package, by afw, or a bare image.

    Parameters
    ----------
    source : `str`, `pathlib.Path` or `bytes`
        Path, ``s3://`` URI, or content of the file.
    detector : `isr.camera.Detector`, optional
        Detector it is of. Without one, that of HSC which the header names; if
        that has another size or the header names none, the one in the archive;
        without an archive, a detector with one amplifier.

    Returns
    -------
    exposure : `isr.exposure.Exposure`
        Exposure. Mask planes are numbered as in the file. Planes that a bare
        image lacks are zero. Of afw's archive the filter, the calibration (its
        mean, as FLUXMAG0 in the metadata), the valid polygon and the detector
        are read.

    Raises
    ------
    FitsFileError
        If it is not a whole FITS file of that layout, or ``detector`` has
        another size.
    HeaderError
        If a header card has a value that makes no sense.
    ObjectError
        If it cannot be read.
    """
    name = "exposure" if isinstance(source, bytes) else str(source)
    with reading(name, "an exposure"):
        file = open_fits(source)
        return exposure_from(read_planes(file), Archive.of(file), file.name, detector)
