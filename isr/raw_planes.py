"""The planes of a frame before assembly.

Most of a raw frame goes straight into the assembled detector. So the frame that
`isr.steps.assemble.convert_to_float` makes keeps the raw pixels (`RawPlanes`),
and what steps do to imaging pixels is noted and done at assembly; overscans,
which are small, are converted. Whoever asks for a whole plane gets it as it is
then, and the steps that follow work on it (`FloatPlanes`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from threading import RLock

import numba
import numpy as np
import numpy.typing as npt

from isr.camera import Amplifier, Box
from isr.exposure import Exposure, MaskedView, Planes
from isr.numerics.rounding import at_least

__all__ = ["FloatPlanes", "RawPlanes", "planes_of"]

Vector = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.uint16]

NOTED = ("levels", "rows", "columns")
"""Fields of `AmplifierNotes` that steps fill in this order."""


@dataclass(slots=True)
class AmplifierNotes:
    """What is to be done to the imaging pixels of an amplifier.

    Attributes
    ----------
    bits, data_bits : `int`
        Mask of all its pixels, of its imaging pixels.
    levels : `list` [`tuple` [`numpy.float32`, `int`]]
        Raw pixels at or above a level get these bits.
    bright : `int`
        Most pixels that are at or above one of them.
    rows, columns : `numpy.ndarray` or `None`
        Overscan level of each row and column of the imaging pixels.
    """

    bits: int = 0
    data_bits: int = 0
    levels: list[tuple[np.float32, int]] = field(default_factory=list)
    bright: int = 0
    rows: Vector | None = None
    columns: Vector | None = None


class RawPlanes:
    """Planes that are not made yet: raw pixels, and notes of what is to be done to them.

    Parameters
    ----------
    pixels : `numpy.ndarray`, (ny, nx), uint16
        The raw frame, native and contiguous.
    amplifiers : `tuple` [`isr.camera.Amplifier`, ...]
        Its amplifiers.

    Attributes
    ----------
    is_shared : `bool`
        Whether an assembled exposure is made of them: nothing more is noted.
    """

    def __init__(self, pixels: Pixels, amplifiers: tuple[Amplifier, ...]) -> None:
        self.pixels = pixels
        self.shape = pixels.shape
        self.notes = {amp.name: AmplifierNotes() for amp in amplifiers}
        self.is_shared = False
        self.lock = RLock()
        self._amplifiers = amplifiers
        self._strips: dict[Box, MaskedView] = {}

    @cached_property
    def _row_maxima(self) -> dict[str, Pixels]:
        boxes = np.array([amp.raw_bbox for amp in self._amplifiers], np.int64)
        maxima = _row_maxima(self.pixels, boxes)
        return {
            amp.name: row[amp.raw_bbox.slices[0]] for amp, row in zip(self._amplifiers, maxima, strict=True)
        }

    def mask_bright(self, amplifier: Amplifier, level: float, bit: int) -> int:
        """Set a bit where a pixel of the raw strip is at or above a level; return how many are."""
        if math.isnan(level):
            return 0
        strip = self.pixels[amplifier.raw_bbox.slices]
        bright = self._row_maxima[amplifier.name] >= level
        count = int(np.count_nonzero(strip[bright] >= level)) if bright.any() else 0
        if count:
            notes = self.notes[amplifier.name]
            notes.levels.append((at_least(level), bit))
            notes.bright = max(notes.bright, count)
            for box, view in self._strips_of(amplifier):
                view.mask[self.pixels[box.slices] >= at_least(level)] |= bit
        return count

    def all_have(self, amplifier: Amplifier, bits: int) -> bool:
        """Tell whether all imaging pixels have any of the bits."""
        notes, box = self.notes[amplifier.name], amplifier.raw_data_bbox
        if (notes.bits | notes.data_bits) & bits:
            return True
        if notes.bright < box.width * box.height:
            return False
        lowest = min((level for level, bit in notes.levels if bit & bits), default=np.float32(np.inf))
        return bool(self.pixels[box.slices].min() >= lowest)

    def mask_amplifier(self, amplifier: Amplifier, bits: int) -> None:
        """Set bits in the whole raw strip."""
        self.notes[amplifier.name].bits |= bits
        for _, view in self._strips_of(amplifier):
            view.mask[...] |= bits

    def mask_data(self, amplifier: Amplifier, bits: int) -> None:
        """Set bits in the imaging pixels."""
        self.notes[amplifier.name].data_bits |= bits

    def strip(self, amplifier: Amplifier, box: Box) -> MaskedView:
        """Return the pixels of an overscan as they are now; what is written to them stays."""
        if box not in self._strips:
            image = self.pixels[box.slices].astype(np.float32)
            notes = self.notes[amplifier.name]
            mask = np.full(image.shape, notes.bits, np.int32)
            for level, bit in notes.levels:
                mask[image >= level] |= bit
            self._strips[box] = MaskedView(image, mask, np.broadcast_to(np.float32(1.0), image.shape))
        return self._strips[box]

    def subtract(self, amplifier: Amplifier, box: Box, level: Vector, *, along_columns: bool) -> None:
        """Subtract a level of each row (column) from the imaging pixels, or a box around them."""
        data, notes = amplifier.raw_data_bbox, self.notes[amplifier.name]
        if along_columns:
            notes.columns = level
            return
        notes.rows = level[data.y0 - box.y0 : data.y1 - box.y0]
        if box != data:
            parallel = amplifier.raw_parallel_overscan_bbox
            of_parallel = level[parallel.y0 - box.y0 : parallel.y1 - box.y0]
            self.strip(amplifier, parallel).image[...] -= of_parallel[:, np.newaxis]

    def _strips_of(self, amplifier: Amplifier) -> list[tuple[Box, MaskedView]]:
        """Return the overscans of an amplifier that somebody has asked for."""
        return [(box, view) for box, view in self._strips.items() if amplifier.raw_bbox.contains(box)]

    def compute(self) -> tuple[Planes, None]:
        """Make the three planes."""
        image = self.pixels.astype(np.float32)
        mask = np.zeros(self.shape, np.int32)
        for amp in self._amplifiers:
            notes, strip, data = self.notes[amp.name], amp.raw_bbox.slices, amp.raw_data_bbox.slices
            mask[strip] |= notes.bits
            mask[data] |= notes.data_bits
            for level, bit in notes.levels:
                mask[strip][image[strip] >= level] |= bit
            if notes.rows is not None:
                image[data] -= notes.rows[:, np.newaxis]
            if notes.columns is not None:
                image[data] -= notes.columns
        for box, view in self._strips.items():
            image[box.slices], mask[box.slices] = view.image, view.mask
        return Planes(image, mask, np.ones(self.shape, np.float32)), None


class FloatPlanes:
    """The same for planes that are there.

    Parameters
    ----------
    frame : `isr.exposure.Exposure`
        Exposure in the raw geometry; changed in place.
    """

    def __init__(self, frame: Exposure) -> None:
        self._frame = frame

    def mask_bright(self, amplifier: Amplifier, level: float, bit: int) -> int:
        """Set a bit where a pixel of the raw strip is at or above a level; return how many are."""
        view = self._frame.view(amplifier.raw_bbox)
        bright = view.image >= at_least(level)
        view.mask[bright] |= bit
        return int(np.count_nonzero(bright))

    def all_have(self, amplifier: Amplifier, bits: int) -> bool:
        """Tell whether all imaging pixels have any of the bits."""
        return bool(((self._frame.view(amplifier.raw_data_bbox).mask & bits) != 0).all())

    def mask_amplifier(self, amplifier: Amplifier, bits: int) -> None:
        """Set bits in the whole raw strip."""
        self._frame.view(amplifier.raw_bbox).mask[...] |= bits

    def mask_data(self, amplifier: Amplifier, bits: int) -> None:
        """Set bits in the imaging pixels."""
        self._frame.view(amplifier.raw_data_bbox).mask[...] |= bits

    def strip(self, amplifier: Amplifier, box: Box) -> MaskedView:  # noqa: ARG002
        """Return the pixels of an overscan; what is written to them stays."""
        return self._frame.view(box)

    def subtract(self, amplifier: Amplifier, box: Box, level: Vector, *, along_columns: bool) -> None:  # noqa: ARG002
        """Subtract a level of each row (column) from the imaging pixels, or a box around them."""
        self._frame.view(box).image[...] -= level[np.newaxis, :] if along_columns else level[:, np.newaxis]


def planes_of(frame: Exposure, amplifier: Amplifier | None = None, note: str = "") -> RawPlanes | FloatPlanes:
    """Return the planes of an exposure in the raw geometry.

    They are made first if the next ``note`` of an amplifier cannot be made:
    there is one like it, or one of a later step (in `NOTED`).
    """
    if not isinstance(frame.plan, RawPlanes) or frame.plan.is_shared:
        return FloatPlanes(frame)
    if amplifier is not None:
        notes = frame.plan.notes[amplifier.name]
        found = [getattr(notes, name) for name in NOTED[NOTED.index(note) :]]
        if any(value is not None and len(value) for value in found):
            return FloatPlanes(frame)
    return frame.plan


@numba.njit(cache=True, nogil=True)
def _row_maxima(pixels: Pixels, boxes: npt.NDArray[np.int64]) -> Pixels:
    """Return the highest pixel of each row of each box, (n, ny): most rows need not be looked at again."""
    highest = np.zeros((len(boxes), len(pixels)), np.uint16)
    for y in range(len(pixels)):
        for k in range(len(boxes)):
            if boxes[k, 1] <= y < boxes[k, 1] + boxes[k, 3]:
                highest[k, y] = _highest(pixels[y, boxes[k, 0] : boxes[k, 0] + boxes[k, 2]])
    return highest


@numba.njit(cache=True, nogil=True)
def _highest(row: Pixels) -> np.uint16:
    highest = np.uint16(0)
    for x in range(len(row)):
        highest = max(highest, row[x])
    return highest
