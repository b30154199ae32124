"""What a user sees while quanta run on a cluster."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from types import TracebackType
from typing import Self
from uuid import UUID

from rich.console import Console, RenderableType

from pipeline.execution.live_screen import LiveScreen
from pipeline.execution.outcome import Outcome
from pipeline.execution.progress_state import Failure, Snapshot, State
from pipeline.execution.progress_text import beginning_line, end_line, state_line
from pipeline.execution.progress_view import view

__all__ = ["Progress", "console_on_stderr"]


class Progress:
    """Shows how far a run is: a live view on a terminal, else plain lines.

    A context manager. Its methods may be called from one thread; each takes
    some microseconds. It keeps nothing of quanta that have ended but counts.
    Plain lines come at the beginning and the end, at each 10 %, when nothing
    was said for a while, and for each failure and retry.

    Parameters
    ----------
    total : `int` or `~collections.abc.Mapping` [`str`, `int`]
        Number of quanta; by task label, in the order of the pipeline, the view
        has a bar for each task.
    dashboard : `str`, optional
        URL of the Dask dashboard.
    console : `rich.console.Console`, optional
        Where to show it: stderr if not given. Live if it is interactive.
    plain_interval : `float`, optional
        Longest time without a plain line, in seconds.
    clock : `~collections.abc.Callable`, optional
        Returns the time in seconds.
    """

    def __init__(
        self,
        total: int | Mapping[str, int],
        dashboard: str = "",
        *,
        console: Console | None = None,
        plain_interval: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._console = console or console_on_stderr()
        self._dashboard = dashboard
        self._interval = plain_interval
        self._clock = clock
        self._state = State(total, clock())
        self._lock = threading.Lock()  # of the state: the view is drawn by another thread
        self._is_over = False
        self._is_live = self._console.is_interactive
        self._screen = LiveScreen(self._console, self._view)
        self._stop = threading.Event()
        self._tenths = 0
        self._last_line = clock()
        self._exit = ExitStack()

    def __enter__(self) -> Self:
        if self._is_live:
            self._exit.enter_context(self._screen)
        else:
            self._line(beginning_line(self._state.snapshot(self._clock()), self._dashboard))
            thread = threading.Thread(target=self._break_silence, name="progress", daemon=True)
            thread.start()
            self._exit.callback(thread.join)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_over = True
        self._stop.set()
        with suppress(OSError):  # the terminal is gone
            self._exit.close()
        if not self._is_live:
            self._line(end_line(self._state.snapshot(self._clock())))

    def started(self, quantum_id: UUID, label: str, data: str, worker: str) -> None:
        """Show that a quantum runs now."""
        with self._lock:
            self._state.started(quantum_id, label, data, worker, self._clock())

    def finished(self, outcome: Outcome) -> None:
        """Show that a quantum has ended and will not be tried again."""
        with self._lock:
            failure = self._state.finished(outcome, self._clock())
        if not self._is_live:
            if failure:
                self._line(_problem("failed", failure))
            self._line_at_tenth()

    def retried(self, what: Outcome | UUID, reason: str) -> None:
        """Show that an attempt at a quantum came to nothing and another follows.

        Parameters
        ----------
        what : `~pipeline.execution.outcome.Outcome` or `uuid.UUID`
            The attempt, or the quantum if its worker is dead.
        reason : `str`
            What went wrong.
        """
        with self._lock:
            retry = self._state.retried(what, reason)
        if not self._is_live:
            self._line(_problem("tried again", retry))

    def ready(self, label: str) -> None:
        """Count a quantum whose inputs are there."""
        with self._lock:
            self._state.add_ready(label)

    def snapshot(self) -> Snapshot:
        """Return the run as it is now."""
        with self._lock:
            return self._state.snapshot(self._clock())

    def blocked(self, label: str, count: int) -> None:
        """Show that so many more quanta of a task cannot be executed, because others failed."""
        with self._lock:
            self._state.add_blocked(label, count)
        if not self._is_live:
            self._line_at_tenth()

    def workers(self, count: int) -> None:
        """Show how many workers there are."""
        with self._lock:
            self._state.set_workers(count)

    def message(self, text: str) -> None:
        """Show a line above the view."""
        if self._is_live:
            self._screen.print(text)
        else:
            self._line(text)

    def _view(self) -> RenderableType:
        return view(self.snapshot(), self._dashboard, self._is_over)

    def _line_at_tenth(self) -> None:
        tenths = 10 * self._state.ended // max(self._state.total, 1)
        if tenths > self._tenths:
            self._tenths = tenths
            if self._state.ended < self._state.total:  # the line of the end follows
                self._state_line()

    def _break_silence(self) -> None:
        """Print a line whenever there was none for a while: in a thread of its own."""
        while not self._stop.wait(max(0.01, self._last_line + self._interval - self._clock())):
            if self._clock() >= self._last_line + self._interval:
                self._state_line()

    def _state_line(self) -> None:
        with self._lock:
            self._last_line = self._clock()
            snapshot = self._state.snapshot(self._last_line)
        self._line(state_line(snapshot))

    def _line(self, text: str) -> None:
        with suppress(OSError):  # nobody reads it any more; the run goes on
            self._console.file.write(text + "\n")
            self._console.file.flush()


def console_on_stderr() -> Console:
    """Return a console on stderr: live only on a real terminal, whatever FORCE_COLOR and the like say."""
    return Console(file=sys.stderr, force_interactive=None if sys.stderr.isatty() else False)


def _problem(what: str, failure: Failure) -> str:
    return f"{what}: {failure.name}: {failure.reason}"
