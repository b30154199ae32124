"""Local files are written whole or not at all."""

from __future__ import annotations

import errno
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from isr.errors import ObjectError
from isr.fits.files import write_atomically


def test_writes_and_makes_the_folder(tmp_path):
    path = tmp_path / "a" / "b" / "c.fits"
    write_atomically(path, b"content", overwrite=False)
    assert path.read_bytes() == b"content"
    assert [p.name for p in path.parent.iterdir()] == ["c.fits"]


def test_mode_follows_the_umask(tmp_path):
    old = os.umask(0o027)
    try:
        write_atomically(tmp_path / "x", b"", overwrite=False)
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o640


def test_refuses_an_existing_file_unless_told(tmp_path):
    path = tmp_path / "x"
    write_atomically(path, b"old", overwrite=False)
    with pytest.raises(ObjectError, match="exists; use --overwrite"):
        write_atomically(path, b"new", overwrite=False)
    assert path.read_bytes() == b"old"
    write_atomically(path, b"new", overwrite=True)
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["x"]


@pytest.mark.parametrize("early", [True, False], ids=["seen before writing", "seen only at the end"])
def test_of_many_writers_exactly_one_wins(tmp_path, monkeypatch, early):
    if not early:
        monkeypatch.setattr(os.path, "lexists", lambda path: False)
    path, barrier = tmp_path / "x", Barrier(8)

    def write(i: int) -> bool:
        barrier.wait()
        try:
            write_atomically(path, bytes([i]) * 100_000, overwrite=False)
        except ObjectError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(write, range(8)))
    assert sum(won) == 1
    assert path.read_bytes() == bytes([won.index(True)]) * 100_000
    assert os.listdir(tmp_path) == ["x"]


@pytest.mark.parametrize("overwrite", [True, False])
@pytest.mark.parametrize("at", ["fsync", "end"])
@pytest.mark.parametrize(
    ("raised", "message"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "no space left"),
        (OSError(errno.EACCES, "Permission denied"), "no permission"),
        (OSError(errno.EIO, "Input/output error"), "Input/output error"),
        (KeyboardInterrupt(), None),
    ],
    ids=["space", "permission", "io", "interrupt"],
)
def test_nothing_is_left_after_a_failure(tmp_path, monkeypatch, overwrite, at, raised, message):
    path = tmp_path / "x"
    if overwrite:
        path.write_bytes(b"old")

    def fail(*args):
        raise raised

    if at == "fsync":
        monkeypatch.setattr(os, "fsync", fail)
    else:
        monkeypatch.setattr(os, "link", fail)
        monkeypatch.setattr(Path, "replace", fail)
    expected = KeyboardInterrupt if message is None else ObjectError
    with pytest.raises(expected, match=message) as error:
        write_atomically(path, b"new", overwrite=overwrite)
    assert message is None or str(path) in str(error.value)
    assert os.listdir(tmp_path) == (["x"] if overwrite else [])
    assert not overwrite or path.read_bytes() == b"old"


def test_a_file_system_without_hard_links_is_named(tmp_path, monkeypatch):
    def link(*args):
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(os, "link", link)
    with pytest.raises(ObjectError, match="hard links"):
        write_atomically(tmp_path / "x", b"", overwrite=False)


def test_a_file_in_the_way_of_the_folder(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ObjectError, match="is not a folder"):
        write_atomically(tmp_path / "file" / "x", b"", overwrite=False)


@pytest.mark.parametrize("overwrite", [True, False])
def test_a_folder_of_this_name(tmp_path, overwrite):
    (tmp_path / "x").mkdir()
    with pytest.raises(ObjectError, match=r"a folder has this name|exists"):
        write_atomically(tmp_path / "x", b"", overwrite=overwrite)
    assert os.listdir(tmp_path) == ["x"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(ObjectError, match="no permission"):
        write_atomically(tmp_path / "x", b"", overwrite=False)
