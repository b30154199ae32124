"""A small file that tells other processes how far a run is."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from pipeline.execution.progress_state import Tally

__all__ = ["Phase", "StatusFile"]

log = logging.getLogger(__name__)

type Phase = Literal["cluster", "execution", "registration", "end"]

_INTERVAL = 1.0  # seconds


class StatusFile:
    """Writes the state of a run on a cluster as JSON; each time the file is replaced as a whole.

    Its keys are ``"phase"`` (``"cluster"``: the RUN is claimed and initialised,
    workers are waited for; ``"execution"``; ``"registration"``; ``"end"``: all
    that was executed is registered) and ``"tasks"``: for each task label the
    numbers of `pipeline.execution.progress_state.Tally`; empty before the
    execution, and at the end if everything was done before.

    Parameters
    ----------
    path : `str` or `None`
        The file; `None`: nothing is written.
    """

    def __init__(self, path: str | None) -> None:
        self._path = Path(path) if path else None
        self._document: dict[str, Any] = {"phase": "cluster", "tasks": {}}
        self._is_warned = False

    def enter(self, phase: Phase) -> None:
        """Write that a phase begins."""
        self._document = {**self._document, "phase": phase}
        self._write()

    @contextmanager
    def follow(self, tallies: Callable[[], Mapping[str, Tally]]) -> Iterator[None]:
        """Write the numbers of quanta every second, and at the end.

        Parameters
        ----------
        tallies : `~collections.abc.Callable`
            Returns the numbers of quanta by task label; called in a thread.
        """
        if self._path is None:
            yield
            return
        stop = threading.Event()
        thread = threading.Thread(target=self._repeat, args=(stop, tallies), name="status-file", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
            self._update(tallies)

    def _repeat(self, stop: threading.Event, tallies: Callable[[], Mapping[str, Tally]]) -> None:
        while not stop.wait(_INTERVAL):
            self._update(tallies)

    def _update(self, tallies: Callable[[], Mapping[str, Tally]]) -> None:
        tasks = {label: asdict(tally) for label, tally in tallies().items()}
        if tasks != self._document["tasks"]:
            self._document = {**self._document, "tasks": tasks}
            self._write()

    def _write(self) -> None:
        if self._path is None:
            return
        new = self._path.with_name(f"{self._path.name}.new")
        try:
            new.write_text(json.dumps(self._document))
            new.replace(self._path)
        except OSError as error:  # the run matters more
            if not self._is_warned:
                log.warning("The status file cannot be written: %s", error)
            self._is_warned = True
