"""Lists of defects as FITS and ECSV tables (spec section 8)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from isr.calibs import CalibInfo, Defects
from isr.errors import FitsFileError
from isr.fits.calib_info import info_cards
from isr.fits.hdus import encode_primary
from isr.fits.tables import encode_table, read_tables

__all__ = ["encode_defects", "read_defects"]


def read_defects(source: str | Path | bytes, *, entry: CalibInfo | None = None) -> Defects:
    """Read a list of defects.

    Parameters
    ----------
    source : `str`, `pathlib.Path` or `bytes`
        Path, URI or content of a FITS table in HDU 1 or of an ECSV table, with
        the columns x0, y0, width, height (0-based), or of a FITS table in the
        style of FITS regions with X, Y (centre, 1-based), R, SHAPE and, for
        ROTBOX, ROTANG (see Notes).
    entry : `isr.calibs.CalibInfo`, optional
        What an index says of the file, see `read_calib_image`.

    Returns
    -------
    defects : `isr.calibs.Defects`
        Boxes as listed.

    Raises
    ------
    FitsFileError
        If it is not such a table, or a box or shape makes no sense.
    CalibMismatchError, HeaderError, ObjectError
        See `read_calib_image`.

    Notes
    -----
    A BOX has the centre (X, Y) and the width and height R; its first column is
    ``floor(X - width / 2)``, 0-based, rows alike (so is a centre between two
    pixels resolved by afw). A POINT is a BOX of one pixel. A ROTBOX is turned
    by ROTANG degrees; multiples of 90 are possible.
    """
    tables = read_tables(source, "defects", entry)
    return Defects(tables.info, _boxes(tables.columns[0], tables.name))


def encode_defects(defects: Defects) -> bytes:
    """Encode a list of defects as the FITS table that LSST's ``Defects`` reads.

    Detector and validity stand in the header. The same defects give the same
    bytes.
    """
    names = ("x0", "y0", "width", "height")
    columns = {name: defects.boxes[:, i].astype(np.int64) for i, name in enumerate(names)}
    cards = [
        *[("defects_SCHEMA", "", ""), ("defects_VERSION", 2.0, "")],
        *[("CALIBCLS", "lsst.ip.isr.defects.Defects", ""), *info_cards(defects.info)],
    ]
    return b"".join([*encode_primary([]), *encode_table(columns, cards)])


def _boxes(columns: Mapping[str, npt.NDArray[Any]], name: str) -> npt.NDArray[np.int32]:
    if {"x0", "y0", "width", "height"} <= columns.keys():
        boxes = np.stack([columns[key] for key in ("x0", "y0", "width", "height")], axis=-1).reshape(-1, 4)
    elif {"X", "Y", "R", "SHAPE"} <= columns.keys():
        boxes = np.array([_region(columns, row, name) for row in range(len(columns["X"]))]).reshape(-1, 4)
    else:
        raise FitsFileError(
            f"{name}: a table of defects has the columns x0, y0, width, height, or X, Y, R, SHAPE; found "
            f"{', '.join(columns) or 'none'}."
        )
    is_bad = np.ones(len(boxes), np.bool_)
    if boxes.dtype.kind in "iuf":
        is_whole = (boxes == np.floor(boxes)) & (boxes >= -(2**31)) & (boxes < 2**31)
        is_bad = ~is_whole.all(axis=1) | (boxes[:, 2:] < 1).any(axis=1)
    if is_bad.any():
        row = int(np.argmax(is_bad))
        raise FitsFileError(
            f"{name}: row {row + 1} is no box of pixels: x0, y0, width, height = {boxes[row].tolist()}; "
            "correct it."
        )
    return boxes.astype(np.int32)


def _region(
    columns: Mapping[str, npt.NDArray[Any]], row: int, name: str
) -> tuple[float, float, float, float]:
    """Convert a shape of a region table to a box (see `read_defects`)."""
    numbers = {key: np.ravel(columns[key][row]) for key in ("X", "Y", "R", "ROTANG") if key in columns}
    shape = str(np.ravel(columns["SHAPE"][row])[0]).strip().upper()
    angle = float(numbers["ROTANG"][0]) if shape == "ROTBOX" and "ROTANG" in numbers else 0.0
    size = numbers["R"][:2].tolist() if shape != "POINT" else [1, 1]
    if shape not in ("POINT", "BOX", "ROTBOX") or angle % 90.0 or len(size) < 2:
        raise FitsFileError(
            f"{name}: row {row + 1}: shape {shape} with R = {size}, angle {angle}: expected POINT, BOX with "
            "width and height, or ROTBOX turned by a multiple of 90 degrees; replace it by boxes."
        )
    x, y = float(numbers["X"][0]), float(numbers["Y"][0])
    width, height = size if angle % 180.0 == 0.0 else size[::-1]
    return np.floor(x - width / 2), np.floor(y - height / 2), width, height
