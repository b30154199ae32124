"""What a file in afw's layout says of an exposure: its parts, from header cards and archive."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np

from isr.camera import Amplifier, Box, Detector
from isr.errors import CameraError, FitsFileError, HeaderError
from isr.exposure import AB_ZERO_FLUX, Exposure
from isr.fits.archive import Archive
from isr.fits.archive_detector import detector_from
from isr.fits.archive_exposure import filter_from, photo_calib_from, polygon_from
from isr.fits.metadata import VISIT_INFO_KEYS, filter_labels, is_wcs, plain_metadata, visit_info_from
from isr.fits.planes import Planes

__all__ = [
    "OWN_KEYS",
    "UNIT_KEY",
    "exposure_from",
    "exposure_id_from",
    "find_detector",
    "labels_from",
    "metadata_from",
    "origin_from",
    "with_labels",
]

UNIT_KEY = "LSST ISR UNITS"
OWN_KEYS = VISIT_INFO_KEYS | {"BUNIT", "DETNAME", "DETSER", "EXPID"}
"""Keywords whose values are attributes of an exposure, not metadata."""

_log = logging.getLogger(__name__)


def exposure_from(
    read: Planes, archive: Archive, name: str, detector: Detector | None = None, box: Box | None = None
) -> Exposure:
    """Make an exposure of the planes and the archive of a file.

    Parameters
    ----------
    read : `isr.fits.planes.Planes`
        Planes and header cards.
    archive : `isr.fits.archive.Archive`
        Archive.
    name : `str`
        Name of the file.
    detector : `isr.camera.Detector`, optional
        Detector it is of.
    box : `isr.camera.Box`, optional
        Place in the detector of all the image in the file, if ``read`` has
        only a part of it.

    Raises
    ------
    FitsFileError
        If ``detector`` has another size.
    HeaderError
        If a header card has a value that makes no sense.
    """
    ny, nx = read.image.shape
    origin = origin_from(read.header, name)
    visit_info = visit_info_from(with_labels(read.header, archive), name)
    zeros = np.zeros(read.image.shape, np.float32)
    return Exposure(
        image=read.image,
        mask=np.zeros(read.image.shape, np.int32) if read.mask is None else read.mask,
        variance=zeros if read.variance is None else read.variance,
        detector=find_detector(read.header, archive, box or Box(*origin, nx, ny), name, detector),
        visit_info=visit_info,
        planes=read.planes,
        metadata=metadata_from(read.header, archive),
        exposure_id=exposure_id_from(read.header, name),
        wcs={key: value for key, value in read.image_header.items() if is_wcs(key, primary_only=True)},
        origin=origin,
        valid_polygon=polygon_from(archive),
    )


def origin_from(header: Mapping[str, Any], name: str) -> tuple[int, int]:
    """Return where the first pixel (x, y) is in the detector: WCS 'A'.

    Raises
    ------
    HeaderError
        If that is not a whole number.
    """
    values = [header.get(f"CRVAL{axis}A") or 0.0 for axis in (1, 2)]
    for axis, value in enumerate(values, start=1):
        if isinstance(value, str | bool) or not float(value).is_integer():
            raise HeaderError(
                f"{name}: header card CRVAL{axis}A = {value!r}, expected a whole number of pixels."
            )
    x0, y0 = map(int, values)
    return x0, y0


def exposure_id_from(header: Mapping[str, Any], name: str) -> int:
    """Return the number of exposure and detector; 0 if not known.

    Raises
    ------
    HeaderError
        If it is not an integer.
    """
    exposure_id = header.get("EXPID", 0)
    if type(exposure_id) is not int:
        raise HeaderError(f"{name}: header card EXPID = {exposure_id!r}, expected an integer.")
    return exposure_id


def labels_from(archive: Archive, header: Mapping[str, Any]) -> tuple[str, str]:
    """Return band and physical filter; ``""`` where not stated.

    They are in the archive, or in the FILTER card (FILTBAND: this package's).
    """
    labels = filter_from(archive)
    if labels is not None:
        return labels
    band, physical = filter_labels(str(header.get("FILTER") or ""))
    return str(header.get("FILTBAND") or band), physical


def with_labels(header: Mapping[str, Any], archive: Archive) -> dict[str, Any]:
    """Return header cards in which FILTER and FILTBAND say what the archive does."""
    band, physical_filter = labels_from(archive, header)
    return {**header, "FILTER": physical_filter or None, "FILTBAND": band or None}


def metadata_from(header: Mapping[str, Any], archive: Archive) -> dict[str, Any]:
    """Return the cards of a file that are metadata, as afw does: without what other attributes hold.

    The calibration of the archive becomes FLUXMAG0 and FLUXMAG0ERR.
    """
    metadata = plain_metadata(header, OWN_KEYS)
    if metadata.get("TIMESYS") == "TAI":
        del metadata["TIMESYS"]
    if UNIT_KEY not in metadata and header.get("BUNIT"):
        metadata["BUNIT"] = header["BUNIT"]
    calibration = photo_calib_from(archive)
    if calibration is not None:
        mean, error = calibration
        stated = metadata.get("FLUXMAG0")
        if not isinstance(stated, float | int) or AB_ZERO_FLUX / (stated or 1) != mean:
            metadata["FLUXMAG0"] = AB_ZERO_FLUX / mean
            metadata.pop("FLUXMAG0ERR", None)
        if error and "FLUXMAG0ERR" not in metadata:
            metadata["FLUXMAG0ERR"] = error / mean * metadata["FLUXMAG0"]
    return metadata


def find_detector(
    header: Mapping[str, Any], archive: Archive, box: Box, name: str, given: Detector | None = None
) -> Detector:
    """Return the detector that an image is of.

    That which is given; that of HSC which DETNAME names, if it has the size of
    the image, or its serial number is DETSER and the image is a part of it, and
    the archive does not say otherwise; that of the archive; one of a single
    amplifier.

    Parameters
    ----------
    header : `~collections.abc.Mapping` [`str`, `object`]
        Header cards.
    archive : `isr.fits.archive.Archive`
        Archive.
    box : `isr.camera.Box`
        Place of the image in the detector.
    name : `str`
        Name of the file.
    given : `isr.camera.Detector`, optional
        Detector that the caller wants.

    Raises
    ------
    FitsFileError
        If the given detector has another size, and is not that which the file names.
    """
    detector_name, serial = (str(header.get(key) or "") for key in ("DETNAME", "DETSER"))
    if given is not None:
        is_part = given.name == detector_name and given.bbox.contains(box)
        if given.shape != box.shape and not is_part:
            raise FitsFileError(
                f"{name}, HDU 1: the image is {box.shape} (rows, columns), but detector {given.id} "
                f"({given.name}) is {given.shape}; give the detector that it is of."
            )
        return given
    known = _of_hsc(header, detector_name, serial, box)
    if known is not None and known.bbox == box:
        return known
    archived = _of_archive(archive)
    if known is not None and known.bbox.contains(box) and (archived is None or known.bbox == archived.bbox):
        return known
    if archived is not None:
        return archived
    local = Box(0, 0, box.width, box.height)
    amplifier = Amplifier("0", box, local, local, Box(0, 0, 0, 0))
    number = header["DET-ID"] if type(header.get("DET-ID")) is int else 0
    return Detector(number, detector_name, serial, "SCIENCE", box, local.shape, (amplifier,))


def _of_hsc(header: Mapping[str, Any], name: str, serial: str, box: Box) -> Detector | None:
    if not name or header.get("INSTRUMENT") != "HSC":
        return None
    from isr.hsc import detector as hsc_detector

    try:
        found = hsc_detector(name)
    except CameraError:
        return None
    return found if found.shape == box.shape or found.serial == serial else None


def _of_archive(archive: Archive) -> Detector | None:
    try:
        return detector_from(archive)
    except CameraError as error:
        _log.warning("%s: the detector in the archive is left out: %s", archive.name, error)
        return None
