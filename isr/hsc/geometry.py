"""The camera: 112 CCDs of four amplifiers, from the fact tables (spec sections 1.3 and 2)."""

from __future__ import annotations

from functools import cache

from isr.camera import Amplifier, Box, Camera, Detector
from isr.hsc.tables import read_table

__all__ = ["camera", "detector"]

RAW_SHAPE = (4241, 2144)
PIXEL_SIZE = 0.015  # mm
REFERENCE_PIXEL = (1023.5, 2087.5)

_STRIP, _DATA, _ROWS, _FIRST_ROW = 536, 512, 4176, 49
_PRESCAN, _OVERSCAN = 8, 16  # columns


@cache
def camera() -> Camera:
    """Return Hyper Suprime-Cam: detectors 0 to 111, amplifiers ``"0"`` to ``"3"``.

    Source: lsst/obs_subaru, see the headers of the tables in ``isr/hsc/data``.
    """
    amplifiers = _amplifiers()
    table = read_table("detectors")
    bbox = Box(0, 0, 4 * _DATA, _ROWS)
    detectors = tuple(
        Detector(
            id=number,
            name=name,
            serial=str(number),
            type=kind,
            bbox=bbox,
            raw_shape=RAW_SHAPE,
            amplifiers=tuple(amplifiers[4 * number : 4 * number + 4]),
            raw_flip=flip,
            focal_plane_position=(x, y),
            reference_pixel=REFERENCE_PIXEL,
            yaw=yaw,
            pixel_size=PIXEL_SIZE,
        )
        for number, name, kind, flip, yaw, x, y in zip(*table.values(), strict=True)
    )
    return Camera(name="HSC", detectors=detectors)


def detector(key: int | str) -> Detector:
    """Return a detector by id (22), name (``"0_27"``) or serial (``"22"``).

    Raises
    ------
    CameraError
        If there is none.
    """
    return camera()[key]


def _amplifiers() -> list[Amplifier]:
    boxes = [_boxes(index) for index in range(4)]
    table = read_table("amplifiers")
    return [
        Amplifier(
            name,
            *boxes[int(name)],
            gain=gain,
            read_noise=read_noise,
            saturation=saturation,
            suspect_level=suspect_level,
            readout_corner="LR" if int(name) % 2 else "LL",
            linearity_type=linearity_type,
            linearity_coeffs=() if linearity_type == "None" else (linearity_coeff,),
        )
        for _, name, gain, read_noise, saturation, suspect_level, linearity_type, linearity_coeff in zip(
            *table.values(), strict=True
        )
    ]


def _boxes(index: int) -> tuple[Box, Box, Box, Box, Box, Box]:
    """Return an amplifier's boxes, in the order of `Amplifier`'s fields.

    Even amplifiers: 8 columns of prescan, 512 of data, 16 of overscan; odd
    ones are mirrored. Rows: 49 called prescan, 4176 of data, 16 of overscan.
    """
    x0 = index * _STRIP
    data_x0 = x0 + (_OVERSCAN if index % 2 else _PRESCAN)
    overscan_x0 = x0 if index % 2 else x0 + _PRESCAN + _DATA
    last_row = _FIRST_ROW + _ROWS
    return (
        Box(index * _DATA, 0, _DATA, _ROWS),
        Box(x0, 0, _STRIP, RAW_SHAPE[0]),
        Box(data_x0, _FIRST_ROW, _DATA, _ROWS),
        Box(overscan_x0, _FIRST_ROW, _OVERSCAN, _ROWS),
        Box(data_x0, last_row, _DATA, RAW_SHAPE[0] - last_row),
        Box(data_x0, 0, _DATA, _FIRST_ROW),
    )
