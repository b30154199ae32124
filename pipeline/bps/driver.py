"""The process that executes a submission: ``isr-run``, detached from the shell that started it."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import click
import psutil

from pipeline.bps.submission import LOG, STATUS, Submission, read_json, write_json

__all__ = ["Driver", "find_driver", "last_error", "start_driver", "stop_driver"]

_FILE = "dask_driver.json"
_SAME_START = 2.0  # seconds by which a start time may differ from what was noted: clocks are set
_TICK = 0.2  # seconds
_TAIL = 20_000  # bytes of the log


@dataclass(frozen=True)
class Driver:
    """The process that was started last for a submission.

    Attributes
    ----------
    host : `str`
        Its machine.
    pid : `int`
        Its number, which may have been given to another process since.
    started : `float`
        When it was started, in seconds since 1970.
    log_begin : `int`
        Where its part of the log begins, in bytes.
    is_canceled : `bool`
        Whether it was told to end.
    """

    host: str
    pid: int
    started: float
    log_begin: int
    is_canceled: bool = False

    @property
    def is_here(self) -> bool:
        """Whether it runs, or ran, on this machine."""
        return self.host == socket.gethostname()

    def is_alive(self) -> bool | None:
        """Tell whether the process is at work; `None` if that can be told on another machine only."""
        if not self.is_here:
            return None
        try:
            process = psutil.Process(self.pid)
            is_same = abs(float(process.create_time()) - self.started) < _SAME_START
            return is_same and bool(process.status() != psutil.STATUS_ZOMBIE)
        except psutil.NoSuchProcess:
            return False


def find_driver(path: Path) -> Driver | None:
    """Return the driver of a submit folder; `None` if none was started."""
    document = read_json(path / _FILE)
    return Driver(**document) if document else None


def start_driver(path: Path, submission: Submission) -> Driver:
    """Start the driver of a submission in a session of its own: it outlives the shell.

    Raises
    ------
    click.ClickException
        If one is at work already.
    """
    with _locked(path):
        old = find_driver(path)
        if old and old.is_alive() is not False:
            raise click.ClickException(f"The driver of {path} is at work, process {old.pid} on {old.host}.")
        (path / STATUS).unlink(missing_ok=True)
        with (path / LOG).open("ab") as log:
            begin = log.tell()
            process = subprocess.Popen(  # noqa: S603 - our own command
                [_isr_run(), *submission.options],
                cwd=submission.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        process.returncode = 0  # it is left alone: Python shall not warn of that
        driver = Driver(
            socket.gethostname(), process.pid, psutil.Process(process.pid).create_time(), log_begin=begin
        )
        write_json(path / _FILE, asdict(driver))
    return driver


def stop_driver(path: Path, driver: Driver, patience: float) -> bool:
    """End a driver that is alive on this machine.

    It is asked to end: running quanta end, what is done is registered. After a
    while it is killed, with its workers.

    Parameters
    ----------
    path : `~pathlib.Path`
        Submit folder.
    driver : `Driver`
        The process.
    patience : `float`
        Seconds until it is killed.

    Returns
    -------
    is_gentle : `bool`
        Whether it ended by itself.
    """
    write_json(path / _FILE, asdict(replace(driver, is_canceled=True)))
    with suppress(ProcessLookupError):
        os.kill(driver.pid, signal.SIGTERM)
    deadline = time.monotonic() + patience
    while driver.is_alive() and time.monotonic() < deadline:
        time.sleep(_TICK)
    if not driver.is_alive():
        return True
    with suppress(ProcessLookupError):
        os.killpg(driver.pid, signal.SIGKILL)  # the first process of a session leads its group
    while driver.is_alive():
        time.sleep(_TICK)
    return False


def last_error(path: Path, driver: Driver) -> str:
    """Return the last error in the log of a driver, or its last line."""
    with suppress(FileNotFoundError), (path / LOG).open("rb") as log:
        size = log.seek(0, os.SEEK_END)
        log.seek(max(driver.log_begin, size - _TAIL))
        lines = [line.strip() for line in log.read().decode(errors="replace").splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("Error: ")]
        return (errors or lines or [""])[-1]
    return ""


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Let one command at a time start a driver."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with suppress(OSError):  # file systems without locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _isr_run() -> str:
    """Return the path of the command, preferably that of this Python."""
    folders = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    command = shutil.which("isr-run", path=folders)
    if command is None:
        raise click.ClickException("There is no command isr-run: is hsc-isr installed in this environment?")
    return command
