"""What the archive of an exposure holds besides its detector: filter, calibration, valid polygon."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from isr.errors import HeaderError
from isr.exposure import AB_ZERO_FLUX, Exposure
from isr.fits.archive import Archive, ArchiveWriter, Field
from isr.fits.archive_detector import add_detector
from isr.fits.hdus import reading

__all__ = ["archive_of", "filter_from", "photo_calib_from", "polygon_from"]

_log = logging.getLogger(__name__)

Points = npt.NDArray[np.float64]


def archive_of(exposure: Exposure) -> ArchiveWriter:
    """Return the archive of an exposure, in afw's order of components."""
    writer = ArchiveWriter()
    if exposure.valid_polygon is not None:
        _add_polygon(writer, exposure.valid_polygon)
    _add_photo_calib(writer, exposure.metadata)
    add_detector(writer, exposure.detector)
    _add_filter(writer, exposure.visit_info.band, exposure.visit_info.physical_filter)
    return writer


def _add_polygon(writer: ArchiveWriter, polygon: Points) -> None:
    """Add a polygon: afw's are clockwise and closed, the first vertex stands at both ends."""
    if _signed_area(polygon) > 0.0:
        polygon = _reversed(polygon)
    closed = np.concatenate([polygon, polygon[:1]])
    fields = [
        Field("vertices_x", "D", closed[:, 0].tolist()),
        Field("vertices_y", "D", closed[:, 1].tolist()),
    ]
    writer.add("Polygon", "", fields, component="VALID_POLYGON")


def _signed_area(polygon: Points) -> float:
    x, y = polygon.T
    return float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y)) / 2.0


def _reversed(polygon: Points) -> Points:
    """Turn the other way, from the same first vertex."""
    return np.concatenate([polygon[:1], polygon[:0:-1]])


def polygon_from(archive: Archive) -> Points | None:
    """Return the valid polygon, counter-clockwise and open; `None` if there is none."""
    tables = archive.find("VALID_POLYGON")
    if not tables:
        return None
    polygon = np.stack([tables[0]["vertices_x"], tables[0]["vertices_y"]], axis=1).astype(np.float64)
    if len(polygon) > 1 and np.array_equal(polygon[0], polygon[-1]):
        polygon = polygon[:-1]
    return _reversed(polygon) if _signed_area(polygon) < 0.0 else polygon


def _add_photo_calib(writer: ArchiveWriter, metadata: Mapping[str, Any]) -> None:
    """Add the calibration that FLUXMAG0 gives; afw ignores the card in files with an archive."""
    counts, error = metadata.get("FLUXMAG0"), metadata.get("FLUXMAG0ERR") or 0.0
    if counts is None:
        return
    for key, value in (("FLUXMAG0", counts), ("FLUXMAG0ERR", error)):
        if not isinstance(value, int | float) or not math.isfinite(value) or value < 0.0 or not counts:
            raise HeaderError(
                f"Metadata {key} = {value!r}: expected a positive number, the ADU of magnitude 0; set it "
                "right, or remove FLUXMAG0 and FLUXMAG0ERR from the metadata."
            )
    mean = AB_ZERO_FLUX / counts
    domain = [Field(f"bbox_{key}", "J", [value], "Scalar", "pixel") for key, value in _EMPTY_BOX]
    field = writer.add(
        "ChebyshevBoundedField",
        "lsst.afw.math",
        [Field("order_x", "J", [0]), *domain, Field("coefficients", "D", [mean], "Array")],
    )
    fields = [
        Field("calibrationMean", "D", [mean], "Scalar", "count"),
        Field("calibrationErr", "D", [mean * error / counts], "Scalar", "count"),
        Field("isConstant", "X", [True]),
        Field("field", "J", [field]),
        Field("version", "J", [1]),
    ]
    writer.add("PhotoCalib", "", fields, component="PHOTOCALIB")


_EMPTY_BOX = (("min_x", 0), ("min_y", 0), ("max_x", -1), ("max_y", -1))


def photo_calib_from(archive: Archive) -> tuple[float, float] | None:
    """Return mean and error of the calibration, nJy per ADU; `None` if there is none."""
    tables = archive.find("PHOTOCALIB")
    if not tables:
        return None
    columns = tables[0]
    if not columns["flags"][0].all():
        _log.warning("%s: the calibration varies over the image, its mean is taken", archive.name)
    return float(columns["calibrationMean"][0]), float(columns["calibrationErr"][0])


def _add_filter(writer: ArchiveWriter, band: str, physical: str) -> None:
    if not band and not physical:
        return
    fields = [
        Field("band_exists", "X", [bool(band)]),
        Field("band", "32A", [band], "String"),
        Field("physical_exists", "X", [bool(physical)]),
        Field("physical", "32A", [physical], "String"),
    ]
    writer.add("FilterLabel", "lsst.afw.image", fields, component="FILTER")


def filter_from(archive: Archive) -> tuple[str, str] | None:
    """Return band and physical filter, ``""`` where unknown; `None` if there is no label."""
    tables = archive.find("FILTER")
    if not tables:
        return None
    with reading(archive.name, "a filter label"):
        band, physical = (str(tables[0][column][0]).strip("\0 ") for column in ("band", "physical"))
    return band, physical
