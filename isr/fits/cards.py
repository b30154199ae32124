"""FITS headers as bytes: cards, long strings, checksums.

Written here rather than with ``astropy.io.fits.Header`` because astropy cuts
long floating-point values (a header would not come back with the values that
were written), puts the time of writing into checksum cards, and takes longer
to import than a detector to reduce.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from isr.errors import HeaderError

__all__ = [
    "Card",
    "Part",
    "encode_checked_header",
    "encode_hdu",
    "encode_header",
    "format_card",
    "ones_complement_sum",
]

Card = tuple[str, Any, str]
"""Keyword, value and comment."""

Part = bytes | memoryview
"""A piece of a file."""

BLOCK = 2880
COMMENTARY = ("COMMENT", "HISTORY")
_NON_FINITE = {"nan": "NAN", "inf": "+INFINITY", "-inf": "-INFINITY"}
_STANDARD_KEY = re.compile(r"[A-Z0-9_-]{1,8}")
_HIERARCH_KEY = re.compile(r"[!-<>-~]+( [!-<>-~]+)*")


def format_card(key: str, value: Any, comment: str = "") -> str:
    """Format one keyword as one or more 80-character cards.

    Parameters
    ----------
    key : `str`
        Keyword; keys of more than 8 characters, with blanks or lower-case
        letters become HIERARCH cards.
    value : `str`, `bool`, `int`, `float` or `None`
        Value (NumPy scalars too). NaN and infinities become the strings
        ``NAN``, ``+INFINITY``, ``-INFINITY``, as afw writes them; `None` is a
        card without a value; strings that do not fit on a card are continued;
        characters that FITS does not have are written as Python escapes. For
        COMMENT and HISTORY: text, or a list of texts.
    comment : `str`
        Comment; cut or left out where there is no room.

    Returns
    -------
    cards : `str`
        A multiple of 80 characters.

    Raises
    ------
    HeaderError
        If FITS cannot hold the key or the value.
    """
    if key in COMMENTARY:
        return "".join(_commentary(key, value))
    if _STANDARD_KEY.fullmatch(key):
        prefix, width = f"{key:8}= ", 20
    elif _HIERARCH_KEY.fullmatch(key):
        prefix, width = f"HIERARCH {key} = ", 0
    else:
        raise HeaderError(
            f"Metadata key {key!r} cannot be written to a FITS header: keys are printable ASCII words "
            "separated by single blanks, without '='; rename it."
        )
    text = _format_value(key, value)
    if len(prefix) + len(text) > 80 and isinstance(value, str):
        return "".join(_continued(key, prefix, text[1:-1]))
    card = prefix + (text.ljust(width) if text.startswith("'") else text.rjust(width))
    if len(card.rstrip()) > 80:
        raise HeaderError(
            f"Metadata key {key!r} is too long for a FITS header with its value {text}; shorten it."
        )
    if comment and len(card) < 74:
        card = f"{card} / {comment}"
    return f"{card[:80]:80}"


def encode_header(cards: Iterable[Card]) -> bytes:
    """Encode cards, END and the padding to whole FITS blocks."""
    text = "".join(format_card(*card) for card in cards) + f"{'END':80}"
    return text.encode("ascii").ljust(-(-len(text) // BLOCK) * BLOCK)


def encode_hdu(cards: Iterable[Card], data: Part = b"") -> list[Part]:
    """Encode a header-data unit with its checksums.

    Parameters
    ----------
    cards : iterable of `Card`
        See `encode_checked_header`.
    data : `bytes` or `memoryview`
        Data, big-endian; padded with zeros.

    Returns
    -------
    parts : `list` [`bytes` or `memoryview`]
        Header, data (as given) and padding, in the order of the file. The same input
        always gives the same bytes.
    """
    header = encode_checked_header(cards, ones_complement_sum(data))
    return [header, data, bytes(-len(data) % BLOCK)]


def encode_checked_header(cards: Iterable[Card], data_sum: int) -> bytes:
    """Encode the header of a header-data unit with its checksums.

    Parameters
    ----------
    cards : iterable of `Card`
        All cards, the mandatory ones first, without DATASUM, CHECKSUM and END.
    data_sum : `int`
        Sum of the data, see `ones_complement_sum`.
    """
    cards = list(cards)
    if any("CONTINUE  '" in format_card(*card)[80:] for card in cards):
        cards.append(("LONGSTRN", "OGIP 1.0", "long strings go on in CONTINUE cards"))
    cards = [*cards, ("DATASUM", str(data_sum), "data unit checksum")]
    zero = encode_header([*cards, ("CHECKSUM", "0" * 16, "HDU checksum")])
    checksum = _encode_checksum(0xFFFFFFFF - ones_complement_sum(zero, data_sum))
    return encode_header([*cards, ("CHECKSUM", checksum, "HDU checksum")])


def ones_complement_sum(data: Part, total: int = 0, *, order: str = ">") -> int:
    """Return the 32-bit ones' complement sum of FITS checksums (FITS standard, section 4.4.2.7).

    Parameters
    ----------
    data : `bytes` or `memoryview`
        Data; zeros are added to make whole words of 4 bytes.
    total : `int`
        Sum to add to, of the bytes before.
    order : `str`
        Byte order of the words, ``">"`` as in files, or ``"="`` for data that
        will be written with their bytes swapped.
    """
    words = len(data) // 4
    total += int(np.frombuffer(data, f"{order}u4", words).sum(dtype=np.uint64)) if words else 0
    total += int.from_bytes(bytes(data[4 * words :]).ljust(4, b"\0"))
    while total >> 32:
        total = (total & 0xFFFFFFFF) + (total >> 32)
    return total


def _encode_checksum(value: int) -> str:
    """Encode 32 bits in 16 letters and digits (FITS standard, appendix J)."""
    letters = [""] * 16
    for i, byte in enumerate(value.to_bytes(4, "big")):
        quotient, remainder = divmod(byte, 4)
        quad = [quotient + remainder + ord("0"), *[quotient + ord("0")] * 3]
        for pair in (0, 2):  # punctuation is avoided by moving both of a pair apart
            while not (chr(quad[pair]).isalnum() and chr(quad[pair + 1]).isalnum()):
                quad[pair] += 1
                quad[pair + 1] -= 1
        for j, code in enumerate(quad):
            letters[4 * j + i] = chr(code)
    return letters[-1] + "".join(letters[:-1])  # rotated: the string starts at the 12th byte of its card


def _format_value(key: str, value: Any) -> str:
    match value:
        case None:
            return ""
        case str():
            return f"'{_escape(value).replace("'", "''"):8}'" if value else "''"
        case bool() | np.bool_():
            return "T" if value else "F"
        case int() | np.integer():
            if not -(2**63) <= value < 2**63:
                raise HeaderError(f"Metadata key {key!r}: {value} does not fit into a 64-bit integer.")
            return str(int(value))
        case float() | np.floating():
            return _format_float(float(value))
    raise HeaderError(
        f"Metadata key {key!r} has a value of type {type(value).__name__} ({value!r:.60}); "
        "FITS headers hold strings, integers, floats, booleans and None."
    )


def _format_float(value: float) -> str:
    if not math.isfinite(value):
        return f"'{_NON_FINITE[str(value)]:8}'"
    mantissa, _, exponent = repr(value).partition("e")
    mantissa = mantissa if "." in mantissa else f"{mantissa}.0"
    return f"{mantissa}E{exponent}" if exponent else mantissa


def _escape(text: str) -> str:
    return "".join(c if " " <= c <= "~" else c.encode("unicode_escape").decode() for c in text)


def _continued(key: str, prefix: str, quoted: str) -> Iterator[str]:
    """Cut a string (its apostrophes doubled already) into a card and CONTINUE cards."""
    if len(prefix) > 70:
        raise HeaderError(f"Metadata key {key!r} is too long for a FITS header with a string; shorten it.")
    ampersand = quoted.endswith("&")  # readers would take it for a sign of continuation
    while len(prefix) + 2 + len(quoted) + ampersand > 80:
        end = 80 - 3 - len(prefix)
        apostrophes = end - len(quoted[:end].rstrip("'"))
        end -= apostrophes % 2  # a doubled apostrophe stays together
        yield f"{prefix}'{quoted[:end]}&'".ljust(80)
        prefix, quoted = f"{'CONTINUE':10}", quoted[end:]
    yield f"{prefix}'{quoted}{'&' * ampersand}'".ljust(80)
    if ampersand:
        yield "CONTINUE  ''".ljust(80)


def _commentary(key: str, value: Any) -> Iterator[str]:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list | tuple) or not all(isinstance(text, str) for text in texts):
        raise HeaderError(f"Metadata key {key!r}: expected text or a list of texts, found {value!r:.60}.")
    for line in (line for text in texts for line in text.splitlines() or [""]):
        escaped = _escape(line)
        for start in range(0, max(len(escaped), 1), 72):
            yield f"{key:8}{escaped[start : start + 72]:72}"


def cards_of(mapping: Mapping[str, Any]) -> list[Card]:
    """Return the entries of a mapping as cards without comments."""
    return [(key, value, "") for key, value in mapping.items()]
