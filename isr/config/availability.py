"""Steps that this version does not have yet; empty when all are there."""

from __future__ import annotations

__all__ = ["MISSING_STEPS", "available"]

MISSING_STEPS: tuple[str, ...] = ()
"""Switches of steps that are not wired into `isr.run`: they default to False and True is refused."""


def available(step: str) -> bool:
    """Tell whether a step can be switched on: the default of steps that LSST has on."""
    return step not in MISSING_STEPS
