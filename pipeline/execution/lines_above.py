"""Lines that other code writes to the terminal appear above a live view."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import IO, Any, cast

from rich.console import Console
from rich.text import Text

__all__ = ["lines_above", "print_above"]


def print_above(console: Console, line: str) -> None:
    """Print a line as it is; the terminal breaks it if it is long, so that it can be copied whole."""
    console.print(Text(line), soft_wrap=True)


@contextmanager
def lines_above(console: Console) -> Iterator[None]:
    """Print on a console, line by line, what is written to its terminal in other ways.

    That is stdout and stderr, and handlers of loggers, which keep the stream
    that they were given. Other processes on the same terminal are not caught.

    Parameters
    ----------
    console : `rich.console.Console`
        Has the live view.
    """
    file = console.file
    with ExitStack() as stack:
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            if _is_same(stream, file):
                lines = _Lines(console, stream)
                stack.callback(lines.close_view)
                stack.callback(setattr, sys, name, stream)
                setattr(sys, name, lines)
        for handler in _stream_handlers():
            stream = handler.stream
            if _is_same(stream, file):
                lines = _Lines(console, stream)
                stack.callback(lines.close_view)
                stack.callback(handler.setStream, stream)
                handler.setStream(lines)
        yield


def _stream_handlers() -> list[logging.StreamHandler[Any]]:
    loggers = [logging.root, *logging.root.manager.loggerDict.values()]
    handlers = [handler for logger in loggers for handler in getattr(logger, "handlers", ())]
    return [handler for handler in handlers if isinstance(handler, logging.StreamHandler)]


def _is_same(stream: Any, file: IO[str]) -> bool:
    """Tell whether two streams are one, or lead to one terminal."""
    name = _terminal(file)
    return stream is file or (name is not None and _terminal(stream) == name)


def _terminal(stream: Any) -> str | None:
    try:
        return os.ttyname(stream.fileno())
    except (AttributeError, OSError, ValueError):  # no file behind it, closed, or no terminal
        return None


class _Lines:
    """Stands for a stream; hands whole lines to the console."""

    def __init__(self, console: Console, stream: IO[str]) -> None:
        self._console = console
        self._stream = stream
        self._is_live = True
        self._begun = ""
        self._lock = threading.Lock()

    def write(self, text: str) -> int:
        """Print the lines that are complete; keep the rest."""
        if not self._is_live:  # somebody kept this object
            return self._stream.write(text)
        with self._lock:
            *lines, self._begun = (self._begun + text).split("\n")
        if lines:
            print_above(self._console, "\n".join(lines))
        return len(text)

    def flush(self) -> None:
        """Flush the stream; a line that is not complete waits for its end."""
        self._stream.flush()

    def close_view(self) -> None:
        """Write to the stream itself from now on."""
        self._is_live = False
        self._stream.write(self._begun)

    @property
    def rich_proxied_file(self) -> IO[str]:
        """The stream, for rich's own consoles on ``sys.stderr``."""
        return self._stream

    def __getattr__(self, name: str) -> Any:
        return getattr(cast(Any, self._stream), name)
