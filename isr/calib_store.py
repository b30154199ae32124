"""Finding the calibrations of a raw frame in a folder or S3 prefix.

The folder has an index, ``calibs.csv``, with one line per calibration::

    type,detector,physical_filter,valid_from,valid_until,path,sha256
    bias,22,,2013-05-07,2014-05-02,bias/bias_22.fits,
    flat,22,HSC-R,2012-12-19,2013-12-14,flat/flat_HSC-R_22.fits,9f86d0...

``valid_from`` and ``valid_until`` are dates or times (ISO 8601, UTC); the
validity does not include its end. An empty filter fits any, an empty validity
is open, an empty SHA-256 is not verified. Paths are relative to the index. A
``bfKernel`` or ``crosstalk`` of all detectors has no detector.
"""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Collection, Iterable, MutableMapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

from isr.calib_rules import SWITCHES, is_valid_at, needed_kinds, optional_kinds
from isr.calibs import BrighterFatterKernel, Calib, CalibInfo, Calibs, Defects
from isr.config import IsrConfig
from isr.errors import CalibMissingError, ObjectError
from isr.exposure import RawFrame

__all__ = ["INDEX_NAME", "CalibEntry", "load_calibs", "read_index", "write_index"]

log = logging.getLogger(__name__)

INDEX_NAME = "calibs.csv"
COLUMNS = ("type", "detector", "physical_filter", "valid_from", "valid_until", "path", "sha256")
TYPES = {"bfKernel": ("brighterFatterKernel", "bfKernel")}
"""Types in the index that give a kind, the preferred first; else the kind is the type."""
OF_ALL_DETECTORS = ("bfKernel", "crosstalk")
"""Types that may be there for all detectors at once."""


@dataclass(frozen=True, slots=True)
class CalibEntry:
    """One line of an index.

    Attributes
    ----------
    type : `str`
        ``"bias"``, ``"dark"``, ``"flat"``, ``"defects"`` ... (LSST's dataset type).
    detector : `int` or `None`
        Detector id; `None`: all detectors (``bfKernel``, ``crosstalk``).
    physical_filter : `str`
        Filter; ``""``: any.
    valid_from, valid_until : `str`
        Validity ``[valid_from, valid_until)``, ISO 8601 UTC; ``""``: open.
    path : `str`
        File, relative to the index.
    sha256 : `str`
        SHA-256 of the file, hexadecimal; ``""``: not known.
    """

    type: str
    detector: int | None
    path: str
    physical_filter: str = ""
    valid_from: str = ""
    valid_until: str = ""
    sha256: str = ""

    def __str__(self) -> str:
        physical_filter = f" in {self.physical_filter}" if self.physical_filter else ""
        detector = "all detectors" if self.detector is None else f"detector {self.detector}"
        return (
            f"{self.type} of {detector}{physical_filter}, valid from "
            f"{self.valid_from or 'ever'} until {self.valid_until or 'ever'} ({self.path})"
        )


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


def read_index(text: str, name: str = INDEX_NAME) -> list[CalibEntry]:
    """Parse an index.

    Parameters
    ----------
    text : `str`
        Content of the file.
    name : `str`
        Its path or URI, for messages.

    Raises
    ------
    CalibMissingError
        If it is malformed, or a path leaves the folder of the index.
    """
    rows = csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""))
    try:
        lines = [(rows.line_num, [cell.strip() for cell in row]) for row in rows]
    except csv.Error as error:
        raise CalibMissingError(f"{name}, line {rows.line_num}: {error}; correct the index.") from error
    header = lines[0][1] if lines else []
    if sorted({*header, "sha256"}) != sorted(COLUMNS) or len(set(header)) < len(header):
        raise CalibMissingError(
            f"{name}, line 1: expected the columns {','.join(COLUMNS)} (the last is optional), found "
            f"{','.join(header) or 'nothing'}; correct the index."
        )
    entries = []
    for line, cells in lines[1:]:
        if not any(cells):
            continue
        where = f"{name}, line {line}"
        if len(cells) != len(header):
            raise CalibMissingError(
                f"{where}: {len(cells)} columns instead of {len(header)}; correct the index."
            )
        entries.append(_parse_entry({"sha256": ""} | dict(zip(header, cells, strict=True)), where))
    return entries


def write_index(entries: Iterable[CalibEntry]) -> str:
    """Return the content of an index with these entries.

    Raises
    ------
    CalibMissingError
        If an entry would not be accepted when read.
    """
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([getattr(entry, column) for column in COLUMNS] for entry in entries)
    read_index(stream.getvalue())
    return stream.getvalue()


def _parse_entry(cells: dict[str, str], where: str) -> CalibEntry:
    def refuse(column: str, expected: str) -> CalibMissingError:
        return CalibMissingError(
            f"{where}, column {column}: {cells[column]!r}, expected {expected}; correct the index."
        )

    if not cells["type"]:
        raise refuse("type", "a kind of calibration such as bias")
    of_all = not cells["detector"] and cells["type"] in OF_ALL_DETECTORS
    if not (of_all or cells["detector"].isdecimal()):
        raise refuse("detector", "the id of a detector such as 22")
    path = PurePosixPath(cells["path"])
    if not path.name or path.is_absolute() or ".." in path.parts or not cells["path"].isprintable():
        raise refuse("path", "a path relative to the index that does not leave its folder")
    validity = {}
    for column in ("valid_from", "valid_until"):
        try:
            validity[column] = _normalize_date(cells[column])
        except ValueError:
            raise refuse(column, "a date or time in ISO 8601, UTC, or nothing") from None
    if cells["sha256"] and (
        len(cells["sha256"]) != 64 or set(cells["sha256"].lower()) - set("0123456789abcdef")
    ):
        raise refuse("sha256", "64 hexadecimal digits, or nothing")
    return CalibEntry(
        type=cells["type"],
        detector=None if of_all else int(cells["detector"]),
        path=cells["path"],
        physical_filter=cells["physical_filter"],
        sha256=cells["sha256"].lower(),
        **validity,
    )


def _normalize_date(text: str) -> str:
    """Return a date as it is, a time without zone and with a T, so that strings can be compared."""
    if len(text) <= 10:
        return datetime.fromisoformat(text).date().isoformat() if text else ""
    time = datetime.fromisoformat(text)
    if time.tzinfo is not None:
        time = time.astimezone(UTC).replace(tzinfo=None)
    normal = time.isoformat()
    return normal.rstrip("0") if "." in normal else normal


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
