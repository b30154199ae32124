"""Where compiled kernels are kept: found or made before numba is imported.

numba looks into ``NUMBA_CACHE_DIR``, else beside the sources, else into the
user's cache folder, and ends with an error where it may write to none of
them. What it does not care for is done here: another folder for read-only
installations, kernels that came with such an installation, one process that
compiles while the others wait, a word to the user, and no code from folders
that others can write to. numba itself ignores kernels of other sources,
versions or processors.
"""

from __future__ import annotations

import atexit
import fcntl
import hashlib
import logging
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

__all__ = ["announce_compilation", "choose_folder", "compiling_once"]

VARIABLE = "NUMBA_CACHE_DIR"
_MARKER = "hsc-isr-compiled-"
PACKAGE = Path(__file__).parent
log = logging.getLogger(__name__)


def choose_folder(package: Path = PACKAGE) -> None:
    """Set ``NUMBA_CACHE_DIR`` if numba would find no folder, or not a safe one.

    Parameters
    ----------
    package : `pathlib.Path`
        Folder of the package with the kernels.

    Notes
    -----
    The folders are, in this order: the one in ``NUMBA_CACHE_DIR``, the package
    if it is writable, ``hsc-isr/kernels`` in the user's cache folder, a folder
    of this user in the one for temporary files.
    """
    named = os.environ.get(VARIABLE, "")
    if named and _is_usable(Path(named)):
        return
    if named:
        _say(f"{VARIABLE}={named} is not used: it cannot be written to, or others can write to it.")
    elif all(os.access(path, os.W_OK) for path in (package, package / "__pycache__") if path.exists()):
        return
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = home / "hsc-isr" / "kernels"
    if not _is_usable(folder):
        folder = _temporary_folder()
        _say(f"Compiled kernels are kept in {folder}; choose a lasting folder with {VARIABLE}.")
    os.environ[VARIABLE] = str(folder)
    with suppress(OSError):
        _copy_installed(package, folder)


@cache
def announce_compilation() -> None:
    """Log once, when the first kernel is compiled rather than loaded."""
    from numba.core import event

    class Announcer(event.Listener):
        said = False

        def on_start(self, _: object) -> None:
            if not self.said:
                log.warning(
                    "Compiling kernels for this machine, which takes up to a minute; they are kept in %s.",
                    os.environ.get(VARIABLE) or PACKAGE,
                )
            self.said = True

        def on_end(self, _: object) -> None:
            pass

    event.register("numba:compile", Announcer())  # type: ignore[no-untyped-call]


@contextmanager
def compiling_once(folder: Path | None = None) -> Iterator[None]:
    """Let one process at a time compile the kernels of a reduction; the others wait, and load them.

    After the first reduction that succeeds, nothing waits any more.

    Parameters
    ----------
    folder : `pathlib.Path`, optional
        Folder of the compiled kernels, else that which numba uses.
    """
    announce_compilation()
    folder = folder or Path(os.environ.get(VARIABLE) or PACKAGE / "__pycache__")
    marker = folder / f"{_MARKER}{_version()}"
    if marker.exists():
        yield
        return
    with _locked(folder / "hsc-isr-compiling.lock"):
        yield
        with suppress(OSError):
            marker.touch()


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock, where the file system has locks; it ends with the process."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        stream = path.open("w")
    except OSError:
        yield
        return
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.warning("Waiting for another process, which compiles kernels in %s.", path.parent)
            fcntl.flock(stream, fcntl.LOCK_EX)
        except OSError:
            pass
        yield


def _version() -> str:
    """Return a digest of what decides whether compiled kernels can be used (numba checks each of them)."""
    import numba
    from llvmlite.binding import get_host_cpu_name

    source = (PACKAGE / "run.py").stat()
    processor = os.environ.get("NUMBA_CPU_NAME") or get_host_cpu_name()
    parts = (numba.__version__, sys.version, processor, source.st_size, source.st_mtime_ns)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def _is_usable(folder: Path) -> bool:
    """Tell whether a folder, made if it is not there, is writable for us and for nobody unknown."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.stat()
    except OSError:
        return False
    is_ours = status.st_uid in (os.getuid(), 0) and not status.st_mode & stat.S_IWOTH
    return is_ours and os.access(folder, os.W_OK | os.X_OK)


def _temporary_folder() -> Path:
    folder = Path(tempfile.gettempdir()) / f"hsc-isr-kernels-{os.getuid()}"
    with suppress(OSError):
        folder.mkdir(mode=0o700)
    with suppress(OSError):
        status = folder.lstat()
        if stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o077:
            return folder
    private = Path(tempfile.mkdtemp(prefix="hsc-isr-kernels-"))  # somebody has taken the name
    atexit.register(shutil.rmtree, private, ignore_errors=True)
    return private


def _copy_installed(package: Path, folder: Path) -> None:
    """Copy kernels that were compiled in the package, before only its owner could write there.

    numba names the folder of a source file so (`numba.core.caching`); under
    another name the copies are not found, and compiled again.
    """
    for compiled in package.rglob("__pycache__"):
        source = compiled.parent.absolute()
        name = f"{source.name}_{hashlib.sha1(str(source).encode(), usedforsecurity=False).hexdigest()}"
        for installed in compiled.glob("*.nb[ci]"):
            target = folder / name / installed.name
            if not target.exists() or target.stat().st_mtime < installed.stat().st_mtime:
                target.parent.mkdir(mode=0o700, exist_ok=True)
                with tempfile.NamedTemporaryFile(dir=target.parent, delete=False) as stream:
                    stream.write(installed.read_bytes())
                shutil.copystat(installed, stream.name)
                Path(stream.name).replace(target)
    for marker in (package / "__pycache__").glob(f"{_MARKER}*"):  # with them nobody has to wait
        (folder / marker.name).touch()


def _say(text: str) -> None:
    """Tell the user, before logging is set up."""
    print(f"isr: {text}", file=sys.stderr)  # noqa: T201
