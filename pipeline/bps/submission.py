"""What a submission consists of: the command of its driver, and the files in its submit folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

__all__ = ["LOG", "STATUS", "SUMMARY", "Submission", "read_json", "write_json"]

_FILE = "dask_submission.json"
STATUS = "dask_status.json"
"""Numbers of quanta, kept by ``isr-run --status-file``."""
SUMMARY = "summary.json"
"""What ``isr-run --summary`` writes at the end."""
LOG = "driver.log"
"""Output of the driver, of all its starts."""


@dataclass(frozen=True)
class Submission:
    """What ``bps prepare`` leaves for the driver and for reports.

    Attributes
    ----------
    name : `str`
        bps's unique name of the run.
    tasks : `dict` [`str`, `int`]
        Numbers of quanta by task label, in the order of the pipeline.
    attributes : `dict` [`str`, `str`]
        bps's ``project``, ``campaign``, ``payload``, ``operator``, ``site``.
    options : `list` [`str`]
        Options of ``isr-run``.
    folder : `str`
        Working directory of ``bps submit``.
    """

    name: str
    tasks: dict[str, int]
    attributes: dict[str, str]
    options: list[str]
    folder: str

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """Read it from a submit folder; `None` if there is none."""
        document = read_json(path / _FILE)
        return cls(**document) if document else None

    def write(self, path: Path) -> None:
        """Write it to a submit folder."""
        write_json(path / _FILE, asdict(self))


def read_json(path: Path) -> dict[str, Any]:
    """Return the content of a file that `write_json` has written; empty if it is not there."""
    try:
        document: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    return document


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Write a file as a whole: nobody reads half of it."""
    new = path.with_name(f"{path.name}.new")
    new.write_text(json.dumps(document, indent=2) + "\n")
    new.replace(path)
