"""Bytes of a file, from wherever it is."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import cast
from urllib.parse import unquote, urlsplit

from isr.errors import ObjectError

__all__ = ["read_bytes"]

ENTRY_POINTS = "hsc_isr.byte_sources"
_SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*)://")


def read_bytes(source: str | Path | bytes) -> bytes:
    """Read a whole file.

    Parameters
    ----------
    source : `str`, `pathlib.Path` or `bytes`
        Path, or URI (``file:///...``, ``s3://bucket/key``); bytes are returned
        as they are. Schemes other than ``file`` are read by the functions that
        packages register under the entry-point group ``hsc_isr.byte_sources``.

    Returns
    -------
    data : `bytes`
        Content of the file.

    Raises
    ------
    ObjectError
        If the file cannot be read.
    """
    if isinstance(source, bytes):
        return source
    match = _SCHEME.match(source) if isinstance(source, str) else None
    if match is None:
        return _read_path(Path(source))
    uri = str(source)
    if match[1].lower() == "file":
        parts = urlsplit(uri)
        if parts.netloc not in ("", "localhost"):
            raise ObjectError(
                f"{uri}: names a host; a file URI has three slashes, like file:///data/raw.fits."
            )
        return _read_path(Path(unquote(parts.path)))
    return _reader(match[1].lower(), uri)(uri)


def _read_path(path: Path) -> bytes:
    try:
        if path.exists() and not path.is_file():
            kind = "a directory" if path.is_dir() else "not a regular file"
            raise ObjectError(f"{path}: is {kind}; give the path of one file.")
        return path.read_bytes()
    except FileNotFoundError:
        raise ObjectError(f"{path}: no such file (looked in {Path.cwd()}); check the path.") from None
    except PermissionError:
        raise ObjectError(f"{path}: no permission to read it; check its mode and owner.") from None
    except (OSError, ValueError) as error:
        raise ObjectError(f"{path}: cannot be read ({error}).") from error


def _reader(scheme: str, uri: str) -> Callable[[str], bytes]:
    from importlib.metadata import entry_points

    known = {entry.name: entry for entry in entry_points(group=ENTRY_POINTS)}
    if scheme not in known:
        schemes = ", ".join(f"{name}://" for name in sorted({"file", *known}))
        raise ObjectError(f"{uri}: cannot read {scheme}://; give a path or one of {schemes}.")
    try:
        return cast(Callable[[str], bytes], known[scheme].load())
    except ImportError as error:
        raise ObjectError(
            f"{uri}: reading {scheme}:// needs a package that is not installed ({error}); "
            "install it with: pip install 'hsc-isr[aws]'."
        ) from error
