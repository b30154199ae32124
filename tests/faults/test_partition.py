"""A worker that the network separates from the others, in a network namespace of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.faults.commands import Cluster
from tests.faults.world import Job, World, complete, finish, new_job, wait_for

NETWORK = "10.203.77"  # of private addresses
NAMES = tuple(f"isr{os.getpid()}-{number}" for number in (1, 2))  # a run that was killed leaves its own
SECONDS = "12s"
"""Without answer, after which Dask gives up a connection; it would wait for 30; it takes no less than 11."""

pytestmark = pytest.mark.xdist_group("faults-files")


def ip(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["ip", *map(str, words)], capture_output=True, text=True)


@pytest.fixture
def namespaces() -> Iterator[tuple[str, ...]]:
    """Two network namespaces, each with a line to this machine."""
    if shutil.which("ip") is None:
        pytest.skip("needs the command ip (iproute2)")
    try:
        for number, name in enumerate(NAMES, 1):
            made = ip("netns", "add", name)
            if made.returncode:
                pytest.skip(f"needs the right to make network namespaces: {made.stderr.strip()}")
            here, there = (f"{NETWORK}.{4 * number + side}" for side in (1, 2))
            steps = [
                ("link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", name),
                ("addr", "add", f"{here}/30", "dev", name),
                ("link", "set", name, "up"),
                ("-n", name, "addr", "add", f"{there}/30", "dev", "eth0"),
                ("-n", name, "link", "set", "eth0", "up"),
                ("-n", name, "link", "set", "lo", "up"),
                ("-n", name, "route", "add", "default", "via", here),
            ]
            for step in steps:
                made = ip(*step)
                if made.returncode:
                    pytest.skip(f"needs the right to make networks: ip {' '.join(step)}: {made.stderr}")
        yield NAMES
    finally:
        for name in NAMES:
            ip("link", "del", name)
            ip("netns", "del", name)


@pytest.fixture
def job(namespaces, files: World, tmp_path: Path) -> Iterator[Job]:
    """A command whose two workers are in the namespaces."""
    cluster = Cluster(tmp_path, files.orders, DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP=SECONDS)
    try:
        cluster.start_scheduler(f"{NETWORK}.5")
        for number, name in enumerate(namespaces, 1):
            cluster.start_workers(1, f"{NETWORK}.{4 * number + 2}", "ip", "netns", "exec", name)
        world = replace(files, cluster=cluster)
        with new_job(world, tmp_path, "partition", output="-o", cluster="existing") as job:
            yield job
    finally:
        cluster.stop()


def place_of(pid: int) -> str:
    """Return the namespace in which a process is."""
    return ip("netns", "identify", pid).stdout.strip()


@pytest.mark.skipif("FAULTS" not in os.environ, reason="takes a minute: make faults")
@pytest.mark.parametrize("end", ["stays", "heals", "late"])
def test_partition(job: Job, end: str) -> None:
    """What the lost worker had is done by the other one; it may go on, and end before or after."""
    held = job.order("wait", "before-put", "second", 903336, 22)
    last = job.order("wait", "executed", 1)
    command = job.start()
    wait_for(held, command, lambda file: file.exists() and file.read_text().isdecimal())
    pid = int(held.read_text())
    name = place_of(pid)
    assert name in NAMES
    assert ip("link", "set", name, "down").returncode == 0
    wait_for(last, command)
    if end != "late":
        held.unlink()  # the lost worker writes what the other one has written
    if end == "heals":
        assert ip("link", "set", name, "up").returncode == 0
    time.sleep(2)
    last.unlink()
    finish(command, 0)
    held.unlink(missing_ok=True)
    time.sleep(2)
    job.check()
    ip("link", "set", name, "up")
    complete(job)
