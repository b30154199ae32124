"""Mask planes: names, bits, and operations on mask arrays.

Plane names and default bit numbers are those of ``lsst.afw.image.Mask``. Bit
numbers are a property of one mask only: always translate by name
(`remap_planes`) when masks meet.
"""

from __future__ import annotations

from collections.abc import Mapping

import numba
import numpy as np
import numpy.typing as npt

from isr.errors import ProcessingError

__all__ = ["DEFAULT_PLANES", "MaskPlanes", "grow_plane", "remap_planes"]

DEFAULT_PLANES: Mapping[str, int] = {
    "BAD": 0,
    "SAT": 1,
    "INTRP": 2,
    "CR": 3,
    "EDGE": 4,
    "DETECTED": 5,
    "DETECTED_NEGATIVE": 6,
    "SUSPECT": 7,
    "NO_DATA": 8,
    "VIGNETTED": 9,
    "STREAK": 10,
}
"""Planes that every mask starts with (spec section 6)."""


class MaskPlanes(dict[str, int]):
    """Mapping of plane name to bit number, one per mask.

    Starts with `DEFAULT_PLANES`; `add` gives a new plane the first free bit.
    """

    def __init__(self, planes: Mapping[str, int] = DEFAULT_PLANES) -> None:
        super().__init__(planes)

    def add(self, name: str) -> int:
        """Return the bit *number* of ``name``, adding the plane if needed.

        Raises
        ------
        ProcessingError
            If all 31 bits are taken.
        """
        if name not in self:
            used = set(self.values())
            free = next((bit for bit in range(31) if bit not in used), None)
            if free is None:
                raise ProcessingError(f"No free bit for mask plane {name!r}: planes in use are {dict(self)}.")
            self[name] = free
        return self[name]

    def bitmask(self, *names: str) -> int:
        """Return the OR of the bits of ``names`` (0 for no names).

        Raises
        ------
        ProcessingError
            If a plane does not exist.
        """
        missing = [name for name in names if name not in self]
        if missing:
            raise ProcessingError(f"Unknown mask plane(s) {missing}; planes are {sorted(self)}.")
        return sum({1 << self[name] for name in names})


def remap_planes(
    mask: npt.NDArray[np.int32], source: Mapping[str, int], target: MaskPlanes
) -> npt.NDArray[np.int32]:
    """Translate a mask from the bits of ``source`` to those of ``target``.

    Parameters
    ----------
    mask : `numpy.ndarray`, (ny, nx), int32
        Mask whose bits are numbered by ``source``.
    source : `~collections.abc.Mapping` [`str`, `int`]
        Plane name to bit number of ``mask``.
    target : `MaskPlanes`
        Plane numbering wanted; planes that it lacks are added to it, but only
        if they are set somewhere in ``mask``.

    Returns
    -------
    remapped : `numpy.ndarray`, (ny, nx), int32
        ``mask`` itself if no bit has to move, else a new array.
    """
    used = int(np.bitwise_or.reduce(mask, axis=None)) if mask.size else 0
    moves = [(1 << bit, 1 << target.add(name)) for name, bit in source.items() if used >> bit & 1]
    if all(a == b for a, b in moves):
        return mask
    remapped = np.zeros_like(mask)
    for a, b in moves:
        remapped[(mask & a) != 0] |= b
    return remapped


def grow_plane(mask: npt.NDArray[np.int32], bits: int, radius: int) -> None:
    """Grow planes into themselves by a Manhattan distance, in place.

    Every pixel within ``|dx| + |dy| <= radius`` of a pixel that has one of
    ``bits`` set gets that bit (spec section 5.4), clipped to the array.

    Parameters
    ----------
    mask : `numpy.ndarray`, (ny, nx), int32
        Mask to change.
    bits : `int`
        OR of the bits to grow; each bit grows on its own.
    radius : `int`
        Distance in pixels; 0 does nothing.
    """
    for _ in range(radius):
        _grow_by_one(mask, np.int32(bits))


@numba.njit(cache=True, nogil=True)
def _grow_by_one(mask: npt.NDArray[np.int32], bits: np.int32) -> None:
    ny, nx = mask.shape
    above = np.zeros(nx, np.int32)  # bits of row y - 1 before it was grown
    current = np.empty(nx, np.int32)
    for y in range(ny):
        for x in range(nx):
            current[x] = mask[y, x] & bits
        for x in range(nx):
            grown = current[x] | above[x]
            if x > 0:
                grown |= current[x - 1]
            if x < nx - 1:
                grown |= current[x + 1]
            if y < ny - 1:
                grown |= mask[y + 1, x] & bits
            mask[y, x] |= grown
        above, current = current, above
