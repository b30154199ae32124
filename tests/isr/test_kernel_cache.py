"""Where compiled kernels are kept, and what a user is told."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import numba
import pytest
from numba.core.caching import UserProvidedCacheLocator

from isr import kernel_cache
from isr.kernel_cache import VARIABLE, choose_folder, compiling_once

MODULE = """
import logging
import sys
from pathlib import Path
from isr.kernel_cache import compiling_once
import numba

logging.basicConfig()

@numba.njit(cache=True, nogil=True)
def add(a, b):
    return a + b + 0

with compiling_once(Path(sys.argv[1])):
    print(add(2, 3))
"""


@pytest.fixture
def package(tmp_path) -> Path:
    """A package with one compiled kernel."""
    folder = tmp_path / "package" / "steps"
    (folder / "__pycache__").mkdir(parents=True)
    (folder / "__pycache__" / "kernel-1.py313.nbi").write_bytes(b"index")
    return folder.parent


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv(VARIABLE, "")  # what the tests set is taken back
    monkeypatch.delenv(VARIABLE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    return tmp_path


def close(monkeypatch, *folders: Path) -> None:
    """Take away the right to write, also from root."""
    access = os.access
    refused = {folder / name for folder in folders for name in ("", "__pycache__")}

    def check(path, mode, **options) -> bool:
        return not (mode & os.W_OK and Path(path) in refused) and access(path, mode, **options)

    monkeypatch.setattr("os.access", check)


def test_a_writable_package_keeps_its_kernels(package, home, capsys):
    choose_folder(package)
    assert VARIABLE not in os.environ
    assert capsys.readouterr().err == ""


def test_kernels_of_a_read_only_package_are_used(package, home, monkeypatch, capsys):
    close(monkeypatch, package)
    choose_folder(package)
    folder = home / "cache" / "hsc-isr" / "kernels"
    assert os.environ[VARIABLE] == str(folder)
    where = UserProvidedCacheLocator.get_suitable_cache_subpath(str(package / "steps" / "kernel.py"))
    assert (folder / where / "kernel-1.py313.nbi").read_bytes() == b"index"
    assert folder.stat().st_mode & 0o077 == 0
    assert capsys.readouterr().err == ""


def test_nobody_waits_for_kernels_that_came_with_the_package(package, home, monkeypatch):
    """Processes that start at once in a container with a read-only package."""
    with compiling_once(package / "__pycache__"):
        pass
    close(monkeypatch, package, package / "__pycache__")
    choose_folder(package)
    folder = Path(os.environ[VARIABLE])
    made = [path.name for path in (package / "__pycache__").glob("hsc-isr-compiled-*")]
    assert len(made) == 1
    assert (folder / made[0]).exists()
    monkeypatch.setenv("NUMBA_CPU_NAME", "another")
    with compiling_once(folder):
        pass
    assert len(list(folder.glob("hsc-isr-compiled-*"))) == 2


def test_an_unwritable_home_is_said(package, home, monkeypatch, capsys):
    close(monkeypatch, package, home / "cache" / "hsc-isr" / "kernels")
    choose_folder(package)
    folder = home / "tmp" / f"hsc-isr-kernels-{os.getuid()}"
    assert os.environ[VARIABLE] == str(folder)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert f"Compiled kernels are kept in {folder}" in capsys.readouterr().err


@pytest.mark.parametrize("trap", ["link", "open"])
def test_a_temporary_folder_of_somebody_else_is_not_used(package, home, monkeypatch, trap):
    close(monkeypatch, package, home / "cache" / "hsc-isr" / "kernels")
    taken = home / "tmp" / f"hsc-isr-kernels-{os.getuid()}"
    if trap == "link":
        (home / "theirs").mkdir(mode=0o700)
        taken.symlink_to(home / "theirs")
    else:
        taken.mkdir()
        taken.chmod(0o777)
    choose_folder(package)
    folder = Path(os.environ[VARIABLE])
    assert folder.parent == home / "tmp"
    assert folder != taken
    assert folder.stat().st_mode & 0o777 == 0o700


def test_the_users_choice_holds(package, home, monkeypatch, capsys):
    monkeypatch.setenv(VARIABLE, str(home / "mine"))
    choose_folder(package)
    assert os.environ[VARIABLE] == str(home / "mine")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("trap", ["world-writable", "other owner"])
def test_a_folder_that_others_can_write_to_is_refused(package, home, monkeypatch, capsys, trap):
    theirs = home / "theirs"
    theirs.mkdir(mode=0o700)
    if trap == "world-writable":
        theirs.chmod(0o777)
    elif os.getuid() == 0:
        os.chown(theirs, 12345, -1)
    else:
        monkeypatch.setattr("os.getuid", lambda: 12345)
    monkeypatch.setenv(VARIABLE, str(theirs))
    choose_folder(package)
    assert os.environ[VARIABLE] != str(theirs)
    assert f"{VARIABLE}={theirs} is not used" in capsys.readouterr().err


def start(module: Path, folder: Path) -> subprocess.Popen[str]:
    environment = os.environ | {VARIABLE: str(folder)}
    command = [sys.executable, str(module), str(folder)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, env=environment, stdout=pipe, stderr=pipe, text=True)


def end(process: subprocess.Popen[str]) -> tuple[str, str]:
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return out.strip(), err


@pytest.fixture
def kernel(tmp_path) -> tuple[Path, Path]:
    """A script with a kernel, and an empty folder for what is compiled."""
    module = tmp_path / "kernel.py"
    module.write_text(MODULE)
    (tmp_path / "kernels").mkdir(mode=0o700)
    return module, tmp_path / "kernels"


@pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="nothing is compiled")
def test_compiling_is_announced_and_stale_kernels_are_not_used(kernel):
    module, folder = kernel
    out, err = end(start(*kernel))
    assert out == "5"
    assert "Compiling kernels for this machine" in err
    assert str(folder) in err
    assert end(start(*kernel)) == ("5", "")
    module.write_text(MODULE.replace("+ 0", "+ 1"))
    out, err = end(start(*kernel))
    assert out == "6"
    assert "Compiling" in err


@pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="nothing is compiled")
def test_only_one_process_compiles(kernel):
    _, folder = kernel
    with (folder / "hsc-isr-compiling.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        processes = [start(*kernel), start(*kernel)]
        for process in processes:
            assert "Waiting for another process" in process.stderr.readline()
    said = [end(process) for process in processes]
    assert [out for out, _ in said] == ["5", "5"]
    assert sorted("Compiling" in err for _, err in said) == [False, True]


def test_locks_are_left_out_where_there_are_none(tmp_path, monkeypatch):
    monkeypatch.setattr("fcntl.flock", lambda *_: (_ for _ in ()).throw(OSError("no locks here")))
    with kernel_cache.compiling_once(tmp_path):
        pass
    assert len(list(tmp_path.glob("hsc-isr-compiled-*"))) == 1
