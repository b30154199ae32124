"""Configuration given on the command line: ``-c NAME=VALUE`` and ``-C FILE``."""

from __future__ import annotations

import ast
import difflib
import logging
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lsst.pex.config as pexConfig

from isr.config import IsrConfig
from isr.errors import ConfigError
from isr.hsc.config import hsc_config

__all__ = ["build_config"]

log = logging.getLogger(__name__)

LABEL = "isr:"
"""Task label that ``pipetask`` wants in front of names; optional here."""


def build_config(files: Sequence[str] = (), values: Sequence[str] = ()) -> IsrConfig:
    """Return HSC's configuration with a user's overrides.

    Parameters
    ----------
    files : `~collections.abc.Sequence` [`str`]
        Override files in LSST's format (``config.doFlat = False``), in order.
        They are Python and are executed.
    values : `~collections.abc.Sequence` [`str`]
        ``NAME=VALUE`` or ``isr:NAME=VALUE``, applied after the files, in order.
        Values are written as in Python; lists may be written ``A,B`` and
        strings without quotes.

    Returns
    -------
    config : `isr.config.IsrConfig`
        The validated configuration.

    Raises
    ------
    ConfigError
        If a file or a value cannot be applied; the message names it.
    """
    config = hsc_config()
    for name in files:
        _load(config, Path(name.removeprefix(LABEL)))
    for item in values:
        _apply(config, item)
    try:
        config.validate()
    except pexConfig.FieldValidationError as error:
        raise ConfigError(f"Configuration: {_first_line(error)}") from error
    return config


def _load(config: IsrConfig, path: Path) -> None:
    if not path.is_file():
        raise ConfigError(f"-C {path}: no such file.")
    try:
        config.load(path)
    except Exception as error:  # the file is Python: anything may come
        lines = [f for f in traceback.extract_tb(error.__traceback__) if Path(f.filename) == path.absolute()]
        where = f", line {lines[-1].lineno}" if lines else ""
        kind = "" if isinstance(error, ConfigError) else f"{type(error).__name__}: "
        text = f"{kind}{_first_line(error)}"
        named = text.startswith(str(path))
        raise ConfigError(f"-C {text}" if named else f"-C {path}{where}: {text}") from error


def _apply(config: IsrConfig, item: str) -> None:
    name, separator, text = item.removeprefix(LABEL).partition("=")
    name, text = name.strip(), text.strip()
    if not separator or not name:
        raise ConfigError(f"-c {item}: expected NAME=VALUE, for example doFlat=False.")
    target, field = _find(config, name, item)
    if isinstance(field, pexConfig.ConfigField):
        names = ", ".join(f"{name}.{sub}" for sub in list(field.dtype._fields)[:3])
        raise ConfigError(f"-c {item}: {name} is a group of fields; set one of them ({names} ...).")
    try:
        setattr(target, field.name, _parse(field, text))
    except (pexConfig.FieldValidationError, TypeError, ValueError) as error:
        raise ConfigError(f"-c {item}: {_first_line(error)} (expected {_expected(field)}).") from error


def _find(config: Any, name: str, item: str) -> tuple[Any, Any]:
    """Return the configuration that holds a field, and the field."""
    *parents, last = name.split(".")
    for parent in parents:
        known = getattr(config, "_fields", {})
        config = getattr(config, parent) if parent in known else None
    fields = getattr(config, "_fields", {})
    if last not in fields:
        close = difflib.get_close_matches(last, fields, n=1)
        hint = f" Did you mean {'.'.join([*parents, *close])}?" if close else ""
        raise ConfigError(f"-c {item}: there is no configuration field {name!r}.{hint}")
    return config, fields[last]


def _parse(field: Any, text: str) -> Any:
    """Return the value that a text stands for in a field.

    Raises
    ------
    ValueError
        If it stands for none.
    """
    if text == "None" and field.optional:
        return None
    if isinstance(field, pexConfig.ListField):
        if text[:1] in ("[", "("):
            return list(_literal(text))
        return [_scalar(field.itemtype, part.strip()) for part in text.split(",")] if text else []
    if isinstance(field, pexConfig.DictField):
        value = _literal(text)
        if not isinstance(value, dict):
            raise ValueError(f"{text!r} is not a dictionary")
        return value
    return _scalar(field.dtype, text)


def _scalar(dtype: type, text: str) -> Any:
    if dtype is bool:
        if text not in ("True", "False"):
            raise ValueError(f"{text!r} is neither True nor False")
        return text == "True"
    if dtype is str:
        quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "'\""
        return str(_literal(text)) if quoted else text
    return dtype(text)


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError) as error:
        raise ValueError(f"{text!r} is not a Python value") from error


def _expected(field: Any) -> str:
    """Describe the values of a field, for an error."""
    if isinstance(field, pexConfig.ListField):
        return f"a list of {field.itemtype.__name__}, as A,B or [A, B]"
    if isinstance(field, pexConfig.DictField):
        return f"{{{field.keytype.__name__}: {field.itemtype.__name__}, ...}}"
    if isinstance(field, pexConfig.ChoiceField):
        return " or ".join(str(value) for value in field.allowed if value is not None)
    return f"{field.dtype.__name__}{' or None' if field.optional else ''}"


def _first_line(error: Exception) -> str:
    """The telling line of an error; pex_config's messages have several."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0].rstrip(".") if lines else type(error).__name__
