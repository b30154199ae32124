"""Weights for filling a gap in a row from the pixels beside it.

Ordinary kriging with correlation ``exp(-d**2 / 4)``, the autocorrelation of a
Gaussian of sigma 1 pixel; rounded to 4 decimals these are the coefficients
that LSST's defect interpolation has as a table (spec section 4.17).
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

__all__ = ["EDGE", "NARROW", "interior_weights", "narrow_weights", "wide_weights"]

NARROW = 10
"""Gaps up to this width have weights of their own."""
EDGE = 6
"""Pixels of a wider gap, from either side, that feel that side only."""

Weights = npt.NDArray[np.float64]


def _krige(positions: Weights, groups: npt.NDArray[np.int_], at: float, group: int) -> Weights:
    """Weights of pixels at ``positions`` for the value at ``at``.

    Pixels of different ``groups`` are infinitely far from each other, and
    ``at`` belongs to ``group``.
    """
    n = len(positions)
    system = np.zeros((n + 1, n + 1))
    distance = positions[:, np.newaxis] - positions
    system[:n, :n] = np.exp(-(distance**2) / 4.0) * (groups[:, np.newaxis] == groups)
    system[n, :n] = system[:n, n] = 1.0
    known = np.append(np.exp(-((positions - at) ** 2) / 4.0) * (groups == group), 1.0)
    return np.round(np.linalg.solve(system, known)[:n], 4)


def _used(left: int, right: int) -> npt.NDArray[np.bool_]:
    """Which of (far left, near left, near right, far right) are used."""
    return np.array([left == 2, left >= 1, right >= 1, right == 2])


@cache
def narrow_weights() -> Weights:
    """Return ``weights[left, right, n, position, pixel]`` for gaps of n <= 10.

    ``left`` and ``right`` count the pixels used on either side (0 to 2);
    ``pixel`` runs over far left, near left, near right, far right.
    """
    table = np.zeros((3, 3, NARROW + 1, NARROW, 4))
    for left, right in np.ndindex(3, 3):
        used = _used(left, right)
        for n in range(1, NARROW + 1 if used.any() else 1):
            places = np.array([-2.0, -1.0, n, n + 1.0])[used]
            for position in range(n):
                table[left, right, n, position, used] = _krige(
                    places, np.zeros(len(places), int), position, 0
                )
    table.setflags(write=False)
    return table


@cache
def wide_weights() -> Weights:
    """Return ``weights[left, right, side, distance, pixel]`` for gaps of n > 10.

    ``side`` is 0 for the left end of the gap, 1 for the right one;
    ``distance`` counts pixels from that end.
    """
    table = np.zeros((3, 3, 2, EDGE, 4))
    groups = np.array([0, 0, 1, 1])
    for left, right in np.ndindex(3, 3):
        used = _used(left, right)
        if not used.any():
            continue
        for side, distance in np.ndindex(2, EDGE):
            at = distance if side == 0 else -distance
            places = np.array([-2.0, -1.0, 1.0, 2.0])[used]
            table[left, right, side, distance, used] = _krige(places, groups[used], at, side)
    table.setflags(write=False)
    return table


@cache
def interior_weights() -> Weights:
    """Return ``weights[left, right, pixel]`` far from both ends of a wide gap."""
    table = np.zeros((3, 3, 4))
    groups = np.array([0, 0, 1, 1])
    for left, right in np.ndindex(3, 3):
        used = _used(left, right)
        if used.any():
            table[left, right, used] = _krige(np.array([-2.0, -1.0, 1.0, 2.0])[used], groups[used], 0.0, -1)
    table.setflags(write=False)
    return table
