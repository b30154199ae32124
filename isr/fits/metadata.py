"""Which header cards are metadata, and which describe the file, the WCS or the exposure."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Set
from dataclasses import fields
from typing import Any

from isr.errors import HeaderError
from isr.exposure import VisitInfo
from isr.fits.cards import COMMENTARY, Card
from isr.fits.header import parse_cards

__all__ = [
    "VISIT_INFO_KEYS",
    "filter_labels",
    "is_structural",
    "is_wcs",
    "plain_metadata",
    "read_header",
    "visit_info_cards",
    "visit_info_from",
]

_STRUCTURAL = re.compile(
    r"SIMPLE|XTENSION|BITPIX|NAXIS\d*|EXTEND|PCOUNT|GCOUNT|GROUPS|BSCALE|BZERO|BLANK|END|CONTINUE"
    r"|EXTNAME|EXTVER|EXTLEVEL|EXTTYPE|INHERIT|LONGSTRN|CHECKSUM|DATASUM|ZHECKSUM|ZDATASUM"
    r"|TFIELDS|THEAP|T(TYPE|FORM|UNIT|NULL|SCAL|ZERO|DIM|DISP)\d+"
    r"|Z(IMAGE|SIMPLE|TENSION|EXTEND|BITPIX|NAXIS\d*|PCOUNT|GCOUNT|TILE\d+|CMPTYPE|NAME\d+|VAL\d+)"
    r"|ZQUANTIZ|ZDITHER0|ZBLANK|ZMASKCMP|UZSCALE|EXPINFO_V|AR_\w+|ARCHIVE_ID_\w+|MP_\w+"
)
_WCS = re.compile(
    r"(WCSAXES|WCSNAME|RADESYS|EQUINOX|LONPOLE|LATPOLE|C(TYPE|UNIT|RPIX|RVAL|DELT|ROTA|RDER|SYER)\d"
    r"|(CD|PC)\d_\d|P[VS]\d_\d+)(?P<alternate>[A-Z]?)|RADECSYS|(CD|PC)\d{6}|(A|B|AP|BP)_(ORDER|DMAX|\d_\d)"
    r"|LTV\d|LTM\d_\d"
)
_NON_FINITE = {"NAN": math.nan, "+INFINITY": math.inf, "-INFINITY": -math.inf}
_DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?")
_BAND = re.compile(r"[ugrizy]2?|N\d+")
_STANDARD_COMMENT = (
    "FITS (Flexible Image Transport System) format is defined in 'Astronomy",
    "and Astrophysics', volume 376, page 359; bibcode: 2001A&A...376..359H",
)

# Field of VisitInfo -> keyword and comment. afw's names; afw has none for the last six, which it
# keeps as ordinary metadata: DATE-BEG and DATE-END are FITS's, OBSID and FILTBAND LSST's raw files'.
_VISIT_INFO: Mapping[str, tuple[str, str]] = {
    "exposure_time": ("EXPTIME", "[s] exposure time"),
    "dark_time": ("DARKTIME", "[s] dark time"),
    "date_avg": ("DATE-AVG", "TAI date at middle of exposure"),
    "mjd_avg_ut1": ("MJD-AVG-UT1", "[d] UT1 at middle of exposure"),
    "era": ("AVG-ERA", "[deg] Earth rotation angle"),
    "boresight_ra": ("BORE-RA", "[deg] boresight, ICRS"),
    "boresight_dec": ("BORE-DEC", "[deg] boresight, ICRS"),
    "boresight_az": ("BORE-AZ", "[deg] boresight azimuth"),
    "boresight_alt": ("BORE-ALT", "[deg] boresight altitude"),
    "airmass": ("BORE-AIRMASS", "boresight airmass"),
    "rotation_angle": ("BORE-ROTANG", "[deg] boresight rotation angle"),
    "rotation_type": ("ROTTYPE", "type of rotation angle"),
    "longitude": ("OBS-LONG", "[deg] observatory, east positive"),
    "latitude": ("OBS-LAT", "[deg] observatory"),
    "elevation": ("OBS-ELEV", "[m] observatory"),
    "air_temperature": ("AIRTEMP", "[Celsius] air temperature"),
    "air_pressure": ("AIRPRESS", "[Pa] air pressure"),
    "humidity": ("HUMIDITY", "[%] relative humidity"),
    "instrument": ("INSTRUMENT", ""),
    "visit": ("IDNUM", "visit"),
    "focus_z": ("FOCUSZ", "[mm] focus position"),
    "observation_type": ("OBSTYPE", ""),
    "science_program": ("PROGRAM", ""),
    "observation_reason": ("REASON", ""),
    "object": ("OBJECT", ""),
    "has_simulated_content": ("HAS-SIMULATED-CONTENT", ""),
    "physical_filter": ("FILTER", "physical filter"),
    "band": ("FILTBAND", "band"),
    "obs_id": ("OBSID", "observation id"),
    "date_begin": ("DATE-BEG", "TAI date at begin of exposure"),
    "date_end": ("DATE-END", "TAI date at end of exposure"),
}
VISIT_INFO_KEYS = frozenset(key for key, _ in _VISIT_INFO.values())
"""Keywords that belong to `isr.exposure.VisitInfo`."""

_DATES = ("date_begin", "date_avg", "date_end")
_ROTATION_TYPES = ("UNKNOWN", "SKY", "HORIZON", "MOUNT")


def is_structural(key: str) -> bool:
    """Tell whether a keyword describes the file or the array, not the exposure."""
    return _STRUCTURAL.fullmatch(key) is not None


def is_wcs(key: str, *, primary_only: bool = False) -> bool:
    """Tell whether a keyword belongs to a WCS.

    With ``primary_only``, alternate descriptions (a letter at the end of the
    keyword) and the IRAF keywords LTVn and LTMn_n do not count.
    """
    match = _WCS.fullmatch(key)
    return match is not None and not (primary_only and (match["alternate"] or key.startswith("LT")))


def read_header(block: bytes) -> dict[str, Any]:
    """Return all cards of a header as plain values, in order.

    The strings of afw for NaN and infinities become floats, cards without a
    value `None`; COMMENT and HISTORY become text, or a list of texts if there
    are several. Of cards with the same key the last wins.
    """
    cards: dict[str, Any] = {}
    texts: dict[str, list[str]] = {}
    for key, value in parse_cards(block):  # isr.fits.scan has logged what cannot be read
        if key in COMMENTARY:
            texts.setdefault(key, []).append(str(value))
        else:
            cards[key] = _plain(value)
    if "COMMENT" in texts:
        texts["COMMENT"] = [text for text in texts["COMMENT"] if text.strip() not in _STANDARD_COMMENT]
    return cards | {key: lines[0] if len(lines) == 1 else lines for key, lines in texts.items() if lines}


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return _NON_FINITE.get(value, value)
    return value if isinstance(value, bool | int | float) else None


def plain_metadata(header: Mapping[str, Any], own_keys: Set[str]) -> dict[str, Any]:
    """Return the cards that are metadata: not of the file, a WCS, an archive, or in ``own_keys``."""
    own_keys = own_keys | {f"{key[11:]}_ID" for key in header if key.startswith("ARCHIVE_ID_")}
    return {
        key: value
        for key, value in header.items()
        if key not in own_keys and not is_structural(key) and not is_wcs(key)
    }


def visit_info_cards(info: VisitInfo) -> list[Card]:
    """Return the cards of a `~isr.exposure.VisitInfo`, as afw reads them.

    Fields that are not known (NaN, ``""``, visit 0) are left out; TIMESYS is
    added where there is a date.

    Raises
    ------
    HeaderError
        If a date is not ISO 8601 without zone, or the rotation type unknown.
    """
    cards: list[Card] = []
    for name, (key, comment) in _VISIT_INFO.items():
        value = getattr(info, name)
        if name in _DATES and value and not _DATE.fullmatch(value):
            raise HeaderError(
                f"{key} = {value!r}: dates of an exposure are TAI in ISO 8601 without zone, such as "
                "2013-06-17T13:29:27.267; readers refuse the whole file otherwise."
            )
        is_unknown = value == "" or value != value or (name == "visit" and value == 0)
        if not is_unknown:
            cards.append((key, value, comment))
    if info.rotation_type not in _ROTATION_TYPES:
        raise HeaderError(f"ROTTYPE = {info.rotation_type!r}: expected one of {', '.join(_ROTATION_TYPES)}.")
    if any(getattr(info, name) for name in _DATES):
        cards.append(("TIMESYS", "TAI", "time scale of the dates"))
    return cards


def visit_info_from(cards: Mapping[str, Any], name: str) -> VisitInfo:
    """Return the `~isr.exposure.VisitInfo` that header cards describe.

    Parameters
    ----------
    cards : `~collections.abc.Mapping` [`str`, `object`]
        Header; absent cards leave a field unknown.
    name : `str`
        File, for error messages.

    Raises
    ------
    HeaderError
        If a value cannot be of the field's type.
    """
    values: dict[str, Any] = {}
    for field in fields(VisitInfo):
        key = _VISIT_INFO[field.name][0]
        value = cards.get(key)
        if value is None:
            continue
        wanted: type = type(field.default)
        try:
            if isinstance(value, bool) != (wanted is bool) or (wanted is int and value != int(value)):
                raise ValueError
            values[field.name] = wanted(value)
        except (ValueError, OverflowError):
            raise HeaderError(
                f"{name}: header card {key} = {value!r}, expected a value of type {wanted.__name__}."
            ) from None
    return VisitInfo(**values)


def filter_labels(label: str) -> tuple[str, str]:
    """Split the value of a FILTER card into band and physical filter.

    ``"HSC-R"`` is a physical filter; ``"r"`` or ``"N921"`` a band; ``"r2"`` and
    ``"i2"`` are the old names of HSC-R2 and HSC-I2, as in afw.
    """
    label = label.strip()
    if label in ("r2", "i2"):
        return label[0], f"HSC-{label.upper()}"
    return (label, "") if _BAND.fullmatch(label) else ("", label)
