"""What a container runs, and whether it is well; with stubs for the programs."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

DOCKER = Path(__file__).resolve().parents[2] / "docker"
WAIT = "import time; time.sleep(60)"
CONNECT = """
import re, socket, sys, time
host, port = re.search(r"//(.+):(\\d+)", sys.argv[-1]).groups()
connection = socket.create_connection((host, int(port)))
time.sleep(60)
"""
PARENT = "import subprocess, sys; subprocess.run([sys.executable, '-c', *sys.argv[3:]])"


@pytest.fixture
def enter(tmp_path):
    """Run entrypoint.sh where each program only says its name and arguments."""
    for name in ("isr-run", "isr-repo", "isr-cluster", "butler", "pipetask", "dask", "python"):
        (tmp_path / name).write_text(f'#!/bin/sh\necho "$$: {name} $*"\n')
        (tmp_path / name).chmod(0o755)

    def run(*words: str, main: Path = tmp_path / "main") -> subprocess.CompletedProcess[str]:
        variables = {"PATH": f"{tmp_path}:/usr/bin:/bin", "ISR_MAIN_FILE": str(main)}
        return subprocess.run(
            [DOCKER / "entrypoint.sh", *words], env=variables, capture_output=True, text=True, check=False
        )

    return run


@pytest.mark.parametrize(
    ("words", "role", "command"),
    [
        ([], "isr-run", "isr-run "),
        (["--help"], "isr-run", "isr-run --help"),
        (["raw.fits", "--calibs", "a b"], "isr-run", "isr-run raw.fits --calibs a b"),
        (["s3://isr/raw.fits"], "isr-run", "isr-run s3://isr/raw.fits"),
        (["isr-run", "-b", "repo"], "isr-run", "isr-run -b repo"),
        (["isr-repo", "demo", "x"], "isr-repo", "isr-repo demo x"),
        (["isr-cluster", "status"], "isr-cluster", "isr-cluster status"),
        (["butler", "--help"], "butler", "butler --help"),
        (["pipetask", "run"], "pipetask", "pipetask run"),
        (["scheduler", "--port", "1"], "scheduler", "dask scheduler --port 1"),
        (["worker", "tcp://h:1"], "worker", "dask worker tcp://h:1"),
        (["node", "head", "--cluster", "c"], "node", "python -m pipeline.cloud.node head --cluster c"),
    ],
)
def test_first_word_decides(enter, tmp_path, words, role, command):
    done = enter(*words)
    assert done.returncode == 0, done.stderr
    number, _, said = done.stdout.rstrip("\n").partition(": ")
    assert said == command
    assert (tmp_path / "main").read_text().split() == [role, number]  # the process kept its number


def test_without_a_place_to_write_the_remedy_is_named(enter, tmp_path):
    done = enter("isr-run", main=tmp_path / "missing" / "main")
    assert done.returncode == 1
    assert "--tmpfs /tmp" in done.stderr
    assert not done.stdout


@contextmanager
def process(script: str, *words: str) -> Iterator[int]:
    started = subprocess.Popen([sys.executable, "-c", script, *words])
    try:
        yield started.pid
    finally:
        started.kill()
        started.wait()


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


@pytest.fixture
def health(tmp_path):
    """Run healthcheck.py for a role and a process; returns what is wrong."""

    def run(role: str, pid: int) -> str:
        main = tmp_path / "main"
        main.write_text(f"{role} {pid}\n")
        variables = os.environ | {"ISR_MAIN_FILE": str(main)}
        command = [sys.executable, DOCKER / "healthcheck.py"]
        done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
        assert done.returncode == bool(done.stderr)
        return done.stderr

    return run


def becomes_well(check, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while said := check():
        assert time.monotonic() < deadline, said
        time.sleep(0.1)


def port_of(server: socket.socket) -> str:
    return str(server.getsockname()[1])


def test_a_command_is_well_as_long_as_it_runs(health):
    with process(WAIT) as pid:
        assert not health("isr-run", pid)
    assert "not there" in health("isr-run", pid)


def test_a_stopped_command_is_not_well(health):
    with process(WAIT) as pid:
        os.kill(pid, 19)
        time.sleep(0.1)
        assert "stopped" in health("isr-run", pid)


def test_a_scheduler_answers(health, listener):
    with process(WAIT, "scheduler", "--port", port_of(listener)) as pid:
        assert not health("scheduler", pid)
        listener.close()
        assert "nothing answers at 127.0.0.1" in health("scheduler", pid)


def test_a_worker_is_connected_to_its_scheduler(health, listener):
    address = f"tcp://127.0.0.1:{port_of(listener)}"
    with process(WAIT, "worker", address) as pid:
        assert f"no connection to the scheduler {address}" in health("worker", pid)
    with process(CONNECT, "worker", address) as pid:
        becomes_well(lambda: health("worker", pid))


def test_a_process_that_the_worker_has_started_may_be_connected(health, listener):
    address = f"tls://127.0.0.1:{port_of(listener)}"
    with process(PARENT, "worker", address, CONNECT, address) as pid:
        becomes_well(lambda: health("node", pid))
