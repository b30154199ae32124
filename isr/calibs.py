"""Calibrations in memory, and the rules that say which belongs to which exposure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from isr.config import IsrConfig
from isr.errors import CalibMismatchError, CalibMissingError
from isr.exposure import RawFrame
from isr.footprints import normalize_boxes
from isr.mask import MaskPlanes

__all__ = ["CalibImage", "CalibInfo", "Calibs", "Defects", "check_calibs"]


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


@dataclass(frozen=True, slots=True)
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

    @cached_property
    def normalized(self) -> npt.NDArray[np.int32]:
        """The boxes as LSST's ``Defects`` holds them: cut into disjoint boxes
        (spec section 5.4), (n, 4), int32.
        """
        return normalize_boxes(self.boxes)


@dataclass(frozen=True, slots=True)
class Calibs:
    """The calibrations of one exposure; `None`: not available.

    Attributes
    ----------
    bias, dark, flat : `CalibImage` or `None`
        Frames.
    defects : `Defects` or `None`
        Bad pixels.
    forced : `tuple` [`str`, ...]
        Kinds that are used even though they do not match the exposure.
    """

    bias: CalibImage | None = None
    dark: CalibImage | None = None
    flat: CalibImage | None = None
    defects: Defects | None = None
    forced: tuple[str, ...] = ()

    def items(self) -> Iterable[tuple[str, CalibImage | Defects]]:
        """Yield kind and calibration of those that are there."""
        for kind in ("bias", "dark", "flat", "defects"):
            calib = getattr(self, kind)
            if calib is not None:
                yield kind, calib


def required_kinds(config: IsrConfig) -> tuple[str, ...]:
    """Return the kinds of calibration that a configuration needs."""
    switches = {
        "bias": config.doBias,
        "dark": config.doDark,
        "flat": config.doFlat,
        "defects": config.doDefect,
    }
    return tuple(kind for kind, needed in switches.items() if needed)


def check_calibs(raw: RawFrame, calibs: Calibs, config: IsrConfig) -> dict[str, str]:
    """Refuse calibrations that do not belong to an exposure.

    Parameters
    ----------
    raw : `isr.exposure.RawFrame`
        The exposure.
    calibs : `Calibs`
        Its calibrations. Kinds in ``calibs.forced`` may mismatch in anything
        but shape.
    config : `isr.config.IsrConfig`
        Says which kinds are needed.

    Returns
    -------
    forced : `dict` [`str`, `str`]
        For each forced kind that mismatches, what does not match.

    Raises
    ------
    CalibMissingError
        If a needed calibration is not there.
    CalibMismatchError
        If one is of another detector, filter, shape, unit or date.
    """
    forced = {}
    for kind in required_kinds(config):
        calib: CalibImage | Defects | None = getattr(calibs, kind)
        if calib is None:
            raise CalibMissingError(
                f"{_describe(raw)}: no {kind} given, and do{_SWITCH[kind]} is on; "
                f"give one or set do{_SWITCH[kind]}=False."
            )
        if isinstance(calib, CalibImage) and calib.image.shape != raw.detector.shape:
            raise CalibMismatchError(
                f"{kind} {calib.info.name}: shape {calib.image.shape}, but detector {raw.detector.id} "
                f"({raw.detector.name}) of {raw.name} is {raw.detector.shape} (rows, columns); "
                "a calibration of another shape cannot be used, not even with --force-calib."
            )
        problems = list(_mismatches(raw, calib.info))
        if problems and kind not in calibs.forced:
            raise CalibMismatchError(
                f"{kind} {calib.info.name} does not belong to {_describe(raw)}: {'; '.join(problems)}. "
                f"Use the right {kind}, or --force-calib {kind} if you are sure."
            )
        if problems:
            forced[kind] = "; ".join(problems)
    return forced


_SWITCH = {"bias": "Bias", "dark": "Dark", "flat": "Flat", "defects": "Defect"}


def _describe(raw: RawFrame) -> str:
    info = raw.visit_info
    return (
        f"{raw.name or 'raw'} (visit {info.visit}, detector {raw.detector.id}, "
        f"filter {info.physical_filter or 'unknown'}, {info.date_begin or 'no date'})"
    )


def _mismatches(raw: RawFrame, calib: CalibInfo) -> Iterable[str]:
    info = raw.visit_info
    if calib.detector is not None and calib.detector != raw.detector.id:
        yield f"it is of detector {calib.detector}, the raw of detector {raw.detector.id}"
    if calib.physical_filter and info.physical_filter and calib.physical_filter != info.physical_filter:
        yield f"it is of filter {calib.physical_filter}, the raw of filter {info.physical_filter}"
    if calib.unit not in ("", "adu"):
        yield f"its pixels are in {calib.unit}, the raw's in adu"
    if not is_valid_at(info.date_begin, calib.valid_from, calib.valid_until):
        yield (
            f"it is valid from {calib.valid_from or 'ever'} until {calib.valid_until or 'ever'}, "
            f"the raw is of {info.date_begin}"
        )


def is_valid_at(date: str, valid_from: str, valid_until: str) -> bool:
    """Tell whether ``date`` lies in ``[valid_from, valid_until)``.

    All are ISO 8601 strings (compared as such; a date alone is its midnight);
    empty strings are open ends, an empty ``date`` is always valid.
    """
    return not date or ((not valid_from or valid_from <= date) and (not valid_until or date < valid_until))
