"""Steps of single pixels that follow each other, done in one pass over the detector.

Bias, variance, dark and flat note here what they do; `Exposure` lets it be done
when somebody asks for a plane (`isr.numerics.pointwise`). As planes are larger
than caches, what counts is how often they are read and written.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from threading import RLock

import numpy as np
import numpy.typing as npt

from isr.calibs import CalibImage
from isr.camera import Box, Detector
from isr.errors import CalibMismatchError
from isr.exposure import Exposure, Planes
from isr.numerics.pointwise import Parts, correct
from isr.raw_planes import RawPlanes

__all__ = ["Corrections", "corrections_of", "set_bits", "unite_mask"]

log = logging.getLogger(__name__)

Image = npt.NDArray[np.float32]
Mask = npt.NDArray[np.int32]

LEVELS = 2
"""Saturation and the suspect level."""


@dataclass(slots=True)
class Notes:
    """What is to be done, in the order of the fields; `None`: nothing."""

    bias: tuple[Image, Image | None] | None = None
    variance: tuple[Image, Image, np.int32] | None = None
    dark: tuple[Image, Image | None, np.float32, np.float32] | None = None
    flat: tuple[Image, Image | None] | None = None


ORDER = tuple(field.name for field in fields(Notes))


@dataclass(slots=True)
class Corrections:
    """The planes of an assembled detector, and what is still to be done to them.

    Attributes
    ----------
    planes : `isr.exposure.Planes`
        Where the result goes; its pixels count if there is no ``raw``.
    detector : `isr.camera.Detector`
        The detector.
    raw : `isr.raw_planes.RawPlanes` or `None`
        Where the pixels come from.
    no_data : `int`
        Bit of pixels that no amplifier has.
    notes : `Notes`
        The steps.
    masks : `list` [`numpy.ndarray`]
        Masks to unite with.
    boxes : `list` [`tuple` [`tuple` [`slice`, `slice`], `int`]]
        Parts of the mask to set, and their bits.
    """

    planes: Planes
    detector: Detector
    raw: RawPlanes | None = None
    no_data: int = 0
    notes: Notes = field(default_factory=Notes)
    masks: list[Mask] = field(default_factory=list)
    lock: RLock = field(default_factory=RLock)
    boxes: list[tuple[tuple[slice, slice], int]] = field(default_factory=list)

    @property
    def shape(self) -> tuple[int, int]:
        """Shape ``(ny, nx)`` of the planes."""
        return self.planes.image.shape

    def compute(self) -> tuple[Planes, int]:
        """Do it; return the planes, and of how many pixels image or variance is not finite."""
        notes, planes = self.notes, self.planes
        bias, bias_variance = notes.bias or (None, None)
        inverse_gains, noises, negative_bit = notes.variance or (None, None, np.int32(0))
        dark, dark_variance, scale, square = notes.dark or (None, None, np.float32(0.0), np.float32(0.0))
        flat, flat_variance = notes.flat or (None, None)
        parts, columns = _parts(self.detector, self.raw, self.no_data, inverse_gains, noises)
        pixels = self.raw.pixels if self.raw else None
        negative, spoiled = correct(
            planes.image,
            planes.mask,
            planes.variance,
            parts,
            pixels,
            columns,
            bias,
            bias_variance,
            negative_bit,
            dark,
            dark_variance,
            scale,
            square,
            flat,
            flat_variance,
        )
        for mask in self.masks:
            np.bitwise_or(planes.mask, mask, out=planes.mask)
        for index, bits in self.boxes:
            planes.mask[index] |= bits
        if negative_bit:
            log.info("Variance: %d pixels with variance <= 0 masked", negative)
        return planes, spoiled


def corrections_of(exposure: Exposure, step: str, calib: CalibImage | None = None) -> Notes:
    """Return the notes of an assembled exposure, to which a step can be added now.

    Parameters
    ----------
    exposure : `isr.exposure.Exposure`
        Assembled exposure. What was noted before is done first if ``step``
        does not come after it in the order of `Notes`.
    step : `str`
        Name of a field of `Notes`.
    calib : `isr.calibs.CalibImage`, optional
        The calibration of the step. It must not be changed before the planes
        of the exposure have been asked for.

    Raises
    ------
    CalibMismatchError
        If a plane of the calibration has another shape than the exposure.
    """
    if calib is not None:
        _check_shape(exposure, calib)
    plan = exposure.plan
    is_next = isinstance(plan, Corrections) and all(
        getattr(plan.notes, name) is None for name in ORDER[ORDER.index(step) :]
    )
    if isinstance(plan, Corrections) and is_next:
        return plan.notes
    planes = Planes(exposure.image, exposure.mask, exposure.variance)
    plan = Corrections(planes, exposure.detector)
    exposure.postpone(plan)
    return plan.notes


def _check_shape(exposure: Exposure, calib: CalibImage) -> None:
    """Refuse planes of another shape: compiled code would read beyond their ends."""
    for name in Planes._fields:
        plane = getattr(calib, name)
        if plane is not None and plane.shape != exposure.shape:
            raise CalibMismatchError(
                f"{calib.info.kind} {calib.info.name}: {name} is {plane.shape}, expected {exposure.shape} "
                f"for visit {exposure.visit_info.visit} detector {exposure.detector.id}; give the right one."
            )


def unite_mask(exposure: Exposure, mask: Mask) -> None:
    """Set the bits of another mask, whose planes have the same numbers."""
    if isinstance(exposure.plan, Corrections):
        exposure.plan.masks.append(mask)
    else:
        np.bitwise_or(exposure.mask, mask, out=exposure.mask)


def set_bits(exposure: Exposure, boxes: Iterable[Box], bits: int) -> None:
    """Set bits of the mask in boxes; parts of them that are outside are ignored."""
    shape = exposure.shape
    found = [(box.clipped_to(shape).slices, bits) for box in boxes]
    if isinstance(exposure.plan, Corrections):
        exposure.plan.boxes += found
        return
    for index, _ in found:
        exposure.mask[index] |= bits


def _parts(
    detector: Detector, raw: RawPlanes | None, no_data: int, inverse_gains: Image | None, noises: Image | None
) -> tuple[Parts, Image | None]:
    """Return what differs between the amplifiers, and their levels by column."""
    amplifiers, gaps = detector.amplifiers, _gaps(detector)
    n = len(amplifiers) + len(gaps)
    boxes = np.array([*(amp.bbox for amp in amplifiers), *gaps], np.int64)
    parts = Parts(
        boxes=boxes,
        corners=np.full((n, 2), -1),
        flips=np.zeros((n, 2), np.bool_),
        bits=np.full(n, no_data, np.int32),
        levels=np.full((n, LEVELS), np.inf, np.float32),
        level_bits=np.zeros((n, LEVELS), np.int32),
        rows=np.zeros((n, boxes[:, 3].max()), np.float32),
        inverse_gains=np.full(n, np.nan, np.float32),
        noises=np.zeros(n, np.float32),
    )
    if inverse_gains is not None and noises is not None:
        parts.inverse_gains[: len(amplifiers)], parts.noises[: len(amplifiers)] = inverse_gains, noises
    if raw is None:
        return parts, None
    columns = np.zeros((n, boxes[:, 2].max()), np.float32)
    for k, amp in enumerate(amplifiers):
        notes, data = raw.notes[amp.name], amp.raw_data_bbox
        parts.corners[k], parts.flips[k] = (data.x0, data.y0), (amp.raw_flip_x, amp.raw_flip_y)
        parts.bits[k] = notes.bits | notes.data_bits
        for place, (level, bit) in enumerate(notes.levels):
            parts.levels[k, place], parts.level_bits[k, place] = level, bit
        if notes.rows is not None:
            parts.rows[k, : data.height] = notes.rows
        if notes.columns is not None:
            columns[k, : data.width] = notes.columns
    return parts, columns if columns.any() else None


def _gaps(detector: Detector) -> list[Box]:
    """Return boxes of all pixels that belong to no amplifier."""
    if sum(amp.bbox.width * amp.bbox.height for amp in detector.amplifiers) == np.prod(detector.shape):
        return []
    is_free = np.ones(detector.shape, np.bool_)
    for amp in detector.amplifiers:
        is_free[amp.bbox.slices] = False
    boxes: list[Box] = []
    open_boxes: dict[tuple[int, int], Box] = {}
    for y, row in enumerate(is_free):
        edges = np.flatnonzero(np.diff(row.astype(np.int8), prepend=0, append=0)).reshape(-1, 2).tolist()
        now = {}
        for x0, x1 in edges:
            above = open_boxes.pop((x0, x1), Box(x0, y, x1 - x0, 0))
            now[x0, x1] = above._replace(height=above.height + 1)
        boxes += open_boxes.values()
        open_boxes = now
    return [*boxes, *open_boxes.values()]
