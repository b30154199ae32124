"""The rules that say which calibration belongs to which exposure."""

from __future__ import annotations

from collections.abc import Iterable

from isr.calibs import Calib, CalibImage, CalibInfo, Calibs
from isr.config import IsrConfig
from isr.errors import CalibMismatchError, CalibMissingError
from isr.exposure import RawFrame

__all__ = ["check_calibs", "is_valid_at", "required_kinds"]


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
    calibs : `isr.calibs.Calibs`
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
        calib: Calib | None = getattr(calibs, kind)
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
