"""A small file that tells other processes how far a run is."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from pipeline.execution.progress_state import Snapshot

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
    execution, and at the end if everything was done before. With the first
    quanta comes ``"snapshot"``: what the view of the run shows
    (`pipeline.execution.progress_state.Snapshot.of_json` reads it).

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
    def follow(self, snapshot: Callable[[], Snapshot]) -> Iterator[None]:
        """Write how far the run is every second, and at the end.

        Parameters
        ----------
        snapshot : `~collections.abc.Callable`
            Returns the run as it is; called in a thread.
        """
        if self._path is None:
            yield
            return
        stop = threading.Event()
        thread = threading.Thread(target=self._repeat, args=(stop, snapshot), name="status-file", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
            self._update(snapshot)

    def _repeat(self, stop: threading.Event, snapshot: Callable[[], Snapshot]) -> None:
        while not stop.wait(_INTERVAL):
            self._update(snapshot)

    def _update(self, snapshot: Callable[[], Snapshot]) -> None:
        found = asdict(snapshot())
        tasks = {tally["label"]: tally for tally in found["tallies"]}
        self._document = {**self._document, "tasks": tasks, "snapshot": found}
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
