"""Numbers that float32 cannot hold."""

from __future__ import annotations

import numpy as np

__all__ = ["at_least"]


def at_least(level: float) -> np.float32:
    """Return the smallest float32 that is not less than a number.

    A float32 pixel is at or above the number exactly if it is at or above this.
    """
    with np.errstate(over="ignore"):
        rounded = np.float32(level)
    return rounded if not float(rounded) < level else np.nextafter(rounded, np.float32(np.inf))
