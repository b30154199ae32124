"""``isr-run`` as processes that are interrupted, and the cluster that they use."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.butler.commands import BIN, FOREIGN
from tests.faults.stages import ORDERS
from tests.s3server import free_ports

ROOT = Path(__file__).parents[2]
LIMIT = 120.0  # seconds for a command: a hang, else it takes about 2
WORKERS = 2
HOST = "127.0.0.1"


def environment(**variables: str) -> dict[str, str]:
    """Return the environment of processes, which finds nothing of the user's."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    ours = {
        "USER": "me",
        "COLUMNS": "200",
        "PYTHONPATH": str(ROOT),
        "ISR_DASK_WAIT": "15",
        "OPENBLAS_NUM_THREADS": "1",
        "DASK_DISTRIBUTED__WORKER__PRELOAD": "['tests.faults.preload']",
        "DASK_DISTRIBUTED__WORKER__MULTIPROCESSING_METHOD": "forkserver",
    }
    return kept | ours | variables


@dataclass
class Command:
    """A command that was started."""

    folder: Path

    def _read(self, name: str, limit: float) -> str | None:
        deadline = time.monotonic() + limit
        while not (self.folder / name).exists():
            if time.monotonic() > deadline:
                return None
            time.sleep(0.01)
        return (self.folder / name).read_text()

    @property
    def pid(self) -> int:
        """Its process, which leads the group of its workers."""
        pid = self._read("pid", 20)
        assert pid is not None
        return int(pid)

    @property
    def err(self) -> str:
        """What it has said."""
        return (self.folder / "stderr").read_text()

    @property
    def said(self) -> str:
        """What it has said, on one line."""
        return " ".join(self.err.split())

    def finish(self, limit: float = LIMIT) -> int:
        """Wait for its end and return the exit code; it hangs if that takes too long."""
        code = self._read("code", limit)
        if code is None:
            self.kill_group()
            pytest.fail(f"the command hangs:\n{self.err}")
        return int(code)

    def kill_group(self) -> None:
        """Kill it with its workers."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)


class Zygote:
    """The process from which commands are forked."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._number = folder, 0
        self._log = (folder / "zygote.log").open("w")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.zygote"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=environment(),
            text=True,
        )
        self._is_ready = False

    def __call__(self, *arguments: object, **variables: str) -> Command:
        """Start ``isr-run``."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        if not self._is_ready:
            assert self._process.stdout.readline() == "ready\n", (self._folder / "zygote.log").read_text()
            self._is_ready = True
        self._number += 1
        folder = self._folder / f"{self._number}"
        folder.mkdir()
        (folder / "stderr").touch()
        request = {
            "arguments": list(map(str, arguments)),
            "environment": environment(**variables),
            "folder": str(folder),
        }
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return Command(folder)

    def close(self) -> None:
        """End it; commands are left alone."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._log.close()


class Cluster:
    """A scheduler and workers, each a process, with workers that obey orders."""

    def __init__(self, folder: Path, orders: Path, **variables: str) -> None:
        self._folder, self._orders, self._variables = folder, orders, variables
        self.address = ""
        self._scheduler: subprocess.Popen[bytes] | None = None
        self._workers: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Start the processes; commands wait for the workers."""
        self.start_scheduler(HOST)
        self.start_workers(WORKERS, HOST)

    def start_scheduler(self, host: str) -> None:
        """Start a scheduler that listens on an address of this machine."""
        self.address = f"tcp://{host}:{free_ports(['scheduler'])['scheduler']}"
        here = ("--host", self.address, "--no-dashboard", "--dashboard-address", f"{HOST}:0")
        self._scheduler = self._start(BIN / "dask", "scheduler", *here)

    def start_workers(self, number: int, host: str, *prefix: object) -> None:
        """Start workers that listen on an address; a prefix is a command that starts commands."""
        ours = (sys.executable, "-m", "tests.faults.workers", self.address, number, self._folder, host)
        self._workers.append(self._start(*prefix, *ours))

    def _start(self, *command: object) -> subprocess.Popen[bytes]:
        with (self._folder / "cluster.log").open("ab") as log:
            return subprocess.Popen(
                list(map(str, command)),
                env=environment(**{ORDERS: str(self._orders)}, **self._variables),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def kill_scheduler(self) -> None:
        """Kill the scheduler."""
        assert self._scheduler is not None
        self._scheduler.kill()
        self._scheduler.wait()

    def stop(self) -> None:
        """Kill everything."""
        for process in (*self._workers, self._scheduler):
            if process is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        self._scheduler = None
        self._workers.clear()
