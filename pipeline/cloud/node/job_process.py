"""The process of a job on the head: ``isr-run``, what it says, and what becomes of it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import IO

import dask

from pipeline.cloud.jobs import Job, JobError, Jobs, filled, key

__all__ = ["COMMAND", "JobProcess"]

COMMAND = ("isr-run",)
"""What is executed; looked for beside this Python first."""

PIECE = 256 * 1024  # bytes of the log that are uploaded at once
_WORKER_SECONDS = "300"  # for the first worker to come


class JobProcess:
    """A job that is being executed. Its methods block: call them in threads, one at a time.

    Parameters
    ----------
    jobs : `~pipeline.cloud.jobs.Jobs`
        Where its objects are.
    job : `~pipeline.cloud.jobs.Job`
        The job.
    scheduler : `str`
        Address of the scheduler.
    """

    def __init__(self, jobs: Jobs, job: Job, scheduler: str) -> None:
        self.job, self._jobs = job, jobs
        self.started = time.time()
        parent = dask.config.get("temporary-directory") or tempfile.gettempdir()
        self._folder = Path(tempfile.mkdtemp(prefix=f"isr-job-{job.id}-", dir=parent))
        self._pieces = self._sent = self._echoed = 0
        self._status = b""
        self._killing_at: float | None = None
        try:
            self._process = self._start(scheduler)
        except BaseException:
            self.clear()
            raise

    def _start(self, scheduler: str) -> subprocess.Popen[bytes]:
        files = {name: self._fetch(name) for name in self.job.files}
        command = [_path(COMMAND[0]), *COMMAND[1:], *(filled(one, files) for one in self.job.arguments)]
        command += [f"--dask={scheduler}", f"--status-file={self._folder / 'status.json'}"]
        if not any(argument.startswith("--summary=") for argument in self.job.arguments):
            command.append(f"--summary={self._folder / 'summary.json'}")
        with self._open("out.txt") as out, self._open("log.txt") as log:
            return subprocess.Popen(  # noqa: S603 - whoever may write to the place may run isr-run
                command,
                cwd=self._folder,
                env={"ISR_DASK_WAIT": _WORKER_SECONDS, **os.environ},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=log,
                start_new_session=True,
            )

    def _open(self, name: str) -> IO[bytes]:
        return (self._folder / name).open("wb")

    def _fetch(self, name: str) -> str:
        found = self._jobs.store.read(key(self.job.id, f"files/{name}"))
        if found is None:
            raise JobError(f"The file {name} of the job {self.job.id} is not in the place. Submit it again.")
        path = self._folder / name
        path.write_bytes(found[0])
        return str(path)

    @property
    def is_executing(self) -> bool:
        """Whether ``isr-run`` is past the graph and not yet at the end: who is idle now stays so."""
        return b'"phase": "execution"' in self._status

    @property
    def exit_code(self) -> int | None:
        """Exit code as a shell has it; `None` while it runs."""
        code = self._process.poll()
        return code if code is None or code >= 0 else 128 - code

    def end(self, patience: float) -> None:
        """Ask it to register what is finished and to end, within so many seconds."""
        now = time.monotonic()
        if self._killing_at is None:
            with suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGTERM)
        self._killing_at = min(now + patience, self._killing_at or now + patience)

    def kill_if_late(self) -> None:
        """Kill it if it was asked to end and has not."""
        if self._killing_at is not None and time.monotonic() > self._killing_at:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def show(self) -> None:
        """Write what is new in its log to our stdout, from where it goes to CloudWatch."""
        while new := self._read_log(self._echoed):
            sys.stdout.write(new.decode(errors="replace"))
            self._echoed += len(new)
        sys.stdout.flush()

    def upload(self) -> None:
        """Upload what is new: lines of the log, the status."""
        is_over = self.exit_code is not None
        while piece := self._next_piece(is_over):
            name = f"log/{self._pieces + 1:06d}.txt"
            self._jobs.store.write(key(self.job.id, name), piece)
            self._pieces += 1
            self._sent += len(piece)
        self._upload_status()

    def _next_piece(self, is_over: bool) -> bytes:
        """Return what to upload next: whole lines, unless no more is to come or one is too long."""
        piece = self._read_log(self._sent)
        if is_over or len(piece) == PIECE:
            return piece
        return piece[: piece.rfind(b"\n") + 1]

    def _read_log(self, begin: int) -> bytes:
        with (self._folder / "log.txt").open("rb") as log:
            log.seek(begin)
            return log.read(PIECE)

    def _upload_status(self) -> None:
        with suppress(FileNotFoundError):
            status = (self._folder / "status.json").read_bytes()
            if status != self._status:
                self._jobs.store.write(key(self.job.id, "status.json"), status)
                self._status = status

    def finish(self, error: str = "") -> None:
        """Upload what it leaves behind; the state comes last."""
        self.show()
        self.upload()
        for name in ("out.txt", "summary.json"):
            with suppress(FileNotFoundError):
                content = (self._folder / name).read_bytes()
                self._jobs.store.write(key(self.job.id, name), content)
        self._jobs.write_state(
            self.job.id,
            "ended",
            exit_code=self.exit_code,
            started=self.started,
            ended=time.time(),
            error=error,
        )
        self.clear()

    def clear(self) -> None:
        """Remove its files."""
        shutil.rmtree(self._folder, ignore_errors=True)


def _path(command: str) -> str:
    """Return the path of a command, preferably that of this Python."""
    folders = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    return shutil.which(command, path=folders) or command
