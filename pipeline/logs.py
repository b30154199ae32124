"""Logging of the commands: one line per record, ISO times with zone, who it is about."""

from __future__ import annotations

import contextvars
import json
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import click

__all__ = ["LineFormatter", "about", "log_options", "set_up_logging"]

OURS = ("isr", "pipeline")
_label: contextvars.ContextVar[str] = contextvars.ContextVar("label", default="")


@contextmanager
def about(label: str) -> Iterator[None]:
    """Put ``label`` (visit and detector) into every record logged inside."""
    token = _label.set(label)
    try:
        yield
    finally:
        _label.reset(token)


class LineFormatter(logging.Formatter):
    """``time LEVEL [logger] (label): message``."""

    def __init__(self, long: bool) -> None:
        super().__init__()
        self._long = long

    def format(self, record: logging.LogRecord) -> str:
        """Return the text of a record."""
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        name = f" {record.name}" if self._long else ""
        label = f" ({_label.get()})" if _label.get() else ""
        text = f"{time} {record.levelname}{name}{label}: {record.getMessage()}"
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        return text


class _Json(logging.Formatter):
    """One JSON object per line."""

    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "name": record.name,
            "label": _label.get(),
            "message": record.getMessage(),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry)


def set_up_logging(levels: Sequence[str], long: bool = False, file: str | None = None) -> None:
    """Send log records to stderr and, if wanted, to a file.

    Parameters
    ----------
    levels : `~collections.abc.Sequence` [`str`]
        ``LEVEL`` for our own loggers, or ``COMPONENT=LEVEL``.
    long : `bool`, optional
        Include the names of the loggers.
    file : `str`, optional
        Also write to this file; JSON lines if it ends in ``.json``.

    Raises
    ------
    click.BadParameter
        If a level is unknown or the file cannot be written.
    """
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stderr)]
    handlers[0].setFormatter(LineFormatter(long))
    if file:
        try:
            handlers.append(logging.FileHandler(file))
        except OSError as error:
            raise click.BadParameter(
                f"cannot write {file}: {error.strerror}", param_hint="--log-file"
            ) from None
        handlers[1].setFormatter(_Json() if file.endswith(".json") else LineFormatter(long=True))
    logging.basicConfig(level=logging.WARNING, handlers=handlers, force=True)
    logging.captureWarnings(True)
    for item in ("INFO", *levels):
        component, _, level = item.rpartition("=")
        if level.upper() not in logging.getLevelNamesMapping():
            known = ", ".join(("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"))
            raise click.BadParameter(f"{item!r}: the level must be one of {known}", param_hint="--log-level")
        for name in (component,) if component else OURS:
            logging.getLogger(name).setLevel(level.upper())


def log_options[F: Callable[..., Any] | click.Command](command: F) -> F:
    """Add ``--log-level``, ``--long-log`` and ``--log-file`` to a command."""
    options = (
        click.option(
            "--log-level",
            "log_levels",
            multiple=True,
            metavar="LEVEL|COMPONENT=LEVEL",
            help="DEBUG, INFO, WARNING, ERROR or CRITICAL; DEBUG also shows tracebacks. [default: INFO]",
        ),
        click.option("--long-log", is_flag=True, help="Show the names of the loggers."),
        click.option("--log-file", metavar="FILE", help="Also log to FILE; JSON lines if it ends in .json."),
    )
    for option in reversed(options):
        command = option(command)
    return command
