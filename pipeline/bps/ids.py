"""Numbers of submissions: links from a folder of the user to submit folders."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import count
from pathlib import Path

__all__ = ["find_folder", "folder_of_ids", "new_id", "submissions"]


def folder_of_ids() -> Path:
    """Return the folder, ``$XDG_STATE_HOME/hsc-isr/bps``; it is made if it is not there."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    folder = Path(state) / "hsc-isr" / "bps"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def new_id(path: Path) -> str:
    """Return the number of a submit folder, a new one if it has none."""
    known = {folder: number for number, folder in submissions()}
    if path.resolve() in known:
        return known[path.resolve()]
    folder = folder_of_ids()
    for number in count(max((int(link.name) for link in _links(folder)), default=0) + 1):
        try:
            (folder / str(number)).symlink_to(path.resolve())
        except FileExistsError:  # another command was faster
            continue
        return str(number)
    raise AssertionError("numbers do not end")


def find_folder(name: str) -> tuple[str, Path] | None:
    """Return number and submit folder of a submission; `None` if there is none.

    Parameters
    ----------
    name : `str`
        Its number, or the path of its submit folder.
    """
    known = dict(submissions())
    if name in known:
        return name, known[name]
    path = Path(name).resolve()
    if not name.isdecimal() and path.is_dir():
        return next((number for number, folder in known.items() if folder == path), str(path)), path
    return None


def submissions() -> Iterator[tuple[str, Path]]:
    """Yield number and submit folder of what the user has submitted, if the folder is still there."""
    for link in sorted(_links(folder_of_ids()), key=lambda link: int(link.name)):
        if link.is_dir():
            yield link.name, link.resolve()


def _links(folder: Path) -> list[Path]:
    return [link for link in folder.iterdir() if link.name.isdecimal()]
