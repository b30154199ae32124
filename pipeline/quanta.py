"""What we say of quanta: names of their data, and failures that a user can mend."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lsst.daf.butler import DataCoordinate

from isr.errors import IsrError

__all__ = ["NO_WORK", "QuantumError", "describe"]

NO_WORK = "inputs are missing, so that the task had nothing to do; the log of the quantum names them"


class QuantumError(IsrError):
    """A quantum failed for a reason that a user can mend; the message is what LSST's packages wrapped."""


def describe(data_id: DataCoordinate | Mapping[str, Any]) -> str:
    """Return a short name of a data id, e.g. ``"exposure 903334 detector 22"``."""
    values = dict(data_id.required) if isinstance(data_id, DataCoordinate) else dict(data_id)
    values.pop("instrument", None)
    detector = values.pop("detector", None)
    if detector is not None:
        values["detector"] = detector  # the last
    return " ".join(f"{name} {value}" for name, value in values.items())
