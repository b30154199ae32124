"""The Detector in the archive of an exposure: its amplifiers and its place in the focal plane.

Columns, numbers of enumerations and the transform are those of files that afw (714e0ed6) wrote.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any

import numpy as np

from isr.camera import Amplifier, Box, Detector
from isr.fits.archive import Archive, ArchiveWriter, Columns, Field, Table

__all__ = ["add_detector", "detector_from"]

_TYPES = ("SCIENCE", "FOCUS", "GUIDER", "WAVEFRONT")
_CORNERS = ("LL", "LR", "UR", "UL")
_MODULE = "lsst.afw.cameraGeom"

# What AST, the library under afw's transforms, writes of a shift followed by the inverse of a matrix.
_AST = """1 TransformPoint2ToPoint2 Begin CmpMap
    Nin = 2
    IsSimp = 1
 IsA Mapping
    InvB = 1
    MapA =
       Begin ShiftMap
          Nin = 2
       IsA Mapping
{shift}
       End ShiftMap
    MapB =
       Begin MatrixMap
          Nin = 2
       IsA Mapping
{matrix}
          Form = "Full"
       End MatrixMap
 End CmpMap
"""


def add_detector(writer: ArchiveWriter, detector: Detector) -> None:
    """Add a detector to an archive, unless its place in the focal plane is not known.

    Its transform goes between pixels and focal plane. That to field angles,
    which needs the distortion of the optics, is left out, and so is the matrix
    of crosstalk (zeros: none).
    """
    place = (*detector.focal_plane_position, *detector.reference_pixel, detector.yaw, detector.pixel_size)
    if not all(map(math.isfinite, place)) or not detector.pixel_size > 0.0 or detector.type not in _TYPES:
        return
    ast = np.frombuffer(_ast_text(detector).encode(), np.uint8)
    transform = writer.add("TransformPoint2ToPoint2", "lsst.afw.geom", [Field("bytes", "QB", [ast], "Array")])
    transform_map = writer.add(
        "TransformMap",
        _MODULE,
        [
            Field("fromSysName", "QA", ["FocalPlane"], "String"),
            Field("fromSysDetectorName", "QA", [""], "String"),
            Field("toSysName", "QA", ["Pixels"], "String"),
            Field("toSysDetectorName", "QA", [detector.name], "String"),
            Field("transform", "J", [transform]),
        ],
    )
    tables = _detector_table(detector, transform_map), _amplifier_table(detector)
    writer.add("Detector", _MODULE, *tables, component="DETECTOR")


def _ast_text(detector: Detector) -> str:
    """Describe the way from focal plane (mm) to pixels in AST's text form."""
    yaw = math.radians(detector.yaw)
    a, b = detector.pixel_size * math.cos(yaw), detector.pixel_size * math.sin(yaw)
    (x, y), (column, row) = detector.focal_plane_position, detector.reference_pixel
    square = detector.pixel_size**2
    numbers = {
        "shift": {"Sft1": -(x - (a * column - b * row)), "Sft2": -(y - (b * column + a * row))},
        "matrix": {
            "M0": a,
            "M1": -b,
            "M2": b,
            "M3": a,
            "IM0": a / square,
            "IM1": b / square,
            "IM2": -b / square,
            "IM3": a / square,
        },
    }
    lines = {
        part: "\n".join(f"          {key} = {value:.17g}" for key, value in values.items())
        for part, values in numbers.items()
    }
    return _AST.format(**lines)


def _detector_table(detector: Detector, transform_map: int) -> Table:
    box = detector.bbox
    number = len(detector.amplifiers)
    return [
        Field("name", "QA", [detector.name], "String"),
        Field("id", "J", [detector.id]),
        Field("type", "J", [_TYPES.index(detector.type)]),
        Field("serial", "QA", [detector.serial], "String"),
        *(
            Field(f"bbox_{key}", "J", [value], "Scalar", "pixel")
            for key, value in (
                ("min_x", box.x0),
                ("min_y", box.y0),
                ("max_x", box.x1 - 1),
                ("max_y", box.y1 - 1),
            )
        ),
        Field("pixelSize_x", "D", [detector.pixel_size], "Scalar", "mm"),
        Field("pixelSize_y", "D", [detector.pixel_size], "Scalar", "mm"),
        Field("fpPosition_x", "D", [detector.focal_plane_position[0]], "Scalar", "mm"),
        Field("fpPosition_y", "D", [detector.focal_plane_position[1]], "Scalar", "mm"),
        Field("fpPosition_z", "D", [0.0], "Scalar", "mm"),
        Field("refPoint_x", "D", [detector.reference_pixel[0]], "Scalar", "pixel"),
        Field("refPoint_y", "D", [detector.reference_pixel[1]], "Scalar", "pixel"),
        Field("yaw", "D", [math.radians(detector.yaw)], "Angle", "rad"),
        Field("pitch", "D", [0.0], "Angle", "rad"),
        Field("roll", "D", [0.0], "Angle", "rad"),
        Field("transformMap", "J", [transform_map]),
        Field("crosstalk", "QE", [np.zeros(number * number)], "Array"),
        Field("physicalType", "QA", [""], "String"),
        Field("version", "J", [2]),
    ]


def _amplifier_table(detector: Detector) -> Table:
    amps = detector.amplifiers
    # afw's camera tables have four coefficients, up to a cubic
    coefficients = [amp.linearity_coeffs + (0.0,) * (4 - len(amp.linearity_coeffs)) for amp in amps]
    return [
        Field("name", "QA", [amp.name for amp in amps], "String"),
        *_boxes("bbox", [amp.bbox for amp in amps]),
        Field("gain", "D", [amp.gain for amp in amps], "Scalar", "electron adu^-1"),
        Field("saturation", "D", [amp.saturation for amp in amps], "Scalar", "adu"),
        Field("suspectlevel", "D", [amp.suspect_level for amp in amps], "Scalar", "adu"),
        Field("readnoise", "D", [amp.read_noise for amp in amps], "Scalar", "electron"),
        Field("readoutcorner", "J", [_CORNERS.index(amp.readout_corner) for amp in amps]),
        Field("linearity_coeffs", "QD", coefficients, "Array"),
        Field("linearity_type", "QA", [amp.linearity_type for amp in amps], "String"),
        Field("hasrawinfo", "X", [False] * len(amps)),  # False in afw's files: no longer used
        *_boxes("raw_bbox", [amp.raw_bbox for amp in amps]),
        *_boxes("raw_databbox", [amp.raw_data_bbox for amp in amps]),
        Field("raw_flip_x", "X", [amp.raw_flip_x for amp in amps]),
        Field("raw_flip_y", "X", [amp.raw_flip_y for amp in amps]),
        Field("raw_xyoffset_x", "J", [0] * len(amps), "Scalar", "pixel"),
        Field("raw_xyoffset_y", "J", [0] * len(amps), "Scalar", "pixel"),
        *_boxes("raw_horizontaloverscanbbox", [amp.raw_serial_overscan_bbox for amp in amps]),
        *_boxes("raw_verticaloverscanbbox", [amp.raw_parallel_overscan_bbox for amp in amps]),
        *_boxes("raw_prescanbbox", [amp.raw_prescan_bbox for amp in amps]),
        Field("linearityThreshold", "D", [0.0] * len(amps)),
        Field("linearityMaximum", "D", [amp.saturation for amp in amps]),
        Field("linearityUnits", "QA", ["DN"] * len(amps), "String"),
    ]


def _boxes(name: str, boxes: list[Box]) -> Table:
    parts = zip(("min_x", "min_y", "extent_x", "extent_y"), zip(*boxes, strict=True), strict=True)
    return [Field(f"{name}_{part}", "J", values, "Scalar", "pixel") for part, values in parts]


def detector_from(archive: Archive) -> Detector | None:
    """Return the detector of an archive; `None` if it has none.

    Raises
    ------
    CameraError
        If its boxes contradict each other.
    FitsFileError
        If an object of the archive is missing.
    """
    tables = archive.find("DETECTOR")
    if not tables:
        return None
    row = next(_rows(tables[0]))
    amplifiers = tuple(_amplifier(values) for values in _rows(tables[1]))
    x0, y0 = int(row["bbox_min_x"]), int(row["bbox_min_y"])
    raw = list(chain.from_iterable((amp.raw_bbox, amp.raw_data_bbox) for amp in amplifiers))
    return Detector(
        id=int(row["id"]),
        name=_text(row["name"]),
        serial=_text(row["serial"]),
        type=_TYPES[int(row["type"])],
        bbox=Box(x0, y0, int(row["bbox_max_x"]) + 1 - x0, int(row["bbox_max_y"]) + 1 - y0),
        raw_shape=(max((box.y1 for box in raw), default=0), max((box.x1 for box in raw), default=0)),
        amplifiers=amplifiers,
        focal_plane_position=(float(row["fpPosition_x"]), float(row["fpPosition_y"])),
        reference_pixel=(float(row["refPoint_x"]), float(row["refPoint_y"])),
        yaw=math.degrees(float(row["yaw"])),
        pixel_size=float(row["pixelSize_x"]),
    )


def _rows(columns: Columns) -> Iterator[dict[str, Any]]:
    for values in zip(*columns.values(), strict=True):
        yield dict(zip(columns, values, strict=True))


def _amplifier(row: Mapping[str, Any]) -> Amplifier:
    def box(name: str) -> Box:
        """Return the box that these columns of the row hold."""
        return Box(*(int(row[f"{name}_{part}"]) for part in ("min_x", "min_y", "extent_x", "extent_y")))

    coefficients = tuple(float(value) for value in row["linearity_coeffs"])
    while coefficients and coefficients[-1] == 0.0:
        coefficients = coefficients[:-1]
    flags = row["flags"]
    return Amplifier(
        name=_text(row["name"]),
        bbox=box("bbox"),
        raw_bbox=box("raw_bbox"),
        raw_data_bbox=box("raw_databbox"),
        raw_serial_overscan_bbox=box("raw_horizontaloverscanbbox"),
        raw_parallel_overscan_bbox=box("raw_verticaloverscanbbox"),
        raw_prescan_bbox=box("raw_prescanbbox"),
        gain=float(row["gain"]),
        read_noise=float(row["readnoise"]),
        saturation=float(row["saturation"]),
        suspect_level=float(row["suspectlevel"]),
        raw_flip_x=bool(flags[1]),
        raw_flip_y=bool(flags[2]),
        readout_corner=_CORNERS[int(row["readoutcorner"])],
        linearity_type=_text(row["linearity_type"]),
        linearity_coeffs=coefficients,
    )


def _text(value: Any) -> str:
    return "".join(value).strip("\0 ")  # astropy gives texts of any length as arrays of letters
