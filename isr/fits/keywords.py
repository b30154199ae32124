"""Values of header keywords, with errors that say what is wrong."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import Any, NoReturn

from isr.errors import HeaderError

__all__ = ["Keywords"]

_log = logging.getLogger(__name__)


class Keywords:
    """Header values of one file.

    Strings that hold numbers count as numbers (old headers have them); a
    keyword without a value, or with a blank one, counts as missing.

    Parameters
    ----------
    header : `~collections.abc.Mapping`
        Keyword to value.
    name : `str`
        Name of the file, for messages.
    """

    def __init__(self, header: Mapping[str, Any], name: str = "") -> None:
        self._header = header
        self.name = name or "raw frame"

    def find(self, key: str) -> str | bool | int | float | None:
        """Return a value, strings stripped; `None` if missing."""
        value = self._header.get(key)
        if isinstance(value, str):
            value = value.strip()
        return value if value != "" and isinstance(value, str | bool | int | float) else None

    def text(self, key: str, expected: str, *, default: str | None = None) -> str:
        """Return a string; numbers are converted.

        Raises
        ------
        HeaderError
            If the keyword is missing and there is no ``default``.
        """
        value = self.find(key)
        if value is None:
            return self.refuse(key, expected) if default is None else default
        return str(value)

    def number(self, key: str, expected: str) -> float:
        """Return a finite number.

        Raises
        ------
        HeaderError
            If the keyword is missing or its value is not a finite number.
        """
        value = _number(self.find(key))
        return value if math.isfinite(value) else self.refuse(key, expected)

    def integer(self, key: str, expected: str) -> int:
        """Return an integer.

        Raises
        ------
        HeaderError
            If the keyword is missing or its value is not an integer.
        """
        value = _number(self.find(key))
        return int(value) if value.is_integer() else self.refuse(key, expected)

    def optional_number(self, key: str) -> float:
        """Return a number, NaN if missing; what is not a number is logged and NaN too."""
        found = self.find(key)
        value = _number(found)
        if math.isnan(value) and found is not None:
            _log.warning(
                "%s: header keyword %s = %r is not a number, taken as unknown", self.name, key, found
            )
        return value

    def refuse(self, key: str, expected: str) -> NoReturn:
        """Raise a `HeaderError` that says what was found and expected."""
        value = self.find(key)
        found = "is missing" if value is None else f"= {value!r}"
        raise HeaderError(f"{self.name}: header keyword {key} {found}; expected {expected}.")


def _number(value: str | bool | int | float | None) -> float:
    """Convert to `float`; NaN if impossible."""
    if value is None or isinstance(value, bool):
        return math.nan
    try:
        return float(value)
    except (ValueError, OverflowError):
        return math.nan
