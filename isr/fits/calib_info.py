"""What a calibration file says of itself: kind, detector, filter, validity, provenance."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from isr.calibs import CalibInfo
from isr.errors import CalibMismatchError, CameraError, HeaderError
from isr.fits.archive import Archive
from isr.fits.cards import Card
from isr.fits.exposure_parts import labels_from
from isr.fits.hdus import FitsFile

__all__ = ["UNIT_KEY", "info_cards", "known_cards", "own_keys", "read_info", "source_name", "text_card"]

UNIT_KEY = "LSST ISR UNITS"
"""Keyword of the unit of the pixels."""

_IMAGE_KINDS = ("bias", "dark", "flat", "fringe")
_FILTER_KINDS = ("flat", "fringe")
_KIND_OF = {
    **{kind: kind for kind in ("bias", "dark", "flat", "fringe", "defects", "linearizer", "crosstalk")},
    "bfk": "brighterFatterKernel",
}
"""Kind by OBSTYPE, in lower case."""
_RUN, _UUID = "LSST BUTLER RUN", "LSST BUTLER ID"
_OWN_KEYS = frozenset(
    (
        "OBSTYPE",
        "DETECTOR",
        "CALIBDATE",
        "VALID_FROM",
        "VALID_UNTIL",
        "BUNIT",
        "DARKTIME",
        UNIT_KEY,
        _RUN,
        _UUID,
    )
)


def source_name(source: str | Path | bytes, entry: CalibInfo | None) -> str:
    """Return the path or URI of a source; for content, the name that an index gives it."""
    if isinstance(source, bytes):
        return entry.name if entry else ""
    return str(source)


def own_keys(kind: str) -> frozenset[str]:
    """Return the keywords that belong to `isr.calibs.CalibInfo`, not to the metadata."""
    return _OWN_KEYS | {"FILTER"} if kind in _FILTER_KINDS else _OWN_KEYS


def info_cards(info: CalibInfo) -> list[Card]:
    """Return what is known of a calibration as cards."""
    physical_filter = info.physical_filter if info.kind in _FILTER_KINDS else ""
    return known_cards(
        [
            ("OBSTYPE", info.kind, ""),
            ("DETECTOR", info.detector, ""),
            ("DET_NAME", info.detector_name, ""),
            ("FILTER", physical_filter, "physical filter"),
            ("CALIBDATE", info.date, ""),
            ("VALID_FROM", info.valid_from, "UTC"),
            ("VALID_UNTIL", info.valid_until, "UTC, exclusive"),
            (_RUN, info.run, ""),
            (_UUID, info.uuid, ""),
        ]
    )


def known_cards(cards: list[Card]) -> list[Card]:
    """Leave out the cards without a value."""
    return [card for card in cards if card[1] not in (None, "")]


def read_info(
    name: str,
    sha256: str,
    kind: str,
    header: Mapping[str, Any],
    entry: CalibInfo | None,
    file: FitsFile | None = None,
) -> CalibInfo:
    """Collect what a file says of itself, completed by what an index says of it."""
    label = name or kind
    found = str(header.get("OBSTYPE") or "").strip().lower()
    if _KIND_OF.get(found, kind) != kind:
        raise CalibMismatchError(
            f"{label}: header card OBSTYPE says {found}, but it is used as {kind}; give the right file."
        )
    entry = entry or CalibInfo(kind)
    calib_id = dict(re.findall(r"(\w+)=(\S+)", str(header.get("CALIB_ID") or "")))
    detector = _detector_id(header, calib_id, label)
    physical_filter = ""
    if kind in _FILTER_KINDS:
        label = labels_from(Archive.of(file) if file else Archive(name, {}), header)[1]
        physical_filter = (
            label
            or text_card(header, "LSST BUTLER DATAID PHYSICAL_FILTER")
            or calib_id.get("filter", "")
            or entry.physical_filter
        )
    return CalibInfo(
        kind=kind,
        name=name,
        sha256=sha256,
        detector=entry.detector if detector is None else detector,
        physical_filter=physical_filter,
        unit=(text_card(header, UNIT_KEY) or text_card(header, "BUNIT")).lower(),
        valid_from=entry.valid_from or text_card(header, "VALID_FROM"),
        valid_until=entry.valid_until or text_card(header, "VALID_UNTIL"),
        date=_date(header) or calib_id.get("calibDate", ""),
        run=text_card(header, _RUN),
        uuid=text_card(header, _UUID),
        detector_name=text_card(header, "DET_NAME") if kind not in _IMAGE_KINDS else "",
    )


def _detector_id(header: Mapping[str, Any], calib_id: Mapping[str, str], name: str) -> int | None:
    """Find the id of the detector that a calibration is of.

    DETECTOR is what ip_isr and this package write, the Butler's card what
    obs_base adds, DETNAME what afw writes; DET-ID comes from a raw frame and
    differs from the id in some early exposures (spec section 1.5), hence late.
    """
    for key in ("DETECTOR", "LSST BUTLER DATAID DETECTOR"):
        value = header.get(key)
        if value is not None:
            if type(value) is not int:
                raise HeaderError(f"{name}: header card {key} = {value!r}, expected the id of a detector.")
            return value
    instrument = text_card(header, "INSTRUMENT") or text_card(header, "INSTRUME") or "HSC"
    if text_card(header, "DETNAME") and instrument in ("HSC", "Hyper Suprime-Cam"):
        from isr.hsc import detector

        with suppress(CameraError):  # of another instrument that does not say so
            return detector(text_card(header, "DETNAME")).id
    if type(header.get("DET-ID")) is int:
        return int(header["DET-ID"])
    number = calib_id.get("detector") or calib_id.get("ccd") or ""
    return int(number) if number.isdecimal() else None


def _date(header: Mapping[str, Any]) -> str:
    """Return the date of a calibration: ip_isr's card, or those of cp_pipe and pipe_drivers."""
    created = f"{text_card(header, 'CALIB_CREATION_DATE')} {text_card(header, 'CALIB_CREATION_TIME')}"
    return text_card(header, "CALIBDATE") or created.strip()


def text_card(header: Mapping[str, Any], key: str) -> str:
    """Return the value of a card as text, ``""`` if there is none."""
    value = header.get(key)
    return "" if value is None else str(value).strip()
