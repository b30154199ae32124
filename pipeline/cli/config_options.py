"""Configuration given on the command line: ``-c NAME=VALUE`` and ``-C FILE``."""

from __future__ import annotations

import ast
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lsst.pex.config import FieldValidationError

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
    values : `~collections.abc.Sequence` [`str`]
        ``NAME=VALUE`` or ``isr:NAME=VALUE``, applied after the files, in order.

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
        path = Path(name.removeprefix(LABEL))
        if not path.is_file():
            raise ConfigError(f"-C {path}: no such file.")
        try:
            config.load(path)
        except Exception as error:  # the file is Python: anything may come
            raise ConfigError(f"-C {path}: {type(error).__name__}: {_first_line(error)}") from error
    for item in values:
        _apply(config, item)
    try:
        config.validate()
    except FieldValidationError as error:
        raise ConfigError(f"Configuration: {_first_line(error)}") from error
    return config


def _apply(config: IsrConfig, item: str) -> None:
    name, separator, text = item.removeprefix(LABEL).partition("=")
    if not separator or not name:
        raise ConfigError(f"-c {item}: expected NAME=VALUE, for example doFlat=False.")
    target: Any = config
    *parents, field = name.strip().split(".")
    for parent in parents:
        target = getattr(target, parent, None)
    if field not in getattr(target, "_fields", ()):
        raise ConfigError(f"-c {item}: there is no configuration field {name!r}.")
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        value = text
    for attempt in (value, text):  # "30" is a number, unless the field is a string
        try:
            setattr(target, field, attempt)
        except (FieldValidationError, TypeError, ValueError) as error:
            problem = error
        else:
            return
    raise ConfigError(f"-c {item}: {_first_line(problem)}") from problem


def _first_line(error: Exception) -> str:
    """The telling line of an error; pex_config's messages have several."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:2]) if lines else type(error).__name__
