"""Shows a job of a cluster as if it were executed here: its log, how far it is, its result."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from pipeline.cloud.aws import code_of
from pipeline.cloud.job_submission import FRESH
from pipeline.cloud.jobs import Jobs, key
from pipeline.errors import CloudError
from pipeline.execution.live_screen import LiveScreen
from pipeline.execution.progress import console_on_stderr
from pipeline.execution.progress_state import Snapshot
from pipeline.execution.progress_text import duration
from pipeline.execution.progress_view import view
from pipeline.s3client import CREDENTIAL_ERRORS

__all__ = ["Follower", "OverError"]

INTERVAL = 1.5  # seconds between two looks
_SILENCE = 15.0  # seconds without news from S3 until that is shown
_FINAL = (
    "ExpiredToken",
    "AccessDenied",
    "403",
    "NoSuchBucket",
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
)


class OverError(CloudError):
    """The job does not go on: its cluster is not there any more, or it was never begun."""


class Follower:
    """Follows one job.

    Parameters
    ----------
    jobs : `~pipeline.cloud.jobs.Jobs`
        Where it is.
    cluster, job : `str`
        Name of the cluster and id of the job.
    cluster_id : `str`
        Id of the cluster that the job was submitted to.
    summary : `str`, optional
        Local file for the summary of the job.
    clock : `~collections.abc.Callable`, optional
        Returns the time in seconds.
    """

    def __init__(
        self,
        jobs: Jobs,
        cluster: str,
        job: str,
        cluster_id: str,
        *,
        summary: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._jobs, self._cluster, self._job = jobs, cluster, job
        self._cluster_id, self._summary, self._clock = cluster_id, summary, clock
        self._last_piece = key(job, "log/")
        self._begun = b""  # of a line whose end has not come
        self._state = "waiting"
        self._snapshot: Snapshot | None = None
        self._status_time = 0.0  # when the head has written, by its own clock
        self._news_of_head = self._news = clock()
        self._is_cut_off = self._is_over = False
        console = console_on_stderr()
        self._screen = LiveScreen(console, self._view) if console.is_interactive else None

    def follow(self) -> int:
        """Show the job until it ends; return its exit code.

        Raises
        ------
        OverError
            If it has none: the cluster was lost, or never began it.
        CloudError
            If AWS gives no answer to us. The job goes on.
        """
        with ExitStack() as stack:
            if self._screen:
                stack.enter_context(self._screen)
            while (end := self._try_to_look()) is None:
                time.sleep(INTERVAL)
            self._is_over = True
        return self._finish(end)

    def _try_to_look(self) -> dict[str, Any] | None:
        """Look once; a network that fails is no reason to give up."""
        try:
            end = self._look()
        except CloudError as error:
            if isinstance(error, OverError) or _is_final(error):
                raise
            if not self._is_cut_off:
                self._say(f"{error} The job goes on; trying again.")
            self._is_cut_off = True
            return None
        if self._is_cut_off:
            self._say("AWS answers again.")
        self._is_cut_off, self._news = False, self._clock()
        return end

    def _look(self) -> dict[str, Any] | None:
        """Show what is new; return the state of a job that has ended."""
        state = self._jobs.state(self._job)
        if state["state"] != self._state and state["state"] == "running":
            self._say(f"The job {self._job} begins.")
        self._state = state["state"]
        self._show_log()
        self._read_snapshot()
        if self._state == "ended":
            return state
        self._check_cluster()
        return None

    def _show_log(self) -> None:
        for name in list(self._jobs.store.list(key(self._job, "log/"), after=self._last_piece)):
            found = self._jobs.store.read(name)
            *lines, self._begun = (self._begun + (found[0] if found else b"")).split(b"\n")
            for line in lines:
                self._say(line.decode(errors="replace"))
            self._last_piece = name

    def _read_snapshot(self) -> None:
        found = self._jobs.store.read_json(key(self._job, "status.json")) if self._screen else None
        if found and found.get("snapshot"):
            self._snapshot = Snapshot.of_json(found["snapshot"])

    def _check_cluster(self) -> None:
        """Give up a job whose cluster is not there any more."""
        status = self._jobs.store.read_json("status.json")
        if status is None or status["id"] != self._cluster_id:
            raise self._lost("it was ended")
        if status["time"] != self._status_time:
            self._status_time, self._news_of_head = status["time"], self._clock()
        if (silence := self._clock() - self._news_of_head) > FRESH:
            raise self._lost(status["reason"] or f"no sign of life for {silence:.0f} s")

    def _lost(self, why: str) -> OverError:
        return OverError(
            f"The cluster {self._cluster} is gone ({why}) before the job {self._job} has ended. Files that "
            "were finished are kept. Now isr-cluster up, then the same command again does the rest."
        )

    def _finish(self, state: dict[str, Any]) -> int:
        """Show what the job has left behind."""
        if self._begun:
            self._say(self._begun.decode(errors="replace"))
        if found := self._jobs.store.read(key(self._job, "out.txt")):
            sys.stdout.write(found[0].decode(errors="replace"))
            sys.stdout.flush()
        if self._summary and (found := self._jobs.store.read(key(self._job, "summary.json"))):
            Path(self._summary).write_bytes(found[0])
        elif self._summary:
            self._say(f"The job has no summary, so {self._summary} is not written.")
        if state["exit_code"] is None:
            raise OverError(f"The job {self._job} was not executed: {state['error']}.")
        if state["error"]:
            self._say(
                f"Error: {state['error']}. What was finished is registered; the same command again, on a "
                "cluster that is there, does the rest."
            )
        return int(state["exit_code"])

    def _say(self, line: str) -> None:
        if self._screen and not self._is_over:
            self._screen.print(line)
        else:
            sys.stderr.write(line + "\n")
            sys.stderr.flush()

    def _view(self) -> RenderableType:
        """Draw the job; another thread calls this."""
        silence = self._clock() - self._news
        if silence > _SILENCE and not self._is_over:
            return Text(f"no answer from AWS for {duration(silence)}; the job goes on", style="yellow")
        if self._snapshot:
            return view(self._snapshot, is_over=self._is_over)
        return Text(f"The job {self._job} {'waits' if self._state == 'waiting' else 'is ' + self._state}.")


def _is_final(error: CloudError) -> bool:
    """Tell whether the same question will get the same answer."""
    return isinstance(error.__cause__, CREDENTIAL_ERRORS) or code_of(error) in _FINAL
