"""Calibrations in memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from isr.camera import Box
from isr.footprints import normalize_boxes
from isr.mask import MaskPlanes

__all__ = [
    "KINDS",
    "BrighterFatterKernel",
    "Calib",
    "CalibImage",
    "CalibInfo",
    "Calibs",
    "Crosstalk",
    "Defects",
    "Linearizer",
    "StrayLight",
]


def _make_native(calib: object, *names: str) -> None:
    """Give arrays of a frozen calibration the byte order of this machine, which the kernels need.

    FITS files are big-endian, and so may be what a user has read from one.
    """
    for name in names:
        array = getattr(calib, name)
        if array is not None:
            object.__setattr__(calib, name, _native(array))


def _native(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


@dataclass(frozen=True, slots=True)
class CalibInfo:
    """What a calibration says of itself; empty values mean "not stated".

    Attributes
    ----------
    kind : `str`
        ``"bias"``, ``"dark"``, ``"flat"``, ``"defects"`` ...
    name : `str`
        Path or URI of its file; ``""`` if made in memory.
    sha256 : `str`
        SHA-256 of the file, hexadecimal.
    detector : `int` or `None`
        Detector id.
    physical_filter : `str`
        Filter, for calibrations that depend on it.
    unit : `str`
        Unit of the pixels in lower case: ``"adu"``, ``"electron"`` or ``""``.
    valid_from, valid_until : `str`
        Validity ``[valid_from, valid_until)``, ISO 8601 UTC; ``""``: open.
    date : `str`
        Date of the calibration.
    run, uuid : `str`
        Provenance in a Butler repository.
    detector_name : `str`
        Name of the detector, which the tables of LSST's ip_isr go by.
    """

    kind: str
    name: str = ""
    sha256: str = ""
    detector: int | None = None
    physical_filter: str = ""
    unit: str = ""
    valid_from: str = ""
    valid_until: str = ""
    date: str = ""
    run: str = ""
    uuid: str = ""
    detector_name: str = ""


@dataclass(frozen=True)
class CalibImage:
    """A bias, dark, flat or fringe frame, in the assembled, flipped frame.

    Attributes
    ----------
    info : `CalibInfo`
        What it is and where it comes from.
    image : `numpy.ndarray`, (ny, nx), float32
        Bias: ADU. Dark: ADU per ``dark_time``. Flat: relative response.
    mask : `numpy.ndarray`, (ny, nx), int32, or `None`
        Mask; `None` means no bit set.
    variance : `numpy.ndarray`, (ny, nx), float32, or `None`
        Variance; `None` means zero.
    planes : `isr.mask.MaskPlanes`
        Plane name to bit number of ``mask``.
    dark_time : `float`
        Dark time that ``image`` belongs to, in seconds (NaN: not stated).
    metadata : `dict` [`str`, `object`]
        Header of the file.
    """

    info: CalibInfo
    image: npt.NDArray[np.float32]
    mask: npt.NDArray[np.int32] | None = None
    variance: npt.NDArray[np.float32] | None = None
    planes: MaskPlanes = field(default_factory=MaskPlanes)
    dark_time: float = float("nan")
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _make_native(self, "image", "mask", "variance")
        for name, dtype in (("image", np.float32), ("mask", np.int32), ("variance", np.float32)):
            plane = getattr(self, name)
            if plane is not None and plane.dtype != dtype:
                object.__setattr__(self, name, plane.astype(dtype))

    @cached_property
    def has_infinity(self) -> bool:
        """Whether a pixel of the image is infinite (NaN does not count)."""
        return bool(np.isinf(self.image).any())


@dataclass(frozen=True)
class Defects:
    """Boxes of bad pixels in the assembled, flipped frame.

    Attributes
    ----------
    info : `CalibInfo`
        What it is and where it comes from.
    boxes : `numpy.ndarray`, (n, 4), int32
        ``x0, y0, width, height`` of each box, as listed.
    """

    info: CalibInfo
    boxes: npt.NDArray[np.int32]

    def __post_init__(self) -> None:
        _make_native(self, "boxes")

    @cached_property
    def normalized(self) -> npt.NDArray[np.int32]:
        """The boxes as LSST's ``Defects`` holds them: cut into disjoint boxes
        (spec section 5.4), (n, 4), int32.
        """
        return normalize_boxes(self.boxes)


@dataclass(frozen=True, slots=True)
class Linearizer:
    """Linearity correction of the amplifiers of a detector.

    Attributes
    ----------
    info : `CalibInfo`
        What it is and where it comes from.
    types : `~collections.abc.Mapping` [`str`, `str`]
        Amplifier name to model: ``"Squared"``, ``"Polynomial"``,
        ``"LookupTable"``, ``"Spline"``, ``"Proportional"`` or ``"None"``.
    coeffs : `~collections.abc.Mapping` [`str`, `numpy.ndarray`]
        Amplifier name to coefficients (n,), float64, as LSST stores them.
    table : `numpy.ndarray`, (rows, n), float32, or `None`
        Lookup table: the ADU to add, by row and signal.
    boxes : `~collections.abc.Mapping` [`str`, `isr.camera.Box`]
        Amplifier name to its box as the file has it; only kept, not used.
    """

    info: CalibInfo
    types: Mapping[str, str]
    coeffs: Mapping[str, npt.NDArray[np.float64]]
    table: npt.NDArray[np.float32] | None = None
    boxes: Mapping[str, Box] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _make_native(self, "table")


@dataclass(frozen=True, slots=True)
class Crosstalk:
    """Crosstalk between the amplifiers of a detector.

    Attributes
    ----------
    info : `CalibInfo`
        What it is and where it comes from.
    coeffs : `numpy.ndarray`, (n, n), float64
        ``coeffs[source, target]``: share of the signal of amplifier ``source``
        that appears in amplifier ``target``.
    """

    info: CalibInfo
    coeffs: npt.NDArray[np.float64]

    def __post_init__(self) -> None:
        _make_native(self, "coeffs")


@dataclass(frozen=True, slots=True)
class BrighterFatterKernel:
    """Kernel of the brighter-fatter correction.

    Attributes
    ----------
    info : `CalibInfo`
        What it is and where it comes from.
    kernel : `numpy.ndarray`, (n, n), float64
        Kernel ``[y, x]``, 1/electron, n odd.
    gains : `~collections.abc.Mapping` [`str`, `float`]
        Gains (electron/ADU) by amplifier name that the kernel was measured
        with; empty: those of the camera.
    """

    info: CalibInfo
    kernel: npt.NDArray[np.float64]
    gains: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _make_native(self, "kernel")


@dataclass(frozen=True, slots=True)
class StrayLight:
    """Stray light as a function of the rotator angle (HSC-Y; spec section 4.14).

    Attributes
    ----------
    info : `CalibInfo`
        What it is and where it comes from.
    cubes : `tuple` [`numpy.ndarray`, ...]
        One per amplifier: wavelet coefficients (angle, y, x), float32.
    shape : `tuple` [`int`, `int`]
        Rows and columns of an amplifier, uncompressed.
    levels : `tuple` [`int`, `int`, `int`]
        Levels of the wavelet transform along x, y and angle.
    """

    info: CalibInfo
    cubes: tuple[npt.NDArray[np.float32], ...]
    shape: tuple[int, int]
    levels: tuple[int, int, int]

    def __post_init__(self) -> None:
        object.__setattr__(self, "cubes", tuple(_native(cube) for cube in self.cubes))


Calib = CalibImage | Defects | Linearizer | Crosstalk | BrighterFatterKernel | StrayLight


@dataclass(frozen=True, slots=True)
class Calibs:
    """The calibrations of one exposure; `None`: not available.

    Fields have the names of LSST's dataset types.

    Attributes
    ----------
    bias, dark, flat, fringe : `CalibImage` or `None`
        Frames.
    defects : `Defects` or `None`
        Bad pixels.
    linearizer : `Linearizer` or `None`
        Overrides the camera's linearity.
    crosstalk : `Crosstalk` or `None`
        Overrides the configuration's coefficients.
    bfKernel : `BrighterFatterKernel` or `None`
        Brighter-fatter kernel, of the old or of the new kind.
    yBackground : `StrayLight` or `None`
        Stray light.
    forced : `tuple` [`str`, ...]
        Kinds that are used even though they do not match the exposure.
    """

    bias: CalibImage | None = None
    dark: CalibImage | None = None
    flat: CalibImage | None = None
    defects: Defects | None = None
    fringe: CalibImage | None = None
    linearizer: Linearizer | None = None
    crosstalk: Crosstalk | None = None
    bfKernel: BrighterFatterKernel | None = None
    yBackground: StrayLight | None = None
    forced: tuple[str, ...] = ()

    def items(self) -> Iterable[tuple[str, Calib]]:
        """Yield kind and calibration of those that are there."""
        for kind in KINDS:
            calib = getattr(self, kind)
            if calib is not None:
                yield kind, calib


KINDS = ("bias", "dark", "flat", "defects", "fringe", "linearizer", "crosstalk", "bfKernel", "yBackground")
