"""Bytes from and to S3 or disk, whole or not at all.

A *URI* is ``s3://bucket/key``, ``file:///path`` or a plain path. S3 is found by
the usual AWS variables and files (``AWS_ENDPOINT_URL_S3``, ``AWS_ENDPOINT_URL``,
``AWS_PROFILE``, ...; ``S3_ENDPOINT_URL``, which LSST's tools use, counts when
none of the AWS ones is set) and needs ``pip install 'hsc-isr[aws]'``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from isr.errors import ObjectError

if TYPE_CHECKING:
    from isr.fits.cards import Part
    from pipeline.s3client import S3Client

__all__ = ["check_writable", "exists", "is_remote", "join", "read_bytes", "write_bytes"]

SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")

Uri = str | os.PathLike[str]


def is_remote(uri: Uri) -> bool:
    """Tell whether a URI names something that is not a file of this machine."""
    return _scheme(uri) not in ("", "file")


def read_bytes(uri: Uri) -> bytes:
    """Return all bytes of a file or S3 object.

    Raises
    ------
    ObjectError
        If it does not exist, may not be read, arrives incomplete, or the
        server cannot be reached.
    """
    if is_remote(uri):
        return _s3(uri).get(str(uri))
    path = _local(uri)
    try:
        return path.read_bytes()
    except OSError as error:
        raise ObjectError(f"cannot read {path}: {_reason(error)}") from None


def write_bytes(uri: Uri, data: bytes | Iterable[Part], *, overwrite: bool = False) -> None:
    """Write a file or S3 object; a reader sees all of it or nothing.

    Parameters
    ----------
    uri : `str` or path
        Destination. Directories are made.
    data : `bytes`, or iterable of `bytes` and `memoryview`
        Content, or its pieces, which need not be in memory at once if the
        destination is a file.
    overwrite : `bool`, optional
        Replace what is there? If not, exactly one of several concurrent
        writers succeeds.

    Raises
    ------
    ObjectError
        If the destination exists and ``overwrite`` is off, or cannot be
        written.
    """
    if is_remote(uri):
        content = data if isinstance(data, bytes) else b"".join(data)
        _s3(uri).put(str(uri), content, overwrite=overwrite)
        return
    from isr.fits.files import write_atomically

    write_atomically(_local(uri), data, overwrite=overwrite)


def exists(uri: Uri) -> bool:
    """Tell whether a file or S3 object exists (also false if its bucket does not).

    Raises
    ------
    ObjectError
        If this may not be asked, or the server cannot be reached.
    """
    return _s3(uri).exists(str(uri)) if is_remote(uri) else _is_there(_local(uri))


def check_writable(destination: Uri) -> None:
    """Check before the work starts that results can go to a directory or S3 prefix.

    The check is cheap and leaves nothing behind. On S3 it asks for one name of
    the listing: it sees a wrong endpoint, bucket or key, but not whether these
    credentials may write.

    Raises
    ------
    ObjectError
        If not.
    """
    if is_remote(destination):
        _s3(destination).check_bucket(str(destination))
        return
    path = _local(destination).absolute()
    nearest = next(p for p in (path, *path.parents) if _is_there(p))
    if not nearest.is_dir():
        raise ObjectError(f"cannot write into {path}: {nearest} is a file. Choose another directory.")
    if not os.access(nearest, os.W_OK | os.X_OK):
        what = "make a directory" if nearest != path else "write"
        raise ObjectError(
            f"cannot write into {path}: you may not {what} in {nearest}. "
            "Change its permissions or choose another directory."
        )


def join(root: Uri, *parts: str) -> str:
    """Return the URI of something below a root.

    Parameters
    ----------
    root : `str` or path
        Directory or S3 prefix.
    *parts : `str`
        Relative names; a ``/`` inside one separates directories.

    Raises
    ------
    ObjectError
        If a part would leave the root or name nothing: absolute, empty, or
        with ``.`` or ``..`` between slashes.
    """
    for part in parts:
        if "\0" in part or any(name in ("", ".", "..") for name in part.split("/")):
            raise ObjectError(
                f"{part!r} is not a name below {root}: it must be relative, without empty parts, '.' or '..'."
            )
    if is_remote(root):
        return "/".join([str(root).rstrip("/"), *parts])
    return str(_local(root).joinpath(*parts))


def _scheme(uri: Uri) -> str:
    match = SCHEME.match(str(uri))
    return match[1].lower() if match else ""


def _local(uri: Uri) -> Path:
    if _scheme(uri) != "file":
        return Path(uri)
    host, _, path = str(uri)[len("file://") :].partition("/")
    if host not in ("", "localhost"):
        raise ObjectError(f"{uri}: a file URI has three slashes, file:///path; found the host {host!r}.")
    return Path("/" + unquote(path))


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError as error:
        raise ObjectError(f"cannot look for {path}: {_reason(error)}") from None


def _s3(uri: Uri) -> S3Client:
    if _scheme(uri) != "s3":
        raise ObjectError(f"{uri}: cannot open {_scheme(uri)}://; use s3://bucket/key or a local path.")
    try:
        from pipeline.s3client import connect
    except ModuleNotFoundError as error:
        raise ObjectError(f"{uri} needs {error.name}: pip install 'hsc-isr[aws]'") from None
    return connect()


def _reason(error: OSError) -> str:
    match error:
        case FileNotFoundError():
            return "it does not exist. Check the path."
        case IsADirectoryError():
            return "it is a directory; name a file in it."
        case PermissionError():
            return "permission denied. Check its permissions and those of its directories."
        case _:
            return f"{error.strerror or error}."
