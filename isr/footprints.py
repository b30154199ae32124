"""Boxes of pixels: cutting overlapping boxes into disjoint ones."""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

__all__ = ["normalize_boxes"]


def normalize_boxes(boxes: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """Cut the union of boxes into disjoint boxes, as LSST's ``Defects`` does.

    The union is drawn; then, again and again, the leftmost run of the lowest
    row that has pixels is extended upwards as long as all its pixels are set,
    emitted and erased (spec section 5.4).

    Parameters
    ----------
    boxes : `numpy.ndarray`, (n, 4), int32
        ``x0, y0, width, height`` of each box; empty boxes are ignored.

    Returns
    -------
    disjoint : `numpy.ndarray`, (m, 4), int32
        Boxes with the same union that do not overlap, ordered by ``y0``, then ``x0``.
    """
    boxes = np.asarray(boxes, np.int32).reshape(-1, 4)
    boxes = boxes[(boxes[:, 2] > 0) & (boxes[:, 3] > 0)]
    if len(boxes) == 0:
        return boxes
    origin = boxes[:, :2].min(axis=0)
    extent = (boxes[:, :2] + boxes[:, 2:]).max(axis=0) - origin
    drawn = np.zeros((extent[1], extent[0]), np.bool_)
    for x0, y0, width, height in boxes - np.append(origin, (0, 0)):
        drawn[y0 : y0 + height, x0 : x0 + width] = True
    disjoint = np.array(_cut(drawn), np.int32).reshape(-1, 4)
    disjoint[:, :2] += origin.astype(np.int32)
    return disjoint


@numba.njit(cache=True, nogil=True)
def _cut(drawn: npt.NDArray[np.bool_]) -> list[tuple[int, int, int, int]]:
    ny, nx = drawn.shape
    boxes = []
    for y in range(ny):
        x = 0
        while x < nx:
            if not drawn[y, x]:
                x += 1
                continue
            end = x
            while end < nx and drawn[y, end]:
                end += 1
            top = y + 1
            while top < ny and drawn[top, x:end].all():
                top += 1
            drawn[y:top, x:end] = False
            boxes.append((x, y, end - x, top - y))
            x = end
    return boxes
