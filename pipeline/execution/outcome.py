"""What became of one quantum: the small thing that a worker sends back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal
from uuid import UUID

__all__ = ["PARTS", "Outcome", "Status"]

type Status = Literal["done", "skipped", "idle", "failed", "refused"]

PARTS = ("read", "compute", "write", "overhead")
"""Parts of the time of a quantum, in the order in which they are shown."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one attempt at one quantum.

    Attributes
    ----------
    quantum_id : `uuid.UUID`
        The quantum.
    label : `str`
        Task label, e.g. ``"isr"``.
    data : `str`
        Short name of the data id, e.g. ``"exposure 903334 detector 22"``.
    status : `str`
        ``"done"``; ``"skipped"``: its output was there; ``"idle"``: the task
        had nothing to do; ``"failed"``; ``"refused"``: the worker is not fit
        for the run.
    report : `str`
        JSON of an ``lsst.pipe.base.quantum_reports.QuantumReport``; ``""`` if
        there is none.
    worker : `str`
        Address of the Dask worker.
    error : `str`
        What went wrong, for the user.
    is_transient : `bool`
        Whether the machines failed and not the task: another try may succeed.
    seconds : `dict` [`str`, `float`]
        Wall seconds, by `PARTS`; empty if it was not executed.
    read_bytes, written_bytes : `int`
        Size of the files of its inputs and outputs.
    """

    quantum_id: UUID
    label: str
    data: str
    status: Status
    report: str = ""
    worker: str = ""
    error: str = ""
    is_transient: bool = False
    seconds: dict[str, float] = field(default_factory=dict)
    read_bytes: int = 0
    written_bytes: int = 0
