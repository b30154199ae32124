"""Crosstalk coefficients as FITS and ECSV tables (lsst/ip_isr, crosstalk.py)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from isr.calibs import CalibInfo, Crosstalk
from isr.errors import CalibMismatchError, FitsFileError
from isr.fits.calib_info import known_cards, text_card
from isr.fits.hdus import encode_primary
from isr.fits.tables import encode_table, read_tables, table_cards

__all__ = ["encode_crosstalk", "read_crosstalk"]

VERSION = 1.2


def read_crosstalk(source: str | Path | bytes, *, entry: CalibInfo | None = None) -> Crosstalk:
    """Read crosstalk coefficients.

    Parameters
    ----------
    source : `str`, `pathlib.Path` or `bytes`
        Path, URI or content of a FITS file with a table of one row in HDU 1
        (CT_COEFFS, row by row; CT_VALID if there), or of such an ECSV table.
    entry : `isr.calibs.CalibInfo`, optional
        What an index says of the file, see `isr.fits.calib.read_calib_image`.

    Returns
    -------
    crosstalk : `isr.calibs.Crosstalk`
        Coefficients by source and target; those that are not valid are 0.
        Quadratic coefficients are not read: the correction is linear.

    Raises
    ------
    FitsFileError
        If it is no such table.
    CalibMismatchError
        If it says that there is no crosstalk, or has crosstalk of other
        detectors, or is of another kind.
    HeaderError, ObjectError
        See `isr.fits.calib.read_calib_image`.
    """
    tables = read_tables(source, "crosstalk", entry)
    if not tables.header.get("HAS_CROSSTALK", False):
        raise CalibMismatchError(
            f"{tables.name}: HAS_CROSSTALK is not T: it holds no coefficients; give another file or none."
        )
    if len(tables.columns) > 1:
        (others,) = tables.require(1, "IC_SOURCE_DET")
        if len(others):
            raise CalibMismatchError(
                f"{tables.name}, table 2: crosstalk from other detectors ("
                f"{', '.join(str(name).strip() for name in others)}) cannot be corrected; remove the table."
            )
    coeffs = tables.numbers(0, "CT_COEFFS").ravel()
    n = tables.header.get("NAMP")
    if type(n) is not int or n < 1 or n * n != len(coeffs):
        raise FitsFileError(
            f"{tables.name}: {len(coeffs)} coefficients with NAMP = {n!r}, expected NAMP x NAMP; "
            "make the file again."
        )
    if "CT_VALID" in tables.columns[0]:
        valid = tables.numbers(0, "CT_VALID").ravel()
        if len(valid) != len(coeffs):
            raise FitsFileError(
                f"{tables.name}: {len(valid)} values of CT_VALID for {len(coeffs)} coefficients; make the "
                "file again."
            )
        coeffs[valid == 0.0] = 0.0
    unit = text_card(tables.header, "CROSSTALK_RATIOS_UNITS") or "adu"
    return Crosstalk(replace(tables.info, unit=unit.lower()), coeffs.reshape(n, n))


def encode_crosstalk(crosstalk: Crosstalk) -> bytes:
    """Encode coefficients as the FITS table that LSST's ``CrosstalkCalib`` reads.

    Coefficients that are exact in float32 are stored so, as LSST has them from
    its cameras. The same coefficients give the same bytes.
    """
    coeffs = crosstalk.coeffs.reshape(1, -1).astype(np.float64)
    single = coeffs.astype(np.float32)
    zeros, n = np.zeros(coeffs.shape), len(crosstalk.coeffs)
    columns = {
        "CT_COEFFS": single if np.array_equal(single, coeffs, equal_nan=True) else coeffs,
        "CT_ERRORS": zeros,
        "CT_COUNTS": zeros.astype(np.int64),
        "CT_VALID": np.ones(coeffs.shape, np.bool_),
        "CT_COEFFS_SQR": zeros,
        "CT_ERRORS_SQR": zeros,
        "CT_AMP_GAIN_RATIOS": zeros,
        "CT_FIT_GAINS": np.zeros((1, n)),
    }
    info = crosstalk.info
    cards = [
        *table_cards(info, "CROSSTALK", VERSION, "Gen3 Crosstalk", "crosstalk.CrosstalkCalib"),
        *known_cards([("DETECTOR_NAME", info.detector_name, "")]),
        *[("HAS_CROSSTALK", True, ""), ("NAMP", n, ""), ("CROSSTALK_SHAPE", n, "")],
        ("CROSSTALK_RATIOS_UNITS", info.unit or "adu", ""),
    ]
    return b"".join([*encode_primary([]), *encode_table(columns, cards)])
