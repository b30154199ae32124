"""How everything is timed: contestants take turns, so that all of them meet the same load of the machine."""

from __future__ import annotations

import ctypes
import gc
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SCRIPTS = Path(sys.executable).parent
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -3, -4  # of glibc's malloc.h


def cpu_seconds() -> float:
    """Return the CPU time (user and system) of this process and of those that it has waited for."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


@dataclass
class Stopwatch:
    """Times each call of a function."""

    function: Callable[[], object]
    cpu: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)

    def __call__(self) -> None:
        cpu, wall = cpu_seconds(), time.perf_counter()
        result = self.function()
        self.cpu.append(cpu_seconds() - cpu)
        self.wall.append(time.perf_counter() - wall)
        del result  # giving memory back belongs to nobody's time


def keep_memory() -> None:
    """Let arrays use freed memory again, as `pipeline.cli.startup` does in our commands and workers."""
    _mallopt(M_MMAP_MAX, 0)
    _mallopt(M_TRIM_THRESHOLD, 1 << 30)


def use_default_malloc() -> None:
    """Let this process allocate as one does that runs for a while with glibc's defaults.

    Arrays of 32 MiB and more, such as a plane of HSC, are then asked of the
    kernel each time, and cleared by it.
    """
    _mallopt(M_MMAP_MAX, 65536)
    _mallopt(M_MMAP_THRESHOLD, 32 << 20)  # where the adaptive limits end
    _mallopt(M_TRIM_THRESHOLD, 64 << 20)
    with suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _mallopt(option: int, value: int) -> None:
    with suppress(AttributeError):  # another C library has none
        ctypes.CDLL(None).mallopt(option, value)


def race(
    benchmark: Any,
    contestants: Mapping[str, Callable[[], object]],
    rounds: int,
    *,
    warm_up: bool = True,
    with_default_malloc: Collection[str] = (),
) -> None:
    """Time contestants alternately; the first is what the benchmark is about.

    pytest-benchmark times the first one; the CPU and wall seconds of all go to
    ``extra_info``: ``cpu`` and ``wall``, both name -> list of seconds, one a
    round. The memory of those named ``with_default_malloc`` comes as in a
    process of their users, that of the others as in ``isr-run``.
    """
    watches = {name: Stopwatch(function) for name, function in contestants.items()}
    first, *_ = watches.values()
    peers = list(watches)[1:]
    keep_memory()
    if warm_up:
        for function in contestants.values():
            function()

    def let_peers_run() -> None:
        for name in peers:
            gc.collect()
            (use_default_malloc if name in with_default_malloc else keep_memory)()
            watches[name]()
        if with_default_malloc:
            keep_memory()
            first.function()  # takes its memory back
        gc.collect()

    benchmark.pedantic(first, setup=let_peers_run, rounds=rounds)
    for kind in ("cpu", "wall"):
        benchmark.extra_info[kind] = {name: getattr(watch, kind) for name, watch in watches.items()}


def run(*command: object, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command of this environment; its output is shown only if it fails."""
    done = subprocess.run(
        [str(SCRIPTS / str(command[0])), *map(str, command[1:])],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | variables,
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}\nended with {done.returncode}\n{done.stderr}")
    return done
