"""Calibrations that a worker process keeps decoded, so that it neither fetches nor decodes them again.

Nothing is kept unless a process has installed a cache::

    install(CalibCache(Path("/local/cache"), memory_bytes=2_000_000_000, disk_bytes=50_000_000_000))

`pipeline.formatters` asks it for whole calibrations.
"""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from threading import Lock
from typing import Any, cast

import numpy as np

from isr.calibs import Calib, CalibImage
from pipeline.execution.calib_files import CalibFiles

__all__ = ["CacheStatistics", "CalibCache", "current", "install"]


@dataclass(frozen=True, slots=True)
class CacheStatistics:
    """What a cache was good for, since it was made.

    Attributes
    ----------
    memory_hits, disk_hits : `int`
        Calibrations that were in memory, or in a file of the cache.
    misses : `int`
        Calibrations that had to be read and decoded.
    held_bytes : `int`
        Size of those that are in memory now; pages that are mapped from files
        count, though the processes of a host share them.
    """

    memory_hits: int = 0
    disk_hits: int = 0
    misses: int = 0
    held_bytes: int = 0


class CalibCache:
    """Decoded calibrations: in memory, and frames also in files that the processes of a host share.

    What it returns is shared: neither arrays nor mappings of it may be changed.
    The steps of `isr` do not.

    Parameters
    ----------
    directory : `~pathlib.Path` or `None`
        Folder on local disk for frames (bias, dark, flat, fringe), see
        `~pipeline.execution.calib_files.CalibFiles`; `None`: no files.
    memory_bytes : `int`
        Bytes that this process may keep in memory; what was not used for
        longest is dropped.
    disk_bytes : `int`
        Bytes that the files may take together.
    """

    def __init__(self, directory: Path | None, memory_bytes: int, disk_bytes: int) -> None:
        self._files = None if directory is None else CalibFiles(directory, disk_bytes)
        self._memory_bytes = memory_bytes
        self._kept: OrderedDict[str, tuple[Calib, int]] = OrderedDict()  # the last was used last
        self._held = self._memory_hits = self._disk_hits = self._misses = 0
        self._lock = Lock()  # of what is above; a slow read does not hold it

    def get[C: Calib](self, key: str, load: Callable[[], C]) -> C:
        """Return a calibration, equal to what ``load`` returns.

        Parameters
        ----------
        key : `str`
            Everything that the calibration depends on; the same for all
            processes.
        load : `~collections.abc.Callable`
            Reads and decodes it. What it raises is raised here, and nothing is
            kept.
        """
        kept = self._recall(key)
        if kept is not None:
            if self._files is not None and isinstance(kept, CalibImage):
                self._files.touch(key)
            return cast("C", kept)
        found = None if self._files is None else self._files.read(key)
        calib: Calib = load() if found is None else found
        if found is None and self._files is not None and isinstance(calib, CalibImage):
            calib = self._files.keep(key, calib)
        self._remember(key, calib, is_miss=found is None)
        return cast("C", calib)

    def statistics(self) -> CacheStatistics:
        """Return what the cache was good for."""
        with self._lock:
            return CacheStatistics(self._memory_hits, self._disk_hits, self._misses, self._held)

    def _recall(self, key: str) -> Calib | None:
        with self._lock:
            if key not in self._kept:
                return None
            self._kept.move_to_end(key)
            self._memory_hits += 1
            return self._kept[key][0]

    def _remember(self, key: str, calib: Calib, *, is_miss: bool) -> None:
        size = _size(calib)
        with self._lock:
            self._misses += is_miss
            self._disk_hits += not is_miss
            if key in self._kept or size > self._memory_bytes:
                return
            self._kept[key] = calib, size
            self._held += size
            while self._held > self._memory_bytes:
                _, (_, dropped) = self._kept.popitem(last=False)
                self._held -= dropped


def _size(value: Any) -> int:
    """Return the bytes that an object takes, about."""
    match value:
        case np.ndarray():
            return value.nbytes
        case Mapping():
            return sys.getsizeof(value) + sum(_size(key) + _size(item) for key, item in value.items())
        case tuple() | list():
            return sys.getsizeof(value) + sum(map(_size, value))
        case _ if is_dataclass(value):
            return sys.getsizeof(value) + sum(_size(getattr(value, field.name)) for field in fields(value))
        case _:
            return sys.getsizeof(value)


_installed: CalibCache | None = None


def install(cache: CalibCache | None) -> None:
    """Let this process keep calibrations in a cache; `None`: no longer."""
    global _installed
    _installed = cache


def current() -> CalibCache | None:
    """Return the cache of this process, if there is one."""
    return _installed
