"""Writing local files whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Iterable
from pathlib import Path

from isr.errors import ObjectError
from isr.fits.cards import Part

__all__ = ["write_atomically"]


def write_atomically(path: str | Path, data: bytes | Iterable[Part], *, overwrite: bool) -> None:
    """Write a file so that others see either all of it or nothing.

    The bytes go to a temporary file in the same folder, are flushed to disk,
    and get their name in the end. Nothing is left behind after a failure or
    an interruption.

    Parameters
    ----------
    path : `str` or `pathlib.Path`
        File to write; its folder is made if needed.
    data : `bytes`, or iterable of `bytes` and `memoryview`
        Content, or its pieces.
    overwrite : `bool`
        Whether to replace an existing file. If not, of several writers at the
        same time exactly one succeeds.

    Raises
    ------
    ObjectError
        If the file exists (without ``overwrite``) or cannot be written.
    """
    path = Path(path)
    temporary = path.parent / f".isr-{secrets.token_hex(8)}.tmp"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not overwrite and os.path.lexists(path):  # before writing in vain; what counts is the link below
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
        with temporary.open("xb") as stream:
            stream.writelines([data] if isinstance(data, bytes) else data)
            stream.flush()
            os.fsync(stream.fileno())
        if overwrite:
            temporary.replace(path)
        else:
            os.link(temporary, path)
    except OSError as error:
        raise ObjectError(f"{path}: cannot be written: {_explain(error, path)}") from error
    finally:
        with contextlib.suppress(OSError):  # it is not there after a rename, or was never made
            temporary.unlink()


def _explain(error: OSError, path: Path) -> str:
    match error.errno:
        case errno.EEXIST if os.path.lexists(path):
            return "the file exists; use --overwrite to replace it, or write elsewhere."
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return f"no permission to write in {path.parent} ({error.strerror}); write elsewhere."
        case errno.ENOSPC | errno.EDQUOT:
            return f"no space left in {path.parent} ({error.strerror}); free some, or write elsewhere."
        case errno.EEXIST | errno.ENOTDIR:
            return f"{path.parent} is not a folder; write elsewhere."
        case errno.EISDIR:
            return "a folder has this name; write elsewhere."
        case errno.EOPNOTSUPP:
            return f"the file system of {path.parent} has no hard links; use --overwrite, or write elsewhere."
    return f"{error.strerror or error}."
