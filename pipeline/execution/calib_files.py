"""Decoded calibration frames in a folder, which the processes of one host map into their memory.

A file is a head (`_HEAD`: magic bytes, length and CRC-32 of the description),
the description in JSON, and the planes in this machine's byte order, each at a
multiple of `_ALIGNMENT`, with their CRC-32 in the description. It appears under
its name only when it is complete, never changes afterwards, and may be removed
at any time: who has mapped it keeps it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import mmap
import os
import shutil
import stat
import struct
import tempfile
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from isr.calibs import CalibImage, CalibInfo
from isr.mask import MaskPlanes

__all__ = ["CalibFiles"]

log = logging.getLogger(__name__)

type Arrays = dict[str, npt.NDArray[Any]]

_HEAD = struct.Struct("<8sII")
_MAGIC = b"HSCCAL1\n"
_ALIGNMENT = 64
_DTYPES = {"image": np.dtype(np.float32), "mask": np.dtype(np.int32), "variance": np.dtype(np.float32)}
_SUFFIX, _UNFINISHED = ".calib", ".part"
_LEFT_OVER = 600.0  # seconds without a byte written, after which the writer is taken for dead


class _DamagedFileError(ValueError):
    """A file is not what was once written under its name."""


class CalibFiles:
    """Calibration frames in a folder of local disk that belongs to this user only.

    Nothing that happens to the folder is an error for the caller: what cannot
    be read is not there, what cannot be written is left out. The first problem
    is a warning, others are logged at level DEBUG.

    Parameters
    ----------
    directory : `~pathlib.Path`
        The folder; made if absent.
    limit : `int`
        Bytes that the files may take, at most half of what they and the free
        space of the disk are together. Files that were not used for longest are
        removed. Processes that write at the same time may exceed it by what
        they write.

    Notes
    -----
    Two processes that want the same frame may both decode it: nobody waits, so
    nobody can wait for a process that hangs or was killed, and either file is
    right. The second finds the file of the first and writes none, unless both
    write at the very same time.
    """

    def __init__(self, directory: Path, limit: int) -> None:
        self.directory, self.limit = directory, limit
        self._version = version("hsc-isr")  # another one may decode files in another way
        self._has_warned = False
        self._is_usable = self._may_write = False
        try:
            _make_private(directory)
        except OSError as error:
            self._warn(f"{error}; calibrations are not kept on disk")
        else:
            self._is_usable = self._may_write = True

    def read(self, key: str) -> CalibImage | None:
        """Return a frame, its planes mapped from the file; `None` if it is not there."""
        if not self._is_usable:
            return None
        path = self._path(key)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:
            return None
        except OSError as error:
            self._warn(f"{error}; the calibration is decoded instead")
            return None
        try:
            calib = _map(descriptor, self._full_key(key))
            with suppress(OSError):
                os.utime(descriptor)
            return calib
        except OSError as error:  # for example no memory to map it
            self._warn(f"{path}: {error}; the calibration is decoded instead")
        except (LookupError, TypeError, ValueError) as error:  # also a description of other fields
            self._warn(f"{path}: {error!r}; the file is removed and the calibration decoded again")
            with suppress(OSError):
                path.unlink()
        finally:
            os.close(descriptor)
        return None

    def keep(self, key: str, calib: CalibImage) -> CalibImage:
        """Write a frame and return it mapped from its file, or as it is if that is not possible."""
        if not self._may_write:
            return calib
        path = self._path(key)
        try:
            if not path.exists():
                parts = _encode(calib, self._full_key(key))
                size = sum(map(len, parts))
                if not parts or size > self.limit:
                    return calib
                self._make_room(size)
                self._write(path, parts)
        except OSError as error:
            self._may_write = False  # the next file would not fit either
            self._warn(f"{path}: {error}; this process writes no more calibrations there")
            return calib
        return self.read(key) or calib

    def touch(self, key: str) -> None:
        """Note that a frame was used, so that its file is not among the first to be removed."""
        with suppress(OSError):
            os.utime(self._path(key), follow_symlinks=False)

    def _full_key(self, key: str) -> str:
        return f"{self._version} {key}"

    def _path(self, key: str) -> Path:
        name = hashlib.sha256(self._full_key(key).encode()).hexdigest()[:32]
        return self.directory / f"{name}{_SUFFIX}"

    def _write(self, path: Path, parts: list[memoryview]) -> None:
        descriptor, name = tempfile.mkstemp(_UNFINISHED, path.stem, self.directory)
        temporary = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                for part in parts:
                    stream.write(part)
            temporary.replace(path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise

    def _make_room(self, size: int) -> None:
        """Remove what killed processes have left, and the files that were used longest ago."""
        found: list[tuple[float, int, Path]] = []
        for path, status in _entries(self.directory):
            is_unfinished = path.suffix == _UNFINISHED
            if is_unfinished and status.st_mtime < time.time() - _LEFT_OVER:
                path.unlink(missing_ok=True)
            elif is_unfinished:
                size += status.st_size
            elif path.suffix == _SUFFIX:
                found.append((status.st_mtime, status.st_size, path))
        there = sum(taken for _, taken, _ in found)
        size += there
        limit = min(self.limit, (there + shutil.disk_usage(self.directory).free) // 2)
        for _, taken, path in sorted(found):
            if size <= limit:
                break
            path.unlink(missing_ok=True)
            size -= taken

    def _warn(self, problem: str) -> None:
        level = logging.DEBUG if self._has_warned else logging.WARNING
        self._has_warned = True
        log.log(level, "Cache of calibrations: %s. Results are the same, it only takes longer.", problem)


def _make_private(directory: Path) -> None:
    """Make a folder that only this user can write to.

    Raises
    ------
    OSError
        If there is one that others may have put files into, or a link.
    """
    directory.mkdir(0o700, parents=True, exist_ok=True)
    status = directory.lstat()
    if not stat.S_ISDIR(status.st_mode):
        raise NotADirectoryError(f"{directory} is a link, expected a folder")
    if status.st_uid != os.geteuid():
        raise PermissionError(f"{directory} belongs to user {status.st_uid}, expected {os.geteuid()}")
    if status.st_mode & 0o022:
        raise PermissionError(
            f"{directory} has mode {stat.S_IMODE(status.st_mode):o}, others may write; expected 700"
        )
    directory.chmod(0o700)


def _entries(directory: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Yield the files of a folder; those that other processes remove meanwhile are left out."""
    with os.scandir(directory) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):
                yield Path(entry.path), entry.stat(follow_symlinks=False)


def _planes_of(calib: CalibImage) -> Arrays:
    arrays = {name: getattr(calib, name) for name in _DTYPES}
    return {name: np.ascontiguousarray(array) for name, array in arrays.items() if array is not None}


def _encode(calib: CalibImage, key: str) -> list[memoryview]:
    """Return the parts of a file; none if the description would not come back as it is."""
    arrays = _planes_of(calib)
    if any(array.ndim != 2 for array in arrays.values()):
        return []
    description = {
        "key": key,
        "info": asdict(calib.info),
        "planes": dict(calib.planes),
        "dark_time": calib.dark_time,
        "metadata": dict(calib.metadata),
        "arrays": {
            name: {"dtype": array.dtype.str, "shape": list(array.shape), "crc32": zlib.crc32(array)}
            for name, array in arrays.items()
        },
    }
    try:
        text = json.dumps(description).encode()
    except (TypeError, ValueError):  # metadata of a type that JSON does not have
        return []
    if repr(json.loads(text)) != repr(description):  # also NaN, tuples and NumPy's numbers
        return []
    parts = [memoryview(_HEAD.pack(_MAGIC, len(text), zlib.crc32(text))), memoryview(text)]
    end = _HEAD.size + len(text)
    for array in arrays.values():
        parts += [memoryview(bytes(-end % _ALIGNMENT)), memoryview(array.reshape(-1).view(np.uint8))]
        end += -end % _ALIGNMENT + array.nbytes
    return parts


def _map(descriptor: int, key: str) -> CalibImage:
    """Map a file.

    The mapping is private and may be written to: for numba, arrays that must
    not be written are of another type, for which kernels would be compiled again.

    Raises
    ------
    _DamagedFileError
        If a byte is not as it was written.
    OSError
        If it cannot be mapped.
    """
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_size < _HEAD.size:
        raise _DamagedFileError(f"{status.st_size} bytes, expected a calibration")
    content = mmap.mmap(descriptor, 0, access=mmap.ACCESS_COPY)
    magic, length, checksum = _HEAD.unpack_from(content)
    text = content[_HEAD.size : _HEAD.size + length]
    if magic != _MAGIC or len(text) != length or zlib.crc32(text) != checksum:
        raise _DamagedFileError("the description is damaged")
    description = json.loads(text)
    if description["key"] != key:
        raise _DamagedFileError(f"it is of {description['key']}, expected {key}")
    arrays = _map_planes(content, description["arrays"], _HEAD.size + length)
    return CalibImage(
        info=CalibInfo(**description["info"]),
        planes=MaskPlanes(description["planes"]),
        dark_time=description["dark_time"],
        metadata=description["metadata"],
        **arrays,
    )


def _map_planes(content: mmap.mmap, entries: Mapping[str, Any], end: int) -> Arrays:
    """Return the planes of a mapped file, whose description is sound and ends at ``end``."""
    arrays: Arrays = {}
    for name, entry in entries.items():
        dtype, shape = np.dtype(entry["dtype"]), tuple(entry["shape"])
        start = end + -end % _ALIGNMENT
        end = start + dtype.itemsize * shape[0] * shape[1]
        if dtype != _DTYPES.get(name) or end > len(content):
            raise _DamagedFileError(f"{len(content)} bytes, expected {end} or more, with {name} of {dtype}")
        array = np.frombuffer(content, dtype, shape[0] * shape[1], start).reshape(shape)
        if zlib.crc32(array) != entry["crc32"]:
            raise _DamagedFileError(f"{name} is damaged")
        arrays[name] = array
    if end != len(content):
        raise _DamagedFileError(f"{len(content)} bytes, expected {end}")
    return arrays
