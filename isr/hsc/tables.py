"""Reader of the fact tables in ``isr/hsc/data``.

They are ECSV files of our own making. `astropy.table` reads them too, but takes
longer to import than a whole command may take to start.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["DATA", "read_table"]

DATA = Path(__file__).parent / "data"

_COLUMN = re.compile(r"# - \{name: (\w+),.* datatype: (\w+)\}")
_CONVERT: dict[str, Callable[[str], Any]] = {
    "string": str,
    "int32": int,
    "float64": float,
    "bool": {"True": True, "False": False}.__getitem__,
}


def read_table(name: str) -> dict[str, list[Any]]:
    """Read a fact table.

    Parameters
    ----------
    name : `str`
        Name of the table, without ``.ecsv``.

    Returns
    -------
    columns : `dict` [`str`, `list`]
        Values of each column, as `str`, `int`, `float` or `bool`.
    """
    lines = (DATA / f"{name}.ecsv").read_text(encoding="utf-8").splitlines()
    types = {match[1]: match[2] for line in lines if (match := _COLUMN.match(line))}
    names, *rows = csv.reader((line for line in lines if not line.startswith("#")), delimiter=" ")
    columns = zip(*rows, strict=True)
    return {
        column: list(map(_CONVERT[types[column]], values))
        for column, values in zip(names, columns, strict=True)
    }
