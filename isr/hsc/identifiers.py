"""Numbers and names of HSC exposures and files (spec section 1.5)."""

from __future__ import annotations

import re

from isr.errors import HeaderError
from isr.hsc.geometry import detector

__all__ = ["archive_file_name", "exp_id", "exposure_id", "frame_id", "visit_number"]

_LETTERS = 26  # HSCA... to HSCZ..., a million numbers each
_MILLION = 1_000_000
_NEW_EXP_ID = re.compile(r"HSCE(\d{8})")
_OLD_EXP_ID = re.compile(r"HSC([A-Z])(\d{6})00")
_FRAME_ID = re.compile(r"HSC([A-Z])(\d{6})\d\d")


def exposure_id(visit: int, detector_id: int) -> int:
    """Return the unique number of a visit and detector: ``visit * 200 + detector``."""
    return visit * 200 + detector_id


def exp_id(visit: int) -> str:
    """Return EXP-ID of a visit in its older form, e.g. ``"HSCA90333400"`` for 903334.

    Raises
    ------
    HeaderError
        If there is no such visit.
    """
    return _frame_number(visit, 0)


def frame_id(visit: int, detector_key: int | str) -> str:
    """Return FRAMEID of a visit and detector, e.g. ``"HSCA90333427"`` for 903334 and 22.

    Parameters
    ----------
    visit : `int`
        Visit; HSC's are even.
    detector_key : `int` or `str`
        Id, name or serial of the detector.

    Raises
    ------
    HeaderError
        If there is no such visit.
    CameraError
        If there is no such detector.
    """
    board, _, slot = detector(detector_key).name.partition("_")
    return _frame_number(visit, 100 * int(board) + int(slot))


def archive_file_name(visit: int, detector_key: int | str) -> str:
    """Return the name of a raw file in the archive: FRAMEID and ``.fits`` (see `frame_id`)."""
    return f"{frame_id(visit, detector_key)}.fits"


def visit_number(exp_id: str, frame_id: str = "") -> int | None:
    """Return the visit that EXP-ID, or else FRAMEID, stands for.

    Parameters
    ----------
    exp_id : `str`
        ``HSCE`` and 8 digits (since June 2016), or ``HSC``, a letter, 6 digits
        and ``00``. If those 6 digits are 0, ``frame_id`` is used.
    frame_id : `str`
        ``HSC``, a letter and 8 digits, the first 6 of which are the visit, or
        one more than the visit.

    Returns
    -------
    visit : `int` or `None`
        `None` if neither can be interpreted.
    """
    if match := _NEW_EXP_ID.fullmatch(exp_id):
        return int(match[1])
    match = _OLD_EXP_ID.fullmatch(exp_id)
    if match and int(match[2]) == 0:
        match = _FRAME_ID.fullmatch(frame_id)
    if not match:
        return None
    number = int(match[2])
    if match.re is _FRAME_ID:
        number -= number % 2
    return number + _MILLION * (ord(match[1]) - ord("A"))


def _frame_number(visit: int, offset: int) -> str:
    if visit % 2 or not 0 < visit < _LETTERS * _MILLION:
        raise HeaderError(
            f"visit {visit}: HSC has no such visit; expected an even number between 0 and "
            f"{_LETTERS * _MILLION}, e.g. 903334."
        )
    letter, number = divmod(visit, _MILLION)
    return f"HSC{chr(ord('A') + letter)}{100 * number + offset:08d}"
