"""The forward CDF 9/7 transform, written naively, and stray-light models made with it."""

from __future__ import annotations

import numpy as np

from isr.calibs import CalibInfo, StrayLight
from isr.numerics.wavelets import compressed_size

LIFTING = (-1.586134342059924, -0.052980118572961, 0.882911075530934, 0.443506852043971)
SCALE = 0.86986445162477855


def compress(values: np.ndarray, levels: int, axis: int = -1, *, periodic: bool = False) -> np.ndarray:
    """All coefficients of some levels of the transform along an axis, low-pass first."""
    rows = np.moveaxis(np.array(values, float), axis, -1)
    for level in range(levels):
        size = compressed_size(rows.shape[-1], level)
        rows[..., :size] = _one_level(rows[..., :size], periodic)
    return np.moveaxis(rows, -1, axis)


def _one_level(rows: np.ndarray, periodic: bool) -> np.ndarray:
    n = rows.shape[-1]
    if n < 2:
        return rows
    index = np.arange(n)
    before, after = index - 1, index + 1
    if periodic:
        after %= n
    else:  # reflect about the end values
        before[0], after[-1] = 1, n - 2
    rows = rows.copy()
    for step, factor in enumerate(LIFTING):
        here = index[1 - step % 2 :: 2]
        rows[..., here] += factor * (rows[..., before[here]] + rows[..., after[here]])
    return np.concatenate([rows[..., ::2] / SCALE, rows[..., 1::2] * SCALE], axis=-1)


def stray_light_of(volumes: list[np.ndarray], levels: tuple[int, int, int]) -> StrayLight:
    """Compress the models (720 angles, y, x) of the amplifiers; ``levels`` along x, y and angle."""
    cubes = []
    for volume in volumes:
        cube = volume
        for axis, levels_here in zip((2, 1, 0), levels, strict=True):
            n = compressed_size(cube.shape[axis], levels_here)
            cube = compress(cube, levels_here, axis, periodic=axis == 0).take(range(n), axis)
        cubes.append(cube.astype(np.float32))
    shape = volumes[0].shape[1:]
    return StrayLight(CalibInfo("yBackground", name="y.fits"), tuple(cubes), shape, levels)
