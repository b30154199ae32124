"""Header cards for tests, and the real ones beside the checkout."""

from __future__ import annotations

import csv
from pathlib import Path

ESSENTIAL: dict[str, object] = {
    "EXP-ID": "HSCA90333400",
    "FRAMEID": "HSCA90333427",
    "DET-ID": 22,
    "DATA-TYP": "OBJECT",
    "OBJECT": "STRIPE82L",
    "FILTER01": "HSC-r",
    "EXPTIME": 30.0,
    "DATE-OBS": "2013-06-17",
    "UT-STR": "13:28:36.039",
    "UT-END": "13:29:08.495",
    "MJD": 56460.56,
}
"""What a header must have, and what belongs to it: visit 903334, detector 22."""

POINTING: dict[str, object] = {
    "RA2000": "21:22:59.982",
    "DEC2000": "-00:30:00.07",
    "INST-PA": "10.000",
    "AZIMUTH": 226.5,
    "ALTITUDE": 63.25,
    "AIRMASS": 1.125,
    "FOC-VAL": 3.75,
    "OUT-TMP": 273.15,
    "OUT-PRS": 621.5,
    "OUT-HUM": 33.0,
    "PROP-ID": "o13015",
}


def essential(**changes: object) -> dict[str, object]:
    """The essential cards; underscores in names stand for dashes, `None` takes a card away."""
    cards = ESSENTIAL | {key.replace("_", "-"): value for key, value in changes.items()}
    return {key: value for key, value in cards.items() if value is not None}


def real_header(shared: Path, name: str) -> dict[str, object]:
    """A real raw header, ``HSCA90402512_det050`` (2013) or ``HSCA04090107_det037`` (2015)."""
    with (shared / "hsc_facts" / "raw_headers" / f"{name}.ecsv").open(encoding="utf-8") as stream:
        _, *rows = csv.reader((line for line in stream if not line.startswith("#")), delimiter=" ")
    convert = {"Bool": lambda text: text == "True", "Int": int, "Double": float, "String": str}
    return {key: convert[kind](value) for key, kind, value, _ in rows}
