"""Cards of a FITS header: keywords and values.

The cards that nearly all headers consist of are read here. A header with
another one is left to astropy, whose import alone takes 0.3 s; both give the
same values.
"""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Iterator
from typing import Any

from isr.fits.cards import COMMENTARY

__all__ = ["parse_cards"]

_log = logging.getLogger(__name__)

_KEY = re.compile(r"[A-Z0-9_-]{1,8}")
_VALUE = re.compile(
    r" *(?:'(?P<text>(?:[^']|'')*)'(?=[ /]|$)|(?P<flag>[TF])(?=[ /]|$)"
    r"|(?P<number>[+-]?(?:\.\d+|\d+(?:\.\d*)?)(?:[DE][+-]?\d+)?)(?=[ /]|$)|(?=/|$)) *(?:/.*)?"
)
# A closing apostrophe where the string may also go on; record-valued keywords (FITS paper on distortions).
_AMBIGUOUS = re.compile(r"''[ /]|''$|^[A-Za-z_][\w.]*: ")


_ALLOWED = bytes(byte if ord(" ") <= byte <= ord("~") else ord("?") for byte in range(256))


def parse_cards(block: bytes, where: str = "") -> list[tuple[str, Any]]:
    """Return keywords and values of the cards of a header, in order.

    Parameters
    ----------
    block : `bytes`
        The header: whole cards, the last one END, padding. Bytes that FITS
        does not allow count as question marks.
    where : `str`
        File and HDU; if given, cards that cannot be read are logged.

    Returns
    -------
    cards : `list` [`tuple` [`str`, `object`]]
        Keyword and value (`None`: no value), without END and cards without
        keyword. Long strings are put together. The value of COMMENT and
        HISTORY is their text. Cards that cannot be read are left out.
    """
    text = block.translate(_ALLOWED).decode("ascii")
    cards = _parse(text)
    return list(_parse_with_astropy(text, where)) if cards is None else cards


def _parse(text: str) -> list[tuple[str, Any]] | None:
    """Parse a header; `None` if it has a card that is not one of the usual ones."""
    cards: list[tuple[str, Any]] = []
    pieces: list[str] | None = None  # of the string of the last card
    for start in range(0, len(text), 80):
        card = text[start : start + 80]
        key, value = card[:8].rstrip(), card[10:]
        if key == "END":
            return cards if not card[8:].strip() else None
        if key in ("", *COMMENTARY):
            if key:
                cards.append((key, card[8:].rstrip()))
            pieces = None
            continue
        if card.startswith("HIERARCH "):
            key, equals, value = card[9:].partition("=")
            key = key.strip() if equals else ""
        elif card[8:10] != ("  " if key == "CONTINUE" else "= ") or not _KEY.fullmatch(key):
            return None
        match = _VALUE.fullmatch(value)
        if match is None or not key or _is_ambiguous(match):
            return None
        if key == "CONTINUE":
            if pieces is None or match["text"] is None:
                return None
            pieces.append(match["text"])
            cards[-1] = (cards[-1][0], _join(pieces))
            continue
        pieces = None if match["text"] is None else [match["text"]]
        cards.append((key, _value(match)))
    return None


def _is_ambiguous(match: re.Match[str]) -> bool:
    """Tell whether readers understand a string in different ways."""
    text = match["text"]
    return text is not None and (
        _AMBIGUOUS.search(text) is not None or (not text and match[0].count("'") > 2)
    )


def _value(match: re.Match[str]) -> str | bool | int | float | None:
    if match["text"] is not None:
        return match["text"].replace("''", "'").rstrip()
    if match["flag"]:
        return match["flag"] == "T"
    number = match["number"]
    if number is None:
        return None
    digits = number.lstrip("+-")
    return int(number) if digits.isdecimal() else float(number.replace("D", "E"))


def _join(pieces: list[str]) -> str:
    """Put a string together; an ampersand at the end of a piece says that it goes on."""
    return "".join(piece.rstrip().removesuffix("&") for piece in pieces).replace("''", "'").rstrip()


def _parse_with_astropy(text: str, where: str) -> Iterator[tuple[str, Any]]:
    from astropy.io import fits

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about non-standard cards; unreadable ones are logged below
        cards = fits.Header.fromstring(text).cards
        for card in cards:
            try:
                key, value = card.keyword, card.value
            except (fits.VerifyError, ValueError) as error:
                if where:
                    _log.warning("%s: unreadable header card left out: %r (%s)", where, str(card)[:80], error)
                continue
            if key not in ("", "END"):
                yield key, None if isinstance(value, fits.card.Undefined) else value
