"""The archive of afw's files: objects as rows of binary tables, found through an index.

After the planes comes a table EXTTYPE = 'ARCHIVE_INDEX', then tables EXTTYPE =
'ARCHIVE_DATA', numbered by AR_CATN. A row of the index says: the object ``id``,
of a class ``name``, has ``nrows`` rows from ``row0`` of table ``cat.archive``,
which is the ``cat.persistable``-th of its tables. Cards ARCHIVE_ID_<COMPONENT>
in HDU 0 give the ids, AR_HDU there the number of the index's HDU, from 1.

The layout was taken from files that afw (714e0ed6) wrote, and from files that it read.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from isr.errors import FitsFileError, HeaderError
from isr.fits.cards import Card, Part, encode_hdu
from isr.fits.hdus import FitsFile, reading

__all__ = ["Archive", "ArchiveWriter", "Columns", "Field", "Table", "index_hdu"]

FIRST_HDU = 5
"""Number of the index's HDU, counted from 1: after a primary and three planes."""

MOST_HDUS = 1000

_NUMBERS = {"J": ">i4", "D": ">f8", "E": ">f4", "B": ">u1"}
_INDEX = ("id", "cat.archive", "cat.persistable", "row0", "nrows")


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a table, in the order of afw's schema.

    Attributes
    ----------
    name : `str`
        Name.
    form : `str`
        FITS format: ``"J"``, ``"D"``, ``"32A"``; ``"QA"``, ``"QD"`` ... for a
        text or an array of any length; ``"X"`` for a flag.
    values : `~collections.abc.Sequence`
        Value in each row.
    kind : `str`
        afw's class of the field: ``"Scalar"``, ``"Array"``, ``"String"``,
        ``"Angle"``. Flags have none.
    unit : `str`
        Unit; ``""``: none.
    """

    name: str
    form: str
    values: Sequence[Any]
    kind: str = "Scalar"
    unit: str = ""


Table = Sequence[Field]
Columns = Mapping[str, Any]
"""Columns of a table that was read, by name; values that are texts or arrays of any length are arrays."""


class ArchiveWriter:
    """Collects objects and encodes them as the tables of an archive."""

    def __init__(self) -> None:
        self.ids: dict[str, int] = {}
        self._tables: list[tuple[str, int, Table]] = []  # class, number among those of the object
        self._index: list[tuple[int, int, int, int, str, str]] = []

    def add(self, name: str, module: str, *tables: Table, component: str = "") -> int:
        """Add an object; objects that it refers to come before it.

        Parameters
        ----------
        name, module : `str`
            Class of afw, and the module that registers it.
        *tables : sequence of `Field`
            Its tables.
        component : `str`
            Which component of the exposure it is, such as ``"FILTER"``.

        Returns
        -------
        id : `int`
            Its number in the archive.
        """
        number = self._index[-1][0] + 1 if self._index else 1
        for i, table in enumerate(tables):
            self._tables.append((name, i, table))
            self._index.append((number, len(self._tables), i, len(table[0].values), name, module))
        if component:
            self.ids[component] = number
        return number

    def primary_cards(self) -> list[Card]:
        """Return the cards of HDU 0 that lead to the archive."""
        cards: list[Card] = [
            ("EXPINFO_V", 2, "version of this layout"),
            ("AR_HDU", FIRST_HDU, "number of the HDU with the archive's index"),
        ]
        for component, number in self.ids.items():
            cards += [(f"{component}_ID", number, ""), (f"ARCHIVE_ID_{component}", number, "")]
        return cards

    def encode(self) -> list[Part]:
        """Encode index and tables; an archive without objects has an index without rows."""
        columns = list(zip(*self._index, strict=True)) or [()] * 6
        ids, catalogs, numbers, counts, names, modules = columns
        rows0 = [0] * len(ids)  # every table holds one object
        index = [
            *(Field(n, "J", v) for n, v in zip(_INDEX, (ids, catalogs, numbers, rows0, counts), strict=True)),
            Field("name", "64A", names, "String"),
            Field("module", "64A", modules, "String"),
        ]
        count: list[Card] = [("AR_NCAT", len(self._tables) + 1, "number of tables, with this one")]
        parts = _encode_table(index, "ARCHIVE_INDEX", 0, "ARCHIVE_INDEX", count)
        for i, (name, number, table) in enumerate(self._tables, start=1):
            version: list[Card] = [("EXTVER", number + 1, "")] if number else []
            parts += _encode_table(
                table, "ARCHIVE_DATA", i, name, [*version, ("AR_NAME", name, "class of the objects")]
            )
        return parts


def _encode_table(table: Table, exttype: str, number: int, name: str, cards: Sequence[Card]) -> list[Part]:
    """Encode a table; the cards of flags stand among those of the other fields, in schema order."""
    flags = [f for f in table if f.form == "X"]
    others = [f for f in table if f.form != "X"]
    described: list[Card] = []
    if flags:
        described += [("TTYPE1", "flags", "the flags, one bit each"), ("TFORM1", f"{len(flags)}X", "")]
        described.append(("FLAGCOL", 1, "number of the column with the flags"))
    i = flag = 0
    for item in table:
        if item.form == "X":
            flag += 1
            described.append((f"TFLAG{flag}", item.name, ""))
            continue
        i += 1
        column = i + bool(flags)
        described += [(f"TTYPE{column}", item.name, ""), (f"TFORM{column}", _tform(item), "")]
        described += [(f"TUNIT{column}", item.unit, "")] if item.unit else []
        described.append((f"TCCLS{column}", item.kind, "class of the field in lsst.afw.table"))
    rows, heap, width = _encode_rows(flags, others)
    count = len(table[0].values)
    mandatory: list[Card] = [
        *[("XTENSION", "BINTABLE", "binary table extension"), ("BITPIX", 8, ""), ("NAXIS", 2, "")],
        *[("NAXIS1", width, ""), ("NAXIS2", count, ""), ("PCOUNT", len(heap), ""), ("GCOUNT", 1, "")],
        ("TFIELDS", len(others) + bool(flags), ""),
    ]
    own: list[Card] = [("EXTTYPE", exttype, ""), ("EXTNAME", name, ""), ("AR_CATN", number, "")]
    version: Card = ("AFW_TABLE_VERSION", 3, "")
    return encode_hdu([*mandatory, *described, *own, *cards, version], rows + heap)


def _tform(item: Field) -> str:
    if not item.form.startswith("Q"):
        return item.form if item.form[0].isdigit() else f"1{item.form}"
    return f"1{item.form}({max((_content(item, value)[1] for value in item.values), default=1)})"


def _encode_rows(flags: Sequence[Field], others: Sequence[Field]) -> tuple[bytes, bytes, int]:
    """Return rows, heap, and bytes in a row."""
    rows, heap = bytearray(), bytearray()
    for row in range(len(others[0].values)):
        rows += _flag_bytes([bool(item.values[row]) for item in flags])
        for item in others:
            value = item.values[row]
            if item.form.startswith("Q"):
                content, length = _content(item, value)
                rows += struct.pack(">qq", length, len(heap))
                heap += content
            elif item.form.endswith("A"):
                rows += _fixed_text(item, value)
            else:
                rows += _number_bytes(value, item.form)
    width = -(-len(flags) // 8) + sum(_width(item) for item in others)
    return bytes(rows), bytes(heap), width


def _content(item: Field, value: Any) -> tuple[bytes, int]:
    """Return the bytes and the number of elements of a text or array of any length."""
    if item.form == "QA":
        content = value.encode("ascii", "backslashreplace") or b"\0"  # afw writes "" so
        return content, len(content)
    return _number_bytes(value, item.form[1]), len(value)


def _width(item: Field) -> int:
    if item.form.startswith("Q"):
        return 16
    return int(item.form[:-1]) if item.form.endswith("A") else np.dtype(_NUMBERS[item.form]).itemsize


def _number_bytes(value: Any, code: str) -> bytes:
    return np.asarray(value, _NUMBERS[code]).tobytes()


def _fixed_text(item: Field, value: str) -> bytes:
    width = int(item.form[:-1])
    if len(value) > width or not value.isascii():
        raise HeaderError(
            f"{item.name} = {value!r}: afw's files have room for {width} ASCII characters; "
            "use a shorter name."
        )
    return value.encode().ljust(width)


def _flag_bytes(flags: Sequence[bool]) -> bytes:
    """Pack flags, the first into the highest bit."""
    return np.packbits(np.array(flags, bool)).tobytes()


@dataclass(frozen=True, slots=True)
class Archive:
    """The archive of a file that was read.

    Attributes
    ----------
    name : `str`
        Name of the file.
    ids : `dict` [`str`, `int`]
        Component to id.
    """

    name: str
    ids: dict[str, int]
    _places: dict[int, list[tuple[int, int, int]]] = field(default_factory=dict, repr=False)
    _hdus: Sequence[Any] = field(default=(), repr=False)

    @classmethod
    def of(cls, file: FitsFile) -> Archive:
        """Open the archive of a file; a file without one gives one without objects.

        Raises
        ------
        FitsFileError
            If the cards of HDU 0 or the index lead nowhere.
        """
        header = file.cards(0)
        first = index_hdu(header, file.name)
        return cls.open(file.name, header, file.hdus[first:] if first else [])

    @classmethod
    def open(cls, name: str, header: Mapping[str, Any], hdus: Sequence[Any]) -> Archive:
        """Open an archive, given the header of HDU 0 and the HDUs from the index on.

        Raises
        ------
        FitsFileError
            If the cards or the index lead nowhere.
        """
        if not index_hdu(header, name):
            return cls(name, {})
        if not hdus or hdus[0].header.get("EXTTYPE") != "ARCHIVE_INDEX":
            raise FitsFileError(
                f"{name}, HDU 0: AR_HDU = {header['AR_HDU']}, but that HDU (counted from 1) is no index of "
                "an archive; fetch or make the file again."
            )
        places: dict[int, list[tuple[int, int, int]]] = {}
        with reading(name, "an archive of afw"):
            index = [hdus[0].data[column].tolist() for column in _INDEX]
            for number, catalog, _, start, count in sorted(zip(*index, strict=True), key=lambda row: row[2]):
                places.setdefault(number, []).append((catalog, start, count))
        ids = {key[11:]: value for key, value in header.items() if key.startswith("ARCHIVE_ID_")}
        return cls(name, ids, places, hdus)

    def find(self, component: str) -> list[Columns]:
        """Return the tables of a component; none if the file does not have it.

        Raises
        ------
        FitsFileError
            If the archive does not have what it says.
        """
        return self.get(self.ids[component]) if component in self.ids else []

    def get(self, number: int) -> list[Columns]:
        """Return the tables of an object, by its id: their columns by name.

        Raises
        ------
        FitsFileError
            If the archive does not have it.
        """
        if number not in self._places:
            raise FitsFileError(
                f"{self.name}: no object {number} in the archive, it has {sorted(self._places)}; "
                "fetch or make the file again."
            )
        return [self._columns(number, *place) for place in self._places[number]]

    def _columns(self, number: int, catalog: int, start: int, count: int) -> Columns:
        with reading(self.name, "an archive of afw"):
            data = self._hdus[catalog].data if 0 < catalog < len(self._hdus) else None
            if data is None or not 0 <= start < start + count <= len(data):
                raise FitsFileError(
                    f"{self.name}: the {count} rows from {start} of table {catalog} of the archive, with its "
                    f"object {number}, are not in the file; fetch or make the file again."
                )
            return {column: data[column][start : start + count] for column in data.names}


def index_hdu(header: Mapping[str, Any], name: str) -> int:
    """Return the number, from 0, of the HDU with the archive's index; 0 if there is no archive.

    Raises
    ------
    FitsFileError
        If AR_HDU is no number of an HDU.
    """
    number = header.get("AR_HDU", 1)
    if type(number) is not int or not 1 <= number < MOST_HDUS:
        raise FitsFileError(f"{name}, HDU 0: AR_HDU = {number!r}, expected the number of an HDU.")
    return number - 1
