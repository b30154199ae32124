"""bps's states of quanta and of a whole run, from what the driver says and whether it is alive."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lsst.ctrl.bps import WmsStates

__all__ = ["FINAL", "INIT", "Counts", "Situation"]

INIT, FINAL = "pipetaskInit", "finalJob"
"""What the driver does before and after the quanta, as bps calls it."""

type Counts = dict[WmsStates, int]


@dataclass(frozen=True)
class Situation:
    """What is known of a submission.

    Attributes
    ----------
    tasks : `dict` [`str`, `int`]
        Numbers of quanta by task label.
    status : `~collections.abc.Mapping`
        What `pipeline.execution.status_file.StatusFile` has written; empty if
        nothing yet.
    was_started, is_alive, is_canceled : `bool`
        Whether there was a driver, whether it is at work, whether it was told
        to end.
    """

    tasks: dict[str, int]
    status: Mapping[str, Any]
    was_started: bool
    is_alive: bool
    is_canceled: bool

    def counts(self) -> dict[str, Counts]:
        """Return how many quanta are in each of bps's states, by label; also the driver's own two steps."""
        found = {INIT: {self._init(): 1}}
        found |= {label: self._quanta(label, total) for label, total in self.tasks.items()}
        found[FINAL] = {self._final(): 1}
        return {label: dict.fromkeys(WmsStates, 0) | counts for label, counts in found.items()}

    def run(self) -> WmsStates:
        """Return the state of the whole."""
        if not self.was_started:
            return WmsStates.UNREADY
        if self.is_alive:
            return WmsStates.RUNNING
        if all(counts[WmsStates.SUCCEEDED] == sum(counts.values()) for counts in self.counts().values()):
            return WmsStates.SUCCEEDED
        return WmsStates.DELETED if self.is_canceled else WmsStates.FAILED

    def _init(self) -> WmsStates:
        if self.status:
            return WmsStates.SUCCEEDED
        if not self.was_started:
            return WmsStates.READY
        if self.is_alive:
            return WmsStates.RUNNING
        return WmsStates.DELETED if self.is_canceled else WmsStates.FAILED

    def _final(self) -> WmsStates:
        phase = self.status.get("phase")
        if phase == "end":
            return WmsStates.SUCCEEDED
        if phase == "registration":
            return WmsStates.RUNNING if self.is_alive else WmsStates.FAILED
        if self.is_alive or not self.was_started:
            return WmsStates.UNREADY
        return WmsStates.DELETED if self.is_canceled else WmsStates.PRUNED

    def _quanta(self, label: str, total: int) -> Counts:
        if self.status.get("phase") == "end" and not self.status["tasks"]:
            return {WmsStates.SUCCEEDED: total}  # it was done before
        known: dict[str, int] = self.status.get("tasks", {}).get(label, {})
        done, failed, blocked = (known.get(name, 0) for name in ("done", "failed", "blocked"))
        counts = {WmsStates.SUCCEEDED: done, WmsStates.FAILED: failed, WmsStates.PRUNED: blocked}
        rest = total - done - failed - blocked
        if self.is_canceled and not self.is_alive:
            return {**counts, WmsStates.DELETED: rest}
        running = known.get("running", 0) if self.is_alive else 0
        ready = known.get("ready", 0) - done - failed - running
        return {
            **counts,
            WmsStates.RUNNING: running,
            WmsStates.READY: ready,
            WmsStates.UNREADY: rest - running - ready,
        }
