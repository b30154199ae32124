"""The index of a folder or S3 prefix of calibrations.

It is a file ``calibs.csv`` with one line per calibration::

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
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import PurePosixPath

from isr.errors import CalibMissingError

__all__ = ["INDEX_NAME", "CalibEntry", "read_index", "write_index"]

INDEX_NAME = "calibs.csv"
COLUMNS = ("type", "detector", "physical_filter", "valid_from", "valid_until", "path", "sha256")
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
    """Check and convert the cells of a line."""

    def refuse(column: str, expected: str) -> CalibMissingError:
        """Return the error that names a cell."""
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
