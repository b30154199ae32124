"""Calibrations that are tables: FITS binary tables, and ECSV for reading."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from isr.calibs import CalibInfo
from isr.errors import FitsFileError
from isr.fits.calib_info import info_cards, read_info, source_name
from isr.fits.cards import Card, Part, encode_hdu
from isr.fits.hdus import FitsFile, open_fits
from isr.fits.scan import Hdu

__all__ = ["CalibTables", "Columns", "encode_table", "read_tables", "table_cards"]

Columns = Mapping[str, npt.NDArray[Any]]
_FORMS = {"f8": "D", "f4": "E", "i8": "K", "b1": "L"}
_CODES = {"D": ">f8", "E": ">f4", "K": ">i8", "J": ">i4", "I": ">i2"}
_NUMBERS = re.compile(r"([1-9]\d{0,5})?([DEKJI])")
_SPECIAL = ("TSCAL", "TZERO", "TNULL", "TDIM")


@dataclass(frozen=True, slots=True)
class CalibTables:
    """The tables of a calibration file.

    Attributes
    ----------
    name : `str`
        Path or URI, or the kind; for messages.
    columns : `tuple` [`~collections.abc.Mapping`, ...]
        Columns by name, for each table; at least one.
    header : `dict` [`str`, `object`]
        Metadata: cards of the primary header and of the first table's.
    info : `isr.calibs.CalibInfo`
        What the file says of itself.
    """

    name: str
    columns: tuple[Columns, ...]
    header: dict[str, Any]
    info: CalibInfo

    def require(self, table: int, *names: str) -> list[npt.NDArray[Any]]:
        """Return columns of a table.

        Raises
        ------
        FitsFileError
            If there is no such table, or it lacks one.
        """
        if table >= len(self.columns):
            raise FitsFileError(
                f"{self.name}: {len(self.columns)} tables, expected one with {', '.join(names)} as number "
                f"{table + 1}; give the right file."
            )
        columns = self.columns[table]
        missing = [name for name in names if name not in columns]
        if missing:
            raise FitsFileError(
                f"{self.name}, table {table + 1}: no column {', '.join(missing)}, found "
                f"{', '.join(columns) or 'none'}; give the right file."
            )
        return [columns[name] for name in names]

    def numbers(self, table: int, name: str) -> npt.NDArray[np.float64]:
        """Return a column of numbers in float64.

        Raises
        ------
        FitsFileError
            If there is no such column, or it does not hold numbers.
        """
        (column,) = self.require(table, name)
        try:
            return np.array(column, np.float64)
        except (TypeError, ValueError) as error:
            raise FitsFileError(
                f"{self.name}, table {table + 1}: column {name} does not hold numbers of one length "
                f"({error}); make the file again."
            ) from error


def read_tables(source: str | Path | bytes, kind: str, entry: CalibInfo | None) -> CalibTables:
    """Read a file of FITS tables (in HDU 1 and those after it) or an ECSV table.

    Parameters
    ----------
    source : `str`, `pathlib.Path` or `bytes`
        Path, URI or content.
    kind : `str`
        Kind of calibration.
    entry : `isr.calibs.CalibInfo` or `None`
        What an index says of the file.

    Raises
    ------
    FitsFileError
        If it is no such file.
    CalibMismatchError, HeaderError, ObjectError
        If it is of another kind, has a card that makes no sense, or cannot be read.
    """
    from isr.fits.source import read_bytes

    name = source_name(source, entry)
    data = read_bytes(source)
    if data.startswith(b"# %ECSV"):
        columns, header = _read_ecsv(data, name or kind)
        info = read_info(name, hashlib.sha256(data).hexdigest(), kind, header, entry)
        return CalibTables(name or kind, (columns,), header, info)
    file = open_fits(data, name)
    tables, header = _read_fits(file, kind)
    return CalibTables(name or kind, tables, header, read_info(name, file.sha256, kind, header, entry))


def table_cards(info: CalibInfo, obstype: str, version: float, schema: str, calib_class: str) -> list[Card]:
    """Return the cards that ip_isr expects in each of its table calibrations."""
    own = [card for card in info_cards(info) if card[0] != "OBSTYPE"]
    return [
        ("OBSTYPE", obstype, ""),
        (f"{obstype}_SCHEMA", schema, ""),
        (f"{obstype}_VERSION", version, ""),
        *own,
        ("CALIBCLS", f"lsst.ip.isr.{calib_class}", ""),
    ]


def encode_table(columns: Columns, cards: Iterable[Card]) -> list[Part]:
    """Encode columns as a binary table, formats as astropy writes them.

    Parameters
    ----------
    columns : `~collections.abc.Mapping` [`str`, `numpy.ndarray`]
        Columns (rows, ...): float64, float32, int64, bool or ASCII text.
    cards : iterable of `Card`
        Cards besides those that describe the table.

    Returns
    -------
    parts : `list` [`bytes`]
        Header, data and padding.
    """
    fields: list[tuple[str, str, tuple[int, ...]]] = []
    described: list[Card] = []
    rows = len(next(iter(columns.values())))
    for i, (name, column) in enumerate(columns.items(), start=1):
        shape = column.shape[1:]
        if column.dtype.kind == "U":
            width = max(column.dtype.itemsize // 4, 1)
            fields.append((name, f"S{width}", shape))
            form = f"{width}A"
        else:
            code = column.dtype.str[1:]
            fields.append((name, "i1" if code == "b1" else f">{code}", shape))
            repeat = int(np.prod(shape))
            form = f"{repeat if repeat != 1 else ''}{_FORMS[code]}"
        described += [(f"TTYPE{i}", name, ""), (f"TFORM{i}", form, "")]
        if shape:
            described.append((f"TDIM{i}", f"({','.join(map(str, reversed(shape)))})", ""))
    table = np.zeros(rows, np.dtype(fields))
    for name, column in columns.items():
        table[name] = np.where(column, ord("T"), ord("F")) if column.dtype.kind == "b" else column
    mandatory: list[Card] = [
        *[("XTENSION", "BINTABLE", "binary table extension"), ("BITPIX", 8, ""), ("NAXIS", 2, "")],
        *[("NAXIS1", table.itemsize, ""), ("NAXIS2", rows, ""), ("PCOUNT", 0, ""), ("GCOUNT", 1, "")],
        ("TFIELDS", len(fields), ""),
    ]
    return encode_hdu([*mandatory, *described, *cards], table.tobytes())


def _read_ecsv(data: bytes, name: str) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
    from astropy.table import Table

    try:
        table = Table.read(data.decode(), format="ascii.ecsv")
    except Exception as error:  # a damaged table can make astropy and YAML raise anything
        raise FitsFileError(
            f"{name}: not a readable ECSV table ({error}); fetch or make it again."
        ) from error
    return {column: np.asarray(table[column]) for column in table.colnames}, dict(table.meta)


def _read_fits(file: FitsFile, kind: str) -> tuple[tuple[Columns, ...], dict[str, Any]]:
    if len(file.units) < 2 or not _is_table(file.units[1]):
        raise FitsFileError(f"{file.name}, HDU 1: expected a table of {kind}; give the right file.")
    tables: list[Columns] = []
    for unit in file.units[1:]:
        if not _is_table(unit):
            break
        columns = _numeric_columns(file.data, unit)
        tables.append(_columns_of_astropy(file, unit.index) if columns is None else columns)
    return tuple(tables), file.cards(0) | file.cards(1)


def _is_table(unit: Hdu) -> bool:
    return unit.header.get("XTENSION") == "BINTABLE" and "ZIMAGE" not in unit.header


def _numeric_columns(data: bytes, unit: Hdu) -> Columns | None:
    """Return the columns of a table of plain numbers; `None` if there is anything else in it."""
    header = unit.header
    fields: list[tuple[str, str, tuple[int, ...]]] = []
    for i in range(1, header.get("TFIELDS", 0) + 1):
        form = _NUMBERS.fullmatch(str(header.get(f"TFORM{i}")))
        name = header.get(f"TTYPE{i}")
        if form is None or not isinstance(name, str) or any(f"{key}{i}" in header for key in _SPECIAL):
            return None
        repeat = int(form[1] or 1)
        fields.append((name, _CODES[form[2]], () if repeat == 1 else (repeat,)))
    if len({name.lower() for name, _, _ in fields}) < len(fields) or header.get("PCOUNT"):
        return None
    dtype = np.dtype(fields)
    rows = header.get("NAXIS2", 0)
    if not fields or header.get("NAXIS1") != dtype.itemsize or unit.data_size != rows * dtype.itemsize:
        return None
    table = np.frombuffer(data, dtype, rows, unit.data_start)
    return {name: np.array(table[name]) for name, _, _ in fields}


def _columns_of_astropy(file: FitsFile, index: int) -> Columns:
    hdu = file.hdus[index]
    try:
        return {column: np.asarray(hdu.data[column]) for column in hdu.columns.names}
    except Exception as error:  # a damaged header can make astropy raise anything
        raise FitsFileError(
            f"{file.name}, HDU {index}: unreadable table ({error}); make it again."
        ) from error
