"""The rules that say which calibrations an exposure needs, and which belong to it."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from isr.calibs import (
    KINDS,
    BrighterFatterKernel,
    Calib,
    CalibImage,
    Calibs,
    Crosstalk,
    Linearizer,
    StrayLight,
)
from isr.camera import Detector
from isr.config import IsrConfig
from isr.errors import CalibMismatchError, CalibMissingError
from isr.exposure import RawFrame
from isr.filter_rule import filter_is_listed

__all__ = ["SWITCHES", "check_calibs", "is_valid_at", "needed_kinds", "optional_kinds", "used_kinds"]

SWITCHES = {
    "bias": "doBias",
    "dark": "doDark",
    "flat": "doFlat",
    "defects": "doDefect",
    "fringe": "doFringe",
    "bfKernel": "doBrighterFatter",
    "yBackground": "doStrayLight",
}


def needed_kinds(raw: RawFrame, config: IsrConfig) -> tuple[str, ...]:
    """Return the kinds of calibration that an exposure cannot do without.

    Parameters
    ----------
    raw : `isr.exposure.RawFrame`
        The exposure. Its filter decides on fringes; filter, date and detector
        on stray light (`isr.hsc.stray_light_rule.needs_stray_light`).
    config : `isr.config.IsrConfig`
        Which steps run, and the filters of fringes and stray light.

    Returns
    -------
    kinds : `tuple` [`str`, ...]
        Names of fields of `isr.calibs.Calibs`, in their order there.
    """
    from isr.hsc.stray_light_rule import needs_stray_light

    info = raw.visit_info
    applies = {
        "fringe": lambda: filter_is_listed(info, config.fringe.filters),
        "yBackground": lambda: needs_stray_light(info, raw.detector, config.strayLight.filters),
    }
    return tuple(
        kind
        for kind in KINDS
        if kind in SWITCHES and getattr(config, SWITCHES[kind]) and applies.get(kind, lambda: True)()
    )


def optional_kinds(raw: RawFrame, config: IsrConfig) -> tuple[str, ...]:
    """Return the kinds that are used if they are there.

    Without a linearizer the camera's linearity is used, without crosstalk the
    configuration's coefficients.
    """
    has_linearity = raw.detector.amplifiers[0].linearity_type != "None"
    wanted = {"linearizer": config.doLinearize and has_linearity, "crosstalk": config.doCrosstalk}
    return tuple(kind for kind, is_wanted in wanted.items() if is_wanted)


def used_kinds(raw: RawFrame, calibs: Calibs, config: IsrConfig) -> tuple[str, ...]:
    """Return the kinds that are used: those needed, and the optional ones that are there."""
    optional = [kind for kind in optional_kinds(raw, config) if getattr(calibs, kind) is not None]
    return (*needed_kinds(raw, config), *optional)


def check_calibs(raw: RawFrame, calibs: Calibs, config: IsrConfig) -> dict[str, str]:
    """Refuse calibrations that do not belong to an exposure.

    Parameters
    ----------
    raw : `isr.exposure.RawFrame`
        The exposure.
    calibs : `isr.calibs.Calibs`
        Its calibrations. Kinds in ``calibs.forced`` may mismatch in anything
        but shape and what makes no sense at all.
    config : `isr.config.IsrConfig`
        Says which kinds are used.

    Returns
    -------
    forced : `dict` [`str`, `str`]
        For each forced kind that mismatches, what does not match.

    Raises
    ------
    CalibMissingError
        If a needed calibration is not there.
    CalibMismatchError
        If one is of another detector, filter, shape, unit or date, or if it
        cannot be used with any exposure.

    Notes
    -----
    NaN in a bias, dark or flat is legal (the pixels become UNMASKEDNAN or NaN,
    as in LSST), and so are infinities, except in the dark and the flat of the
    brighter-fatter correction: they come back when dark and flat are undone,
    masked or not, and make most of LSST's image NaN (spec, correction 7).
    """
    forced = {}
    for kind in used_kinds(raw, calibs, config):
        calib: Calib | None = getattr(calibs, kind)
        if calib is None:
            switch = SWITCHES[kind]
            raise CalibMissingError(
                f"{_describe(raw)}: no {kind} given, and {switch} is on; give one or set {switch}=False."
            )
        detector, before = raw.detector, kind == "bias" and config.doBiasBeforeOverscan
        shape = detector.raw_shape if before else detector.shape
        misfit = _misfit(detector, calib, shape)
        if misfit:
            of_raw = " with doBiasBeforeOverscan" if before else ""
            raise CalibMismatchError(
                f"{kind} {calib.info.name}: {misfit}, but detector {detector.id} ({detector.name}) of "
                f"{raw.name} is {_shape(detector, calib, shape)}{of_raw}; such a calibration "
                "cannot be used, not even with --force-calib."
            )
        problems = list(_mismatches(raw, calib))
        if problems and kind not in calibs.forced:
            raise CalibMismatchError(
                f"{kind} {calib.info.name} does not belong to {_describe(raw)}: {'; '.join(problems)}. "
                f"Use the right {kind}, or --force-calib {kind} if you are sure."
            )
        if problems:
            forced[kind] = "; ".join(problems)
    if config.doBrighterFatter:
        _check_brighter_fatter(raw, calibs, config)
    return forced


def _describe(raw: RawFrame) -> str:
    info = raw.visit_info
    return (
        f"{raw.name or 'raw'} (visit {info.visit}, detector {raw.detector.id}, "
        f"filter {info.physical_filter or 'unknown'}, {info.date_begin or 'no date'})"
    )


def _misfit(detector: Detector, calib: Calib, shape: tuple[int, int]) -> str:
    """Say what of a calibration's shape does not fit a detector; ``""`` if all does."""
    names = [amp.name for amp in detector.amplifiers]
    match calib:
        case CalibImage() if calib.image.shape != shape:
            return f"shape {calib.image.shape}"
        case Linearizer() if calib.types and set(calib.types) != set(names):
            return f"amplifiers {', '.join(map(repr, calib.types))}"
        case Crosstalk() if calib.coeffs.shape != (len(names), len(names)):
            return f"shape {calib.coeffs.shape}"
        case BrighterFatterKernel() if calib.gains and not set(names) <= set(calib.gains):
            return f"gains of the amplifiers {', '.join(map(repr, calib.gains))}"
        case StrayLight():
            found = [calib.shape] * len(calib.cubes)
            if found != [amp.bbox.shape for amp in detector.amplifiers]:
                return f"amplifiers of the shapes {found}"
    return ""


def _shape(detector: Detector, calib: Calib, shape: tuple[int, int]) -> str:
    if isinstance(calib, CalibImage):
        return f"{shape} (rows, columns)"
    amps = ", ".join(f"{amp.name!r} {amp.bbox.shape}" for amp in detector.amplifiers)
    return f"one of {len(detector.amplifiers)} amplifiers: {amps}"


def _mismatches(raw: RawFrame, calib: Calib) -> Iterable[str]:
    info, of_calib = raw.visit_info, calib.info
    if of_calib.detector is not None and of_calib.detector != raw.detector.id:
        yield f"it is of detector {of_calib.detector}, the raw of detector {raw.detector.id}"
    if of_calib.physical_filter and info.physical_filter and of_calib.physical_filter != info.physical_filter:
        yield f"it is of filter {of_calib.physical_filter}, the raw of filter {info.physical_filter}"
    if of_calib.unit not in ("", "adu"):
        what = "coefficients are for" if isinstance(calib, Linearizer | Crosstalk) else "pixels are in"
        yield f"its {what} {of_calib.unit}, the raw's in adu"
    if not is_valid_at(info.date_begin, of_calib.valid_from, of_calib.valid_until):
        yield (
            f"it is valid from {of_calib.valid_from or 'ever'} until {of_calib.valid_until or 'ever'}, "
            f"the raw is of {info.date_begin}"
        )


def _check_brighter_fatter(raw: RawFrame, calibs: Calibs, config: IsrConfig) -> None:
    """Refuse what would make the whole correction NaN."""
    kernel = calibs.bfKernel
    if kernel is not None:
        _check_kernel(kernel)
    for kind, frame, is_used in (("dark", calibs.dark, config.doDark), ("flat", calibs.flat, config.doFlat)):
        if is_used and frame is not None and frame.has_infinity:
            pixels = np.argwhere(np.isinf(frame.image))
            y, x = pixels[0].tolist()
            raise CalibMismatchError(
                f"{kind} {frame.info.name}: {len(pixels)} infinite pixels, the first at x={x}, y={y}: the "
                f"brighter-fatter correction of {_describe(raw)} would spread them over the whole detector, "
                "even if they are masked; replace them by NaN, or set doBrighterFatter=False."
            )


def _check_kernel(kernel: BrighterFatterKernel) -> None:
    array, name = kernel.kernel, f"bfKernel {kernel.info.name}"
    if array.ndim != 2 or array.shape[0] != array.shape[1] or array.shape[0] % 2 == 0:
        raise CalibMismatchError(
            f"{name}: shape {array.shape}, expected a square with an odd number of rows; give the right one."
        )
    if not np.isfinite(array).all():
        y, x = np.argwhere(~np.isfinite(array))[0].tolist()
        raise CalibMismatchError(
            f"{name}: {array[y, x]} at x={x}, y={y}, expected finite numbers; correct it."
        )
    bad = {amp: gain for amp, gain in kernel.gains.items() if not (np.isfinite(gain) and gain > 0)}
    if bad:
        raise CalibMismatchError(
            f"{name}: gains {bad}, expected positive numbers of electron/ADU; correct them."
        )


def is_valid_at(date: str, valid_from: str, valid_until: str) -> bool:
    """Tell whether ``date`` lies in ``[valid_from, valid_until)``.

    All are ISO 8601 strings (compared as such; a date alone is its midnight);
    empty strings are open ends, an empty ``date`` is always valid.
    """
    return not date or ((not valid_from or valid_from <= date) and (not valid_until or date < valid_until))
