"""What makes a process that reduces one detector and ends cheaper; measured in CPU time, on 2 cores."""

from __future__ import annotations

import atexit
import ctypes
import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["save_cpu", "without_unused_packages"]

UNUSED = ("cffi", "coverage", "fsspec", "scipy")

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of glibc's malloc.h


def save_cpu() -> None:
    """Set up this process, before it imports NumPy."""
    _collect_less()
    _keep_memory()
    # The threads of OpenBLAS wait busily for 0.1 s; the largest matrix here has 4 x 4 elements.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


@contextmanager
def without_unused_packages() -> Iterator[None]:
    """Let packages seem to be absent that numba and lsst.resources import only where they are installed.

    They serve what no kernel and no configuration of ours does; their import
    takes 0.3 s.
    """
    hidden = [name for name in UNUSED if name not in sys.modules]
    modules: dict[str, object] = sys.modules  # type: ignore[assignment]
    for name in hidden:
        modules[name] = None  # the import system's sign for a module that cannot be imported
    try:
        yield
    finally:
        for name in hidden:
            if modules.get(name, name) is None:
                del modules[name]


def _collect_less() -> None:
    """Let the garbage collector look through all objects more rarely.

    Importing and loading compiled code make 270 000 objects and hardly any
    garbage; looking through them takes 0.4 s, part of it when the process ends.
    """
    gc.set_threshold(500_000)
    atexit.register(gc.freeze)


def _keep_memory() -> None:
    """Let the memory of arrays be used again rather than given back to the kernel.

    The kernel clears all memory that it hands out, 0.5 ms for each MB, and
    planes of HSC are so large that glibc would ask it for each of them. Other
    C libraries are left alone.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    mallopt(M_MMAP_MAX, 0)
    mallopt(M_TRIM_THRESHOLD, 1 << 30)
