"""Fringe subtraction (spec section 4.16)."""

from __future__ import annotations

import logging
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from isr.calibs import CalibImage
from isr.errors import ProcessingError
from isr.exposure import Exposure
from isr.mask import MaskPlanes, remap_planes
from isr.numerics.box_medians import box_medians
from isr.numerics.statistics import median

__all__ = ["subtract_fringe"]

log = logging.getLogger(__name__)

IQR_TO_SIGMA = 0.74
"""Sigma of a Gaussian over its interquartile range, as rounded by LSST's fringe task."""

Image = npt.NDArray[np.float32]
Mask = npt.NDArray[np.int32]
Vector = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]


def subtract_fringe(exposure: Exposure, fringe: CalibImage, config: Any) -> float:
    """Measure the amplitude of the fringes and subtract the scaled fringe frame.

    Parameters
    ----------
    exposure : `isr.exposure.Exposure`
        Flat-fielded exposure (ADU), changed in place: image and variance, not
        the mask.
    fringe : `isr.calibs.CalibImage`
        Fringe frame; not changed.
    config : `isr.config.FringeConfig`
        ``num`` boxes, ``small`` and ``large`` half-sizes in pixels, clipping
        (``clip``, ``iterations``), ``pedestal``, and ``stats``.

    Returns
    -------
    amplitude : `float`
        Factor of the fringe frame that was subtracted; 0 if the fringes could
        not be measured, which is logged as a warning.

    Raises
    ------
    ProcessingError
        If the detector is too small for the boxes.

    Notes
    -----
    At random places the median of a small box minus that of a large one is
    taken in both images; the amplitude is the clipped least-squares ratio of
    the two sets (the method of LSST's ``FringeTask``). The places come from
    the stream of NumPy's legacy generator, seeded with the exposure's id.
    """
    pattern = fringe.image
    if config.pedestal:
        level = median(pattern, np.zeros(pattern.shape, np.int32))
        pattern = pattern - np.float32(level)
        log.info("Pedestal %.6g of fringe %s removed", level, fringe.info.name)
    x, y = _places(exposure, config)
    bits = np.int32(exposure.planes.bitmask(*config.stats.badMaskPlanes))
    mask = exposure.mask
    science = _box_signals(exposure.image, mask, bits, x, y, config)
    if fringe.mask is not None:
        mask = mask | remap_planes(fringe.mask, fringe.planes, MaskPlanes(exposure.planes))
    model = _box_signals(pattern, mask, bits, x, y, config)
    amplitude, rms, count = _fit(science, model, config.clip, config.iterations)
    if count == 0:
        log.warning("No usable place of %d to measure fringes: none subtracted", config.num)
        return 0.0
    no_variance = fringe.variance is None
    variance = pattern[:1, :1] if fringe.variance is None else fringe.variance
    scale, square = np.float32(amplitude), np.float32(amplitude * amplitude)
    _subtract_scaled(exposure.image, exposure.variance, pattern, variance, scale, square, no_variance)
    log.info(
        "Fringe %s subtracted, amplitude %.6g, rms %.4g, from %d of %d places",
        fringe.info.name, amplitude, rms, count, config.num,
    )  # fmt: skip
    return amplitude


def _places(exposure: Exposure, config: Any) -> tuple[Indices, Indices]:
    """Return the centres of the boxes, (num,) each."""
    ny, nx = exposure.shape
    border = config.large
    if min(nx, ny) <= 2 * border or config.small > border:
        raise ProcessingError(
            f"Detector {exposure.detector.id} is {nx} x {ny} pixels: no place for boxes with the half-sizes "
            f"fringe.large = {border} and fringe.small = {config.small} (which must not exceed large)."
        )
    seed = (config.stats.rngSeedOffset + exposure.exposure_id) % 2**32
    random = np.random.RandomState(seed)  # LSST's stream: not default_rng
    x = random.randint(border, nx - border, size=config.num)
    return x, random.randint(border, ny - border, size=config.num)


def _box_signals(image: Image, mask: Mask, bits: np.int32, x: Indices, y: Indices, config: Any) -> Vector:
    """Return median(small box) - median(large box) at each place, NaN where there is none."""
    usable = np.empty(image.shape, np.float32)
    _blank_unusable(image, mask, bits, usable)
    return box_medians(usable, x, y, config.small) - box_medians(usable, x, y, config.large)


def _fit(science: Vector, model: Vector, clip: float, iterations: int) -> tuple[float, float, int]:
    """Return amplitude, robust rms of the residuals and number of places used (0: no solution)."""
    good = np.isfinite(science) & np.isfinite(model)
    science, model = science[good], model[good]
    if len(science) == 0:
        return 0.0, float("nan"), 0
    good = _near_median(science, clip) & _near_median(model, clip)
    science, model = science[good], model[good]
    rms = float("nan")
    for _ in range(iterations):
        amplitude = _ratio(science, model)
        residual = science - amplitude * model
        if len(residual) == 0 or not np.isfinite(amplitude):
            return 0.0, float("nan"), 0
        lower, upper = np.percentile(residual, (25, 75))
        rms = IQR_TO_SIGMA * float(upper - lower)
        good = ~(np.abs(residual) > clip * rms)
        if good.all():
            break
        science, model = science[good], model[good]
    amplitude = _ratio(science, model)
    return (amplitude, rms, len(science)) if np.isfinite(amplitude) else (0.0, rms, 0)


def _near_median(values: Vector, clip: float) -> npt.NDArray[np.bool_]:
    lower, middle, upper = np.percentile(values, (25, 50, 75))
    near: npt.NDArray[np.bool_] = np.abs(values - middle) < clip * IQR_TO_SIGMA * (upper - lower)
    return near


def _ratio(science: Vector, model: Vector) -> float:
    """Return the least-squares ``a`` of ``science = a * model``; NaN if the model is zero."""
    norm = float((model * model).sum())
    return float((science * model).sum()) / norm if norm > 0.0 else float("nan")


@numba.njit(cache=True, nogil=True)
def _subtract_scaled(
    image: Image,
    variance: Image,
    pattern: Image,
    added: Image,
    scale: np.float32,
    square: np.float32,
    no_variance: bool,
) -> None:
    for y in range(image.shape[0]):
        for x in range(image.shape[1]):
            image[y, x] -= scale * pattern[y, x]
        if not no_variance:
            for x in range(image.shape[1]):
                variance[y, x] += square * added[y, x]


@numba.njit(cache=True, nogil=True)
def _blank_unusable(image: Image, mask: Mask, bits: np.int32, out: Image) -> None:
    for y in range(image.shape[0]):
        for x in range(image.shape[1]):
            value = image[y, x]
            good = ((mask[y, x] & bits) == 0) & np.isfinite(value)
            out[y, x] = value if good else np.float32(np.nan)
