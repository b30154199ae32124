"""Whatever happens to the files, processes and disks: a calibration is what is decoded, at most later."""

from __future__ import annotations

import errno
import io
import json
import logging
import multiprocessing
import os
import resource
import signal
import struct
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.execution import calib_files
from pipeline.execution.calib_cache import CalibCache
from tests.pipeline.execution.calib_frames import Loader, assert_equal, files, frame, refuse

PLENTY = 1 << 30
SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the file of one frame, key "a"."""
    CalibCache(tmp_path / "c", 0, PLENTY).get("a", frame)
    return tmp_path / "c"


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def rewrite(path: Path, change: Callable[[bytes], bytes]) -> None:
    path.write_bytes(change(path.read_bytes()))


def redescribed(content: bytes, **changes: object) -> bytes:
    """Change the description of a file, with all checksums right."""
    magic, length, _ = struct.unpack_from("<8sII", content)
    text = json.dumps(json.loads(content[16 : 16 + length]) | changes).encode()
    return struct.pack("<8sII", magic, len(text), zlib.crc32(text)) + text + content[16 + length :]


def flipped(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


DAMAGES = {
    "empty": lambda content: b"",
    "head cut": lambda content: content[:9],
    "description cut": lambda content: content[:100],
    "half": lambda content: content[: len(content) // 2],
    "one byte less": lambda content: content[:-1],
    "one byte more": lambda content: content + b"\0",
    "garbage": lambda content: bytes(range(256)) * 100,
    "zeros": lambda content: bytes(len(content)),
    "zeros at the end": lambda content: content[:-4096] + bytes(4096),
    "magic": lambda content: flipped(content, 0),
    "length": lambda content: flipped(content, 8),
    "text": lambda content: flipped(content, 50),
    "a pixel": lambda content: flipped(content, len(content) // 2),
    "the last pixel": lambda content: flipped(content, len(content) - 1),
    "another key": lambda content: redescribed(content, key="b"),
    "a later class": lambda content: redescribed(content, info={"kind": "bias", "new": 1}),
    "no arrays": lambda content: redescribed(content, arrays={}),
    "wrong arrays": lambda content: redescribed(content, arrays={"image": {"shape": [3]}}),
    "large": lambda content: redescribed(
        content, arrays={"image": {"dtype": "<f4", "shape": [9**9, 9**9], "crc32": 0}}
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_file_is_replaced(folder, caplog, damage):
    (path,) = files(folder)
    whole = path.read_bytes()
    rewrite(path, DAMAGES[damage])
    load = Loader()
    assert_equal(CalibCache(folder, 0, PLENTY).get("a", load), frame())
    assert load.count == 1
    (warning,) = warnings(caplog)
    assert str(path) in warning
    assert "Results are the same" in warning
    assert files(folder) == [path]
    assert path.read_bytes() == whole


def test_only_the_first_problem_is_a_warning(folder, caplog):
    cache = CalibCache(folder, 0, PLENTY)
    for _ in range(3):
        rewrite(files(folder)[0], DAMAGES["half"])
        assert_equal(cache.get("a", frame), frame())
    assert len(warnings(caplog)) == 1


@pytest.mark.parametrize("kind", ["folder", "link", "pipe"])
def test_other_things_in_the_place_of_a_file(folder, caplog, kind):
    (path,) = files(folder)
    elsewhere = path.rename(folder.parent / "elsewhere")
    content = elsewhere.read_bytes()
    match kind:
        case "folder":
            path.mkdir()
        case "link":
            path.symlink_to(elsewhere)
        case "pipe":
            os.mkfifo(path)
    cache, load = CalibCache(folder, 0, PLENTY), Loader()
    for _ in range(2):
        assert_equal(cache.get("a", load), frame())
    assert load.count == (1 if kind == "pipe" else 2)  # what can be removed is replaced
    assert len(warnings(caplog)) == 1
    assert elsewhere.read_bytes() == content


class _FullDisk:
    """Stands for a stream whose disk is full after some bytes."""

    def __init__(self, descriptor: int, mode: str) -> None:
        self._stream, self._left = io.FileIO(descriptor, mode), 5_000

    def __enter__(self):
        return self

    def __exit__(self, *args):
        self._stream.close()

    def write(self, part):
        written = self._stream.write(part[: self._left])
        self._left -= written
        if written < len(part):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_full_disk(folder, caplog, monkeypatch):
    before = files(folder)
    attempts = []

    def open_full(descriptor, mode):
        attempts.append(mode)
        return _FullDisk(descriptor, mode)

    monkeypatch.setattr(calib_files.os, "fdopen", open_full)
    cache = CalibCache(folder, 0, PLENTY)
    for key in "bcb":
        assert_equal(cache.get(key, frame), frame())
    assert attempts == ["wb"]  # what does not fit once is not tried for each calibration
    assert files(folder) == before
    (warning,) = warnings(caplog)
    assert "No space left on device" in warning
    cache.get("a", refuse)  # reading goes on


def _fill_within(folder: Path, limit: int, keys: str) -> None:
    """Child: fill a cache while no file may be larger than a limit."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    cache = CalibCache(folder, 0, PLENTY)
    for key in keys:
        assert_equal(cache.get(key, frame), frame())


def test_limit_of_the_operating_system(tmp_path):
    run(_fill_within, tmp_path / "c", 10_000, "ab")
    assert files(tmp_path / "c") == []


def test_folder_that_vanishes(folder, caplog):
    cache = CalibCache(folder, PLENTY, PLENTY)
    for path in files(folder):
        path.unlink()
    folder.rmdir()
    for key in "aba":
        assert_equal(cache.get(key, frame), frame())
    assert len(warnings(caplog)) == 1


def test_no_memory_to_map_a_file(folder, caplog, monkeypatch):
    def fail(*args, **options):
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    before = files(folder)
    monkeypatch.setattr(calib_files.mmap, "mmap", fail)
    cache = CalibCache(folder, 0, PLENTY)
    for key in "aba":
        assert_equal(cache.get(key, frame), frame())
    assert len(warnings(caplog)) == 1
    assert set(before) < set(files(folder))  # the file is sound


@pytest.mark.parametrize(
    "place", ["another user's", "link", "broken link", "writeable", "file", "below a file"]
)
def test_folder_that_others_may_write_to_is_not_used(tmp_path, caplog, monkeypatch, place):
    folder, elsewhere = tmp_path / "c", tmp_path / "elsewhere"
    elsewhere.mkdir()
    match place:
        case "another user's":
            folder.mkdir()
            monkeypatch.setattr(calib_files.os, "geteuid", lambda: folder.stat().st_uid + 1)
        case "link":
            folder.symlink_to(elsewhere)
        case "broken link":
            folder.symlink_to(tmp_path / "nothing")
        case "writeable":
            folder.mkdir()
            folder.chmod(0o770)
        case "file":
            folder.write_bytes(b"x")
        case "below a file":
            (tmp_path / "f").write_bytes(b"x")
            folder = tmp_path / "f" / "c"
    cache, load = CalibCache(folder, PLENTY, PLENTY), Loader()
    (warning,) = warnings(caplog)
    assert str(folder) in warning
    for key in "aab":
        assert_equal(cache.get(key, load), frame())
    assert load.count == 2
    assert len(warnings(caplog)) == 1
    assert files(elsewhere) == []
    if folder.is_dir():
        assert files(folder) == []


def test_folder_that_others_may_only_read_is_made_private(tmp_path):
    folder = tmp_path / "c"
    folder.mkdir(0o755)
    CalibCache(folder, 0, PLENTY).get("a", frame)
    assert folder.stat().st_mode & 0o777 == 0o700


def run(function: Callable[..., None], *arguments: object) -> None:
    """Run a function in a process of its own."""
    child = SPAWN.Process(target=function, args=arguments)
    child.start()
    child.join(60)
    assert child.exitcode == 0


def _fill_at_once(folder: Path, barrier, rounds: int) -> None:
    """Child: want the same new frame as others at the same moment, again and again."""
    cache = CalibCache(folder, 0, PLENTY)
    for number in range(rounds):
        barrier.wait(60)
        assert_equal(cache.get(f"{number}", lambda: frame(number)), frame(number))  # noqa: B023


def test_many_processes_want_the_same(tmp_path):
    rounds, count = 20, 3
    barrier = SPAWN.Barrier(count)
    children = [
        SPAWN.Process(target=_fill_at_once, args=(tmp_path / "c", barrier, rounds)) for _ in range(count)
    ]
    for child in children:
        child.start()
    for child in children:
        child.join(60)
    assert [child.exitcode for child in children] == [0] * count
    assert len(files(tmp_path / "c")) == rounds
    for number in range(rounds):
        assert_equal(CalibCache(tmp_path / "c", 0, PLENTY).get(f"{number}", refuse), frame(number))


def _fill_small(folder: Path, limit: int, seed: int) -> None:
    """Child: use a cache that has room for few of its frames."""
    cache = CalibCache(folder, 0, limit)
    for number in range(60):
        number = (number * seed) % 7
        assert_equal(cache.get(f"{number}", lambda: frame(number)), frame(number))  # noqa: B023


def test_processes_remove_each_others_files(folder):
    limit = int(2.5 * files(folder)[0].stat().st_size)
    children = [SPAWN.Process(target=_fill_small, args=(folder, limit, seed)) for seed in (1, 2, 3)]
    for child in children:
        child.start()
    for child in children:
        child.join(60)
    assert [child.exitcode for child in children] == [0, 0, 0]
    assert all(path.suffix == ".calib" for path in files(folder))


def _kill_oneself(*args: object, **options: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class _Killing(_FullDisk):
    """Stands for a stream whose process is killed while it writes."""

    def write(self, part):
        self._stream.write(part[: self._left])
        self._stream.flush()
        self._left -= len(part)
        if self._left <= 0:
            _kill_oneself()


def _be_killed(folder: Path, moment: str) -> None:
    """Child: be killed while a file is written."""
    if moment == "before a byte":
        calib_files.os.fdopen = _kill_oneself
    elif moment == "in the middle":
        calib_files.os.fdopen = _Killing
    else:
        Path.replace = _kill_oneself
    CalibCache(folder, 0, PLENTY).get("a", frame)


@pytest.mark.parametrize("moment", ["before a byte", "in the middle", "before it gets its name"])
def test_killed_while_filling(tmp_path, caplog, moment):
    folder = tmp_path / "c"
    child = SPAWN.Process(target=_be_killed, args=(folder, moment))
    child.start()
    child.join(60)
    assert child.exitcode == -signal.SIGKILL
    (left,) = files(folder)
    assert left.suffix == ".part"
    load = Loader()
    assert_equal(CalibCache(folder, 0, PLENTY).get("a", load), frame())
    assert load.count == 1
    assert_equal(CalibCache(folder, 0, PLENTY).get("a", refuse), frame())
    assert left.exists()  # it might be of a process that is writing it
    old = time.time() - 700
    os.utime(left, (old, old))
    CalibCache(folder, 0, PLENTY).get("b", load)
    assert not left.exists()
    assert len(files(folder)) == 2
    assert warnings(caplog) == []


def test_unfinished_files_count(folder):
    size = files(folder)[0].stat().st_size
    (folder / "x.part").write_bytes(bytes(size))
    CalibCache(folder, 0, int(2.5 * size)).get("b", frame)
    kinds = sorted(path.suffix for path in files(folder))
    assert kinds == [".calib", ".part"]
