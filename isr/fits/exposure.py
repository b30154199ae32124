"""The postISRCCD product: exposures in the layout of ``lsst.afw`` (spec section 7).

Of the two ways to describe an exposure in afw's files this one uses header
cards only, no archive tables: stack users get pixels, mask planes, metadata,
VisitInfo, WCS and the physical filter (spec, correction 9).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from isr.camera import Amplifier, Box, Detector
from isr.errors import CameraError, FitsFileError, HeaderError, ObjectError
from isr.exposure import Exposure, VisitInfo
from isr.fits.cards import Card, cards_of
from isr.fits.files import write_atomically
from isr.fits.hdus import (
    FitsFile,
    Planes,
    encode_image_hdu,
    encode_primary,
    open_fits,
    read_planes,
    reading,
)
from isr.fits.metadata import (
    VISIT_INFO_KEYS,
    filter_labels,
    is_wcs,
    plain_metadata,
    visit_info_cards,
    visit_info_from,
)

__all__ = ["Compression", "encode_exposure", "plane_cards", "read_exposure", "read_labels", "write_exposure"]

Compression = Literal["none", "gzip2"]

_UNIT_KEY = "LSST ISR UNITS"
_OWN_KEYS = VISIT_INFO_KEYS | {"BUNIT", "DETNAME", "DETSER", "EXPID"}


def encode_exposure(exposure: Exposure, compression: Compression = "none") -> bytes:
    """Encode an exposure as a FITS file that afw's ``ExposureF`` reads.

    Parameters
    ----------
    exposure : `isr.exposure.Exposure`
        Exposure. Metadata that describe a file or an array, a WCS, or what
        the exposure's VisitInfo and detector say are not written: the pixels,
        ``exposure.wcs``, ``visit_info`` and ``detector`` are what counts.
    compression : `str`
        ``"none"``, or ``"gzip2"``: lossless, one tile per row, all planes.

    Returns
    -------
    data : `bytes`
        The file, with checksums in all HDUs. HDU 0: metadata; 1: image
        (float32), 2: mask (int32), 3: variance (float32). The same exposure
        gives the same bytes.

    Raises
    ------
    HeaderError
        If FITS or afw cannot hold some metadata.

    Notes
    -----
    Without compression afw reads infinite pixels as NaN; other readers do not.
    """
    if compression not in ("none", "gzip2"):
        raise ValueError(f"compression = {compression!r}, expected 'none' or 'gzip2'")
    metadata = exposure.metadata
    unit = str(metadata.get(_UNIT_KEY) or metadata.get("BUNIT") or "").strip().lower()
    origin = exposure.detector.bbox[:2]
    compress = compression == "gzip2"
    parts = encode_primary(_primary_cards(exposure))
    for name, array in (
        ("IMAGE", exposure.image),
        ("MASK", exposure.mask),
        ("VARIANCE", exposure.variance),
    ):
        planes = exposure.planes if name == "MASK" else {}
        cards = plane_cards(name, unit=unit, wcs=exposure.wcs, origin=origin, planes=planes)
        parts += encode_image_hdu(array, cards, compress=compress)
    return b"".join(parts)


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
    write_atomically(path, encode_exposure(exposure, compression), overwrite=overwrite)


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


def _primary_cards(exposure: Exposure) -> list[Card]:
    visit_info = visit_info_cards(exposure.visit_info)
    own_keys = _OWN_KEYS | {key for key, _, _ in visit_info}
    cards = cards_of(plain_metadata(exposure.metadata, own_keys))
    names = (("DETNAME", exposure.detector.name), ("DETSER", exposure.detector.serial))
    cards += [(key, value, "") for key, value in names if value]
    return [*cards, *visit_info, ("EXPID", int(exposure.exposure_id), "exposure and detector")]


def read_exposure(source: str | Path | bytes, detector: Detector | None = None) -> Exposure:
    """Read an exposure written by this package, by afw, or a bare image.

    Parameters
    ----------
    source : `str`, `pathlib.Path` or `bytes`
        Path, ``s3://`` URI, or content of the file.
    detector : `isr.camera.Detector`, optional
        Detector it is of. Without one, that of HSC which the header names; if
        that has another size or the header names none, a detector with one
        amplifier.

    Returns
    -------
    exposure : `isr.exposure.Exposure`
        Exposure. Mask planes are numbered as in the file. Planes that a bare
        image lacks are zero. Of the archive tables of afw only the filter
        labels are read.

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
        return _read_exposure(source, detector)


def _read_exposure(source: str | Path | bytes, detector: Detector | None) -> Exposure:
    file = open_fits(source)
    read = read_planes(file)
    header = dict(read.header)
    band, physical_filter = read_labels(file, header)
    header |= {"FILTER": physical_filter or None, "FILTBAND": band or None}
    visit_info = visit_info_from(header, file.name)
    exposure_id = header.get("EXPID", 0)
    if type(exposure_id) is not int:
        raise HeaderError(f"{file.name}: header card EXPID = {exposure_id!r}, expected an integer.")
    zeros = np.zeros(read.image.shape, np.float32)
    return Exposure(
        image=read.image,
        mask=np.zeros(read.image.shape, np.int32) if read.mask is None else read.mask,
        variance=zeros if read.variance is None else read.variance,
        detector=_find_detector(read, visit_info, detector, file.name),
        visit_info=visit_info,
        planes=read.planes,
        metadata=_metadata(header),
        exposure_id=exposure_id,
        wcs={key: value for key, value in read.image_header.items() if is_wcs(key, primary_only=True)},
    )


def read_labels(file: FitsFile, header: Mapping[str, Any]) -> tuple[str, str]:
    """Return band and physical filter of a file in afw's layout; ``""`` where not stated.

    They are in an archive table named FilterLabel, or in the FILTER card
    (FILTBAND: this package's).
    """
    for hdu in file.hdus[1:]:
        if hdu.name.upper() == "FILTERLABEL" and len(hdu.data):
            band, physical = (str(hdu.data[0][column]).strip("\0 ") for column in ("band", "physical"))
            return band, physical
    band, physical = filter_labels(str(header.get("FILTER") or ""))
    return str(header.get("FILTBAND") or band), physical


def _metadata(header: Mapping[str, Any]) -> dict[str, Any]:
    """Return the cards of a file that are metadata, as afw does: without what other attributes hold."""
    metadata = plain_metadata(header, _OWN_KEYS)
    if metadata.get("TIMESYS") == "TAI":
        del metadata["TIMESYS"]
    if _UNIT_KEY not in metadata and header.get("BUNIT"):
        metadata["BUNIT"] = header["BUNIT"]
    return metadata


def _find_detector(read: Planes, visit_info: VisitInfo, given: Detector | None, name: str) -> Detector:
    header, (ny, nx) = read.header, read.image.shape
    if given is not None:
        if given.shape != (ny, nx):
            raise FitsFileError(
                f"{name}, HDU 1: the image is {(ny, nx)} (rows, columns), but detector {given.id} "
                f"({given.name}) is {given.shape}; give the detector that it is of."
            )
        return given
    detector_name = str(header.get("DETNAME") or "")
    if detector_name and visit_info.instrument == "HSC":
        from isr.hsc import detector as hsc_detector

        try:
            found = hsc_detector(detector_name)
        except CameraError:
            found = None
        if found is not None and found.shape == (ny, nx):
            return found
    x0, y0 = (int(header.get(f"CRVAL{axis}A") or 0) for axis in (1, 2))
    box = Box(0, 0, nx, ny)
    amplifier = Amplifier("0", Box(x0, y0, nx, ny), box, box, Box(0, 0, 0, 0))
    serial = str(header.get("DETSER") or "")
    number = header["DET-ID"] if type(header.get("DET-ID")) is int else 0
    return Detector(number, detector_name, serial, "SCIENCE", Box(x0, y0, nx, ny), (ny, nx), (amplifier,))
