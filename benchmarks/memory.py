"""The largest resident memory of a command and of its workers, as the kernel notes it."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from benchmarks.measure import SCRIPTS

INTERVAL = 0.02  # seconds; the kernel keeps the maximum, so that only the last moments can be missed


def peaks(*command: object, **variables: str) -> tuple[float, float]:
    """Run a command; return the peak of its own process and the largest one of its descendants, in MB.

    getrusage is of no use here: a child inherits the maximum of the process that has started it.
    """
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [str(SCRIPTS / str(command[0])), *map(str, command[1:])],
            stdout=subprocess.DEVNULL,
            stderr=errors,
            env=os.environ | variables,
        )
        own = others = 0.0
        while process.poll() is None:
            own = max(own, peak_of(process.pid))
            others = max([others, *map(peak_of, descendants(process.pid))])
            time.sleep(INTERVAL)
        errors.seek(0)
        if process.returncode:
            raise RuntimeError(f"{command} ended with {process.returncode}\n{errors.read().decode()}")
    return own, others


def peak_of(pid: int) -> float:
    """Return the largest resident memory that a process has had, in MB (10**6 bytes)."""
    try:
        found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    except OSError:
        return 0.0
    return int(found[1]) * 1024 / 1e6 if found else 0.0


def descendants(pid: int) -> list[int]:
    """Return the processes that a process has started, and those that they have."""
    children = []
    for file in Path(f"/proc/{pid}/task").glob("*/children"):  # each thread has its own
        with suppress(OSError):
            children += [int(word) for word in file.read_text().split()]
    return children + [found for child in children for found in descendants(child)]
