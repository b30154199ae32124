"""A live view on a terminal, below the lines that other code writes there."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import IO, Any, Self, cast

from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

__all__ = ["LiveScreen"]

REFRESH = 0.25
"""Seconds between two drawings."""


class LiveScreen:
    """Draws a view again and again; what is written to the terminal appears above it.

    A context manager. Everything is drawn under one lock: rich alone would
    leave parts of old views behind if a thread writes a line while another
    draws a view of a different height.

    Parameters
    ----------
    console : `rich.console.Console`
        The terminal.
    view : `~collections.abc.Callable`
        Returns what to draw; called by any thread that writes a line.
    """

    def __init__(self, console: Console, view: Callable[[], RenderableType]) -> None:
        self._console = console
        self._live = Live(
            get_renderable=view,
            console=console,
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._lock = threading.RLock()
        self._stop = threading.Event()
        self._exit = ExitStack()

    def __enter__(self) -> Self:
        self._exit.callback(self._console.show_cursor, True)  # also if a second Ctrl-C ends the rest
        self._exit.enter_context(_catch_lines(self._console.file, self.print))
        self._exit.callback(self._end_view)
        self._live.start()
        threading.Thread(target=self._refresh, name="live view", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._exit.close()

    def print(self, line: str) -> None:
        """Print a line as it is; the terminal breaks it if it is long, so that it can be copied whole."""
        with self._lock:
            self._console.print(Text(line), soft_wrap=True)

    def _refresh(self) -> None:
        while not self._stop.wait(REFRESH):
            with self._lock:
                if not self._stop.is_set():
                    self._live.refresh()

    def _end_view(self) -> None:
        with self._lock:
            self._live.stop()


@contextmanager
def _catch_lines(file: IO[str], print_line: Callable[[str], None]) -> Iterator[None]:
    """Hand over, line by line, what is written to a terminal.

    That is stdout and stderr, and handlers of loggers, which keep the stream
    that they were given. Other processes on the same terminal are not caught.
    """
    with ExitStack() as stack:
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            if _is_same(stream, file):
                lines = _Lines(print_line, stream)
                stack.callback(lines.close_view)
                stack.callback(setattr, sys, name, stream)
                setattr(sys, name, lines)
        for handler in _stream_handlers():
            stream = handler.stream
            if _is_same(stream, file):
                lines = _Lines(print_line, stream)
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
    """Stands for a stream; hands over whole lines."""

    def __init__(self, print_line: Callable[[str], None], stream: IO[str]) -> None:
        self._print_line = print_line
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
            self._print_line("\n".join(lines))
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
