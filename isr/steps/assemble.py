"""From the raw frame to the assembled detector (spec sections 4.1 and 4.5)."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from isr.corrections import Corrections
from isr.errors import CameraError
from isr.exposure import Exposure, Planes, RawFrame
from isr.mask import MaskPlanes
from isr.raw_planes import RawPlanes

__all__ = ["assemble", "convert_to_float"]

log = logging.getLogger(__name__)

RAW_KEYS = ("DATASEC", "BIASSEC", "TRIMSEC", "GAIN")
"""Keywords that describe amplifiers of the raw frame; LSST removes them at assembly."""
PAGE = 4096
STAGGER = 1088
"""Bytes; whole cache lines."""


def convert_to_float(raw: RawFrame) -> Exposure:
    """Return the whole raw frame as an exposure.

    Parameters
    ----------
    raw : `isr.exposure.RawFrame`
        Raw frame, uint16. Its pixels must not be changed before those of the
        assembled exposure have been asked for, which are made of them.

    Returns
    -------
    frame : `isr.exposure.Exposure`
        The same pixels as float32 (exact), mask 0, variance 1, raw geometry.
    """
    frame = Exposure(
        *_planes(raw.detector.raw_shape),
        detector=raw.detector,
        visit_info=raw.visit_info,
        metadata=dict(raw.header),
        exposure_id=raw.exposure_id,
        wcs=dict(raw.wcs),
    )
    pixels = np.ascontiguousarray(raw.pixels, np.uint16)
    frame.postpone(RawPlanes(pixels, raw.detector.amplifiers))
    return frame


def assemble(frame: Exposure, keys_to_remove: Iterable[str] = ()) -> Exposure:
    """Copy the imaging pixels of all amplifiers to their place in the detector.

    Parameters
    ----------
    frame : `isr.exposure.Exposure`
        Exposure in the raw geometry.
    keys_to_remove : iterable of `str`, optional
        Keywords of the raw header, besides `RAW_KEYS`, that do not belong to
        an assembled detector (``assembleCcd.keysToRemove``).

    Returns
    -------
    exposure : `isr.exposure.Exposure`
        Trimmed exposure; pixels of no amplifier are 0 and NO_DATA.
        ``metadata`` is shared with ``frame``.

    Raises
    ------
    CameraError
        If the detector does not begin at pixel (0, 0).
    """
    detector = frame.detector
    if (detector.bbox.x0, detector.bbox.y0) != (0, 0):
        raise CameraError(
            f"Detector {detector.id} ({detector.name}): its box {detector.bbox} does not begin at (0, 0), "
            "where that of an assembled detector does; correct the camera description."
        )
    for key in (*RAW_KEYS, *keys_to_remove):
        frame.metadata.pop(key, None)
    exposure = Exposure(
        *_planes(detector.shape),
        detector=detector,
        visit_info=frame.visit_info,
        planes=MaskPlanes(frame.planes),
        metadata=frame.metadata,
        exposure_id=frame.exposure_id,
        wcs=frame.wcs,
    )
    log.info("Assembled %d amplifiers to %d x %d pixels", len(detector.amplifiers), *detector.shape[::-1])
    no_data = frame.planes.bitmask("NO_DATA")
    if isinstance(frame.plan, RawPlanes):
        planes = Planes(exposure.image, exposure.mask, exposure.variance)
        exposure.postpone(Corrections(planes, detector, frame.plan, no_data))
        frame.plan.is_shared = True
        return exposure
    for plane, value in ((exposure.image, 0), (exposure.mask, no_data), (exposure.variance, 0)):
        plane[...] = value
    for amp, target in exposure.amplifiers():
        source = frame.view(amp.raw_data_bbox)
        order = (
            slice(None, None, -1 if amp.raw_flip_y else 1),
            slice(None, None, -1 if amp.raw_flip_x else 1),
        )
        target.image[...] = source.image[order]
        target.mask[...] = source.mask[order]
        target.variance[...] = source.variance[order]
    return exposure


def _planes(shape: tuple[int, int]) -> Planes:
    """Return planes without a content, each of which begins at another place of a memory page.

    A processor takes a load for one that must wait for a store to the same
    place of another page ("4K aliasing"); it would in each pixel.
    """
    planes: list[npt.NDArray[Any]] = []
    for k, dtype in enumerate((np.float32, np.int32, np.float32)):
        size = np.dtype(dtype).itemsize * math.prod(shape)
        room = np.empty(size + PAGE, np.uint8)
        first = (k * STAGGER - room.ctypes.data) % PAGE
        planes.append(room[first : first + size].view(dtype).reshape(shape))
    return Planes(*planes)
