"""Finding the calibrations of a raw frame in a folder or S3 prefix that has an index.

The index is described in `isr.calib_index`.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, MutableMapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from isr.calib_index import INDEX_NAME, CalibEntry, read_index
from isr.calib_rules import SWITCHES, is_valid_at, needed_kinds, optional_kinds
from isr.calibs import BrighterFatterKernel, Calib, CalibInfo, Calibs, Defects
from isr.config import IsrConfig
from isr.errors import CalibMissingError, ObjectError
from isr.exposure import RawFrame

__all__ = ["load_calibs"]

log = logging.getLogger(__name__)

TYPES = {"bfKernel": ("brighterFatterKernel", "bfKernel")}
"""Types in the index that give a kind, the preferred first; else the kind is the type."""


def load_calibs(
    root: str | Path,
    raw: RawFrame,
    config: IsrConfig,
    *,
    force: Collection[str] = (),
    cache: MutableMapping[str, Any] | None = None,
) -> Calibs:
    """Select and read the calibrations of a raw frame.

    Parameters
    ----------
    root : `str` or `pathlib.Path`
        Folder or ``s3://`` prefix that contains ``calibs.csv``.
    raw : `isr.exposure.RawFrame`
        The exposure: its detector, filter and begin decide.
    config : `isr.config.IsrConfig`
        Says which kinds are needed.
    force : collection of `str`
        Kinds for which the nearest entry is taken if none fits: of the same
        detector rather than another, then of the same filter, then of the
        nearest validity. `isr.calib_rules.check_calibs` judges it.
    cache : `~collections.abc.MutableMapping` [`str`, `object`], optional
        Calibrations read before, by what identifies them; new ones are added.

    Returns
    -------
    calibs : `isr.calibs.Calibs`
        The calibrations. Of an HSC detector that the index has no defects or
        no brighter-fatter kernel of, they are those that come with this
        package; a linearizer or crosstalk that is not there is `None`.

    Raises
    ------
    CalibMissingError
        If there is no index, it is malformed, or nothing fits.
    ObjectError
        If a file cannot be read or has another SHA-256.
    CalibMismatchError, FitsFileError, HeaderError
        If a file is not what it should be.
    """
    needed, optional = needed_kinds(raw, config), optional_kinds(raw, config)
    if not (needed or optional):
        return Calibs(forced=tuple(force))
    index = _join(root, INDEX_NAME)
    entries = read_index(_read_index_text(index), index)
    found: dict[str, Any] = {}
    for kind in (*needed, *optional):
        of_kind = [entry for entry in entries if entry.type in TYPES.get(kind, (kind,))]
        packaged = _packaged(kind, of_kind, raw)
        if packaged is not None:
            found[kind] = packaged
            continue
        is_needed = kind in needed
        entry = _select(kind, of_kind, raw, index, is_forced=kind in force, is_needed=is_needed)
        if entry is None:
            log.info("No %s for detector %d at this date in %s", kind, raw.detector.id, index)
        else:
            found[kind] = _read(root, entry, {} if cache is None else cache)
    return Calibs(**found, forced=tuple(force))


def _select(
    kind: str,
    entries: Sequence[CalibEntry],
    raw: RawFrame,
    index: str,
    *,
    is_forced: bool,
    is_needed: bool,
) -> CalibEntry | None:
    """Choose the entry of a kind; `None` only if none fits and it is not needed."""
    info = raw.visit_info
    for wanted in TYPES.get(kind, (kind,)):
        fitting = [
            entry
            for entry in entries
            if entry.type == wanted
            and entry.detector in (raw.detector.id, None)
            and entry.physical_filter in ("", info.physical_filter)
            and is_valid_at(info.date_begin, entry.valid_from, entry.valid_until)
        ]
        if fitting:
            return _latest(kind, fitting, raw, index)
    if is_forced and entries:
        return min(entries, key=lambda entry: _distance(entry, raw))
    if not is_needed:
        return None
    remedy = f", or take the nearest with --force-calib {kind}" if entries else ""
    raise CalibMissingError(
        f"{_wanted(kind, raw)}: {index} {_explain(kind, entries, raw)}. Add one to the index{remedy}, "
        f"or leave the step out with {SWITCHES.get(kind, 'its switch')}=False."
    )


def _latest(kind: str, fitting: Sequence[CalibEntry], raw: RawFrame, index: str) -> CalibEntry:
    """Return the entry of the detector itself, if there is one, that became valid last."""
    newest = max((entry.detector is not None, entry.valid_from) for entry in fitting)
    best = [entry for entry in fitting if (entry.detector is not None, entry.valid_from) == newest]
    if len(best) > 1:
        raise CalibMissingError(
            f"{_wanted(kind, raw)}: {index} has {len(best)} that fit equally well: "
            f"{'; '.join(map(str, best))}; remove all but one."
        )
    return best[0]


def _wanted(kind: str, raw: RawFrame) -> str:
    info = raw.visit_info
    return (
        f"No {kind} for {raw.name or 'the raw frame'} (detector {raw.detector.id}, filter "
        f"{info.physical_filter or 'unknown'}, {info.date_begin or 'no date'})"
    )


def _explain(kind: str, entries: Sequence[CalibEntry], raw: RawFrame) -> str:
    """Say how far the search came: detector, then filter, then date."""
    info = raw.visit_info
    if not entries:
        return f"has no {kind} at all"
    of_detector = [entry for entry in entries if entry.detector in (raw.detector.id, None)]
    if not of_detector:
        detectors = sorted({entry.detector for entry in entries if entry.detector is not None})
        shown = ", ".join(map(str, detectors[:10])) + (", ..." if len(detectors) > 10 else "")
        return f"has {kind} for detector {shown}, not {raw.detector.id}"
    of_filter = [entry for entry in of_detector if entry.physical_filter in ("", info.physical_filter)]
    if not of_filter:
        filters = ", ".join(sorted({entry.physical_filter for entry in of_detector}))
        return f"has {kind} of this detector for {filters}, not {info.physical_filter or 'an unknown filter'}"
    closest = min(of_filter, key=lambda entry: _distance(entry, raw))
    return f"has none that is valid then; the closest validity is that of the {closest}"


def _distance(entry: CalibEntry, raw: RawFrame) -> tuple[bool, bool, float]:
    """Sort key: another detector, another filter, days outside of the validity."""
    info = raw.visit_info
    days = 0.0
    if not is_valid_at(info.date_begin, entry.valid_from, entry.valid_until):
        date = datetime.fromisoformat(info.date_begin)
        ends = [datetime.fromisoformat(end) for end in (entry.valid_from, entry.valid_until) if end]
        days = min(abs((date - end).total_seconds()) for end in ends) / 86400.0
    return (
        entry.detector not in (raw.detector.id, None),
        entry.physical_filter not in ("", info.physical_filter),
        days,
    )


def _packaged(kind: str, entries: Sequence[CalibEntry], raw: RawFrame) -> Calib | None:
    """Return what the package has of an HSC detector that the index has nothing of."""
    is_known = any(entry.detector in (raw.detector.id, None) for entry in entries)
    if is_known or raw.visit_info.instrument != "HSC":
        return None
    if kind == "defects":
        return _curated_defects(raw)
    if kind == "bfKernel":
        from isr.hsc import brighter_fatter_kernel

        return BrighterFatterKernel(CalibInfo(kind, name="packaged HSC kernel"), brighter_fatter_kernel())
    return None


def _curated_defects(raw: RawFrame) -> Defects:
    """Return the curated defects of an HSC detector."""
    from isr.hsc import defects

    boxes, valid_from, valid_until = defects(raw.detector.id, raw.visit_info.date_begin)
    info = CalibInfo(
        "defects",
        name=f"curated HSC defects {valid_from}",
        detector=raw.detector.id,
        valid_from=valid_from,
        valid_until=valid_until,
    )
    return Defects(info, boxes)


def _read(root: str | Path, entry: CalibEntry, cache: MutableMapping[str, Any]) -> Calib:
    from isr.fits.calib import read_calib

    uri = _join(root, entry.path)
    key = " ".join((entry.type, uri, entry.sha256, entry.valid_from, entry.valid_until))
    if key in cache:
        cached: Calib = cache[key]
        return cached
    facts = CalibInfo(
        entry.type,
        detector=entry.detector,
        physical_filter=entry.physical_filter,
        valid_from=entry.valid_from,
        valid_until=entry.valid_until,
    )
    calib = read_calib(uri, entry.type, entry=facts)
    if entry.sha256 and calib.info.sha256 != entry.sha256:
        raise ObjectError(
            f"{uri}: SHA-256 is {calib.info.sha256}, but {INDEX_NAME} says {entry.sha256}: the file is "
            "damaged or was replaced; fetch it again, or correct the index."
        )
    cache[key] = calib
    return calib


def _read_index_text(index: str) -> str:
    from isr.fits.source import read_bytes

    try:
        return read_bytes(index).decode()
    except ObjectError as error:
        raise CalibMissingError(
            f"{index}: cannot read the index of the calibrations: {error} "
            f"Give the folder or prefix that contains {INDEX_NAME}."
        ) from error
    except UnicodeDecodeError as error:
        raise CalibMissingError(f"{index}: not a text file in UTF-8 ({error}); correct the index.") from error


def _join(root: str | Path, path: str) -> str:
    if str(root).startswith("file:"):
        path = quote(path)  # readers of file URIs undo this
    return f"{str(root).rstrip('/')}/{path}"
