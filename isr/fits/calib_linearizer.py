"""Linearizers as FITS and ECSV tables (lsst/ip_isr, linearize.py)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from isr.calibs import CalibInfo, Linearizer
from isr.camera import Box
from isr.errors import CalibMismatchError, FitsFileError
from isr.fits.calib_info import text_card
from isr.fits.hdus import encode_primary
from isr.fits.tables import encode_table, read_tables, table_cards

__all__ = ["encode_linearizer", "read_linearizer"]

VERSION = 1.8
_BOX = ("BBOX_X0", "BBOX_Y0", "BBOX_DX", "BBOX_DY")


def read_linearizer(source: str | Path | bytes, *, entry: CalibInfo | None = None) -> Linearizer:
    """Read a linearizer.

    Parameters
    ----------
    source : `str`, `pathlib.Path` or `bytes`
        Path, URI or content of a FITS file with the table of the amplifiers
        (AMPLIFIER_NAME, TYPE, COEFFS; BBOX_* if there) in HDU 1 and, for
        lookup tables, LOOKUP_VALUES in HDU 2; or of an ECSV table without
        lookup tables.
    entry : `isr.calibs.CalibInfo`, optional
        What an index says of the file, see `isr.fits.calib.read_calib_image`.

    Returns
    -------
    linearizer : `isr.calibs.Linearizer`
        Models, coefficients and table; without amplifiers if the file says
        HAS_LINEARITY = F (the camera's linearity is used then, as in LSST).

    Raises
    ------
    FitsFileError
        If it is no such table, or the lookup table is missing.
    CalibMismatchError, HeaderError, ObjectError
        See `isr.fits.calib.read_calib_image`.
    """
    tables = read_tables(source, "linearizer", entry)
    unit = text_card(tables.header, "LINEARITY_UNITS") or "adu"
    info = replace(tables.info, unit=unit.lower())
    if not tables.header.get("HAS_LINEARITY", False):
        return Linearizer(info, {}, {})
    names, types = ([str(v).strip() for v in c] for c in tables.require(0, "AMPLIFIER_NAME", "TYPE"))
    coeffs = tables.numbers(0, "COEFFS").reshape(len(names), -1)
    if len(set(names)) < len(names):
        raise FitsFileError(f"{tables.name}: amplifiers {names}, expected each once; make the file again.")
    boxes = {}
    if set(_BOX) <= tables.columns[0].keys():
        corners = np.stack(tables.require(0, *_BOX), axis=-1).tolist()
        boxes = {name: Box(*map(int, box)) for name, box in zip(names, corners, strict=True)}
    table: npt.NDArray[np.float32] | None = None
    if tables.header.get("HAS_TABLE", False) or len(tables.columns) > 1:
        table = np.atleast_2d(tables.numbers(1, "LOOKUP_VALUES")).astype(np.float32)
    return Linearizer(
        info,
        types=dict(zip(names, types, strict=True)),
        coeffs={name: row.copy() for name, row in zip(names, coeffs, strict=True)},
        table=table,
        boxes=boxes,
    )


def encode_linearizer(linearizer: Linearizer) -> bytes:
    """Encode a linearizer as the FITS tables that LSST's ``Linearizer`` reads.

    The columns of the fit, of which nothing is known here, hold what a
    linearizer that was not fitted has in LSST. The same linearizer gives the
    same bytes.

    Raises
    ------
    CalibMismatchError
        If amplifiers differ in the number of coefficients: the format has one
        length for all.
    """
    names = list(linearizer.types)
    lengths = {name: len(linearizer.coeffs[name]) for name in names}
    if len(set(lengths.values())) > 1 or not all(lengths.values()):
        raise CalibMismatchError(
            f"linearizer {linearizer.info.name}: numbers of coefficients {lengths}, but the format has one "
            "length, at least 1, for all amplifiers; pad those of the models that allow it with zeros."
        )
    n = len(names)
    nan, zero = np.full(n, np.nan), np.zeros((n, 1))
    boxes = np.array([linearizer.boxes.get(name, Box(0, 0, 0, 0)) for name in names], np.int64).reshape(n, 4)
    columns = {
        "AMPLIFIER_NAME": np.array(names, np.str_),
        "INPUT_GAIN": nan,
        "INPUT_TURNOFF": nan,
        "TYPE": np.array([linearizer.types[name] for name in names], np.str_),
        "COEFFS": np.array([linearizer.coeffs[name] for name in names], np.float64).reshape(
            n, -1 if n else 1
        ),
        **{column: boxes[:, i] for i, column in enumerate(_BOX)},
        "INP_ABSCISSA": zero,
        "INP_ORDINATE": zero,
        "INP_MASK": np.ones((n, 1), np.bool_),
        "INP_GROUPING_INDEX": np.full((n, 1), -1, np.int64),
        "INP_NORMALIZATION": zero,
        "FIT_PARAMS": zero,
        "FIT_PARAMS_ERR": zero,
        "RED_CHI_SQ": nan,
        "FIT_RES": zero,
        "FIT_RES_SIGMAD": nan,
        "FIT_RES_UNMASKED": zero,
        "FIT_RES_MODEL": zero,
        "LIN_FIT": np.tile([0.0, 1.0], (n, 1)),
        "LINEARITY_TURNOFF": nan,
        "LINEARITY_MAX_SIGNAL": nan,
        "ABS_REF_AMP": np.full(n, "", "U1"),
    }
    cards = [
        *table_cards(linearizer.info, "LINEARIZER", VERSION, "Gen3 Linearizer", "linearize.Linearizer"),
        *[("HAS_LINEARITY", n > 0, ""), ("OVERRIDE", False, "")],
        ("HAS_TABLE", linearizer.table is not None, ""),
        ("LINEARITY_UNITS", linearizer.info.unit or "adu", ""),
    ]
    parts = [*encode_primary([]), *encode_table(columns, cards)]
    if linearizer.table is not None:
        parts += encode_table({"LOOKUP_VALUES": linearizer.table}, [])
    return b"".join(parts)
