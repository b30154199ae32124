"""Real heads and workers on loopback, without TLS and without EC2."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from pipeline.cloud.node.identity import Identity
from tests.s3server import free_ports

QUICK = "tests.pipeline.cloud.quick_node"

__all__ = ["Node", "start_head", "start_worker", "wait_for"]


def wait_for(condition: Callable[[], object], seconds: float, what: str | Callable[[], str]):
    """Wait until something is so; return what the condition has returned."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, what if isinstance(what, str) else what()
        time.sleep(0.1)
    return found


class Node:
    """A process of a node; its output goes to a file."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path, address: str) -> None:
        self.process, self.log, self.address = process, log, address

    @property
    def said(self) -> str:
        return self.log.read_text(errors="replace")


@contextlib.contextmanager
def _started(
    arguments: list[str], identity: Identity, log: Path, address: str, **more: str
) -> Iterator[Node]:
    environment = {**os.environ, **identity.environment(), "PYTHONUNBUFFERED": "1", **more}
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            env=environment,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield Node(process, log, address)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def start_head(identity: Identity, folder: Path):
    """Start a scheduler with the head's preload."""
    port = free_ports(["head"])["head"]
    command = ["-m", "dask", "scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard"]
    command += ["--preload", QUICK, "--preload", "pipeline.cloud.node.head"]
    return _started(command, identity, folder / "head.log", f"tcp://127.0.0.1:{port}", **_variables(folder))


def start_worker(identity: Identity, folder: Path, head: str, processes: int = 1):
    """Start the worker processes of an instance."""
    command = ["-m", "dask", "worker", head, "--host", "127.0.0.1", "--name", identity.instance]
    command += ["--nworkers", str(processes), "--nthreads", "1", "--no-dashboard"]
    command += ["--preload", QUICK, "--preload", "pipeline.cloud.node.worker"]
    command += ["--preload-nanny", QUICK, "--preload-nanny", "pipeline.cloud.node.host"]
    log = folder / f"{identity.instance}.log"
    return _started(command, identity, log, head, **_variables(folder), TEST_INSTANCE=identity.instance)


def _variables(folder: Path) -> dict[str, str]:
    return {"DASK_TEMPORARY_DIRECTORY": str(folder), "TEST_NODE": str(folder)}
