"""Serial overscan subtraction (spec section 4.3)."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numba
import numpy as np
import numpy.typing as npt
from numpy.polynomial import chebyshev, legendre, polynomial

from isr.camera import Amplifier
from isr.config import OverscanConfig
from isr.errors import CameraError
from isr.exposure import Exposure
from isr.numerics.splines import akima, evaluate, natural
from isr.numerics.statistics import clipped_statistics, mean, median, vector_statistics

__all__ = ["OverscanResult", "record_overscan", "subtract_overscan"]

log = logging.getLogger(__name__)

Vector = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

POLYNOMIALS = {
    "POLY": (polynomial.polyfit, polynomial.polyval),
    "CHEB": (chebyshev.chebfit, chebyshev.chebval),
    "LEG": (legendre.legfit, legendre.legval),
}
SPLINES = {"NATURAL_SPLINE": natural, "CUBIC_SPLINE": natural, "AKIMA_SPLINE": akima}
NEIGHBOURS = 5
"""Rows on either side from which rows without a usable pixel are filled."""
FEWEST_KNOTS = 5


@dataclass(frozen=True, slots=True)
class OverscanResult:
    """The overscan of one amplifier.

    Attributes
    ----------
    model : `numpy.ndarray`, (rows,), float64
        Level that was subtracted from each row (ADU), before rounding to float32.
    mean, median, stdev : `float`
        Of the model (ADU); ``stdev`` is clipped.
    residual_mean, residual_median, residual_stdev : `float`
        Of the overscan pixels after subtraction (ADU); ``stdev`` is clipped.
    """

    model: Vector
    mean: float
    median: float
    stdev: float
    residual_mean: float
    residual_median: float
    residual_stdev: float


def subtract_overscan(frame: Exposure, amplifier: Amplifier, config: OverscanConfig) -> OverscanResult:
    """Model the serial overscan of an amplifier and subtract the model.

    Parameters
    ----------
    frame : `isr.exposure.Exposure`
        Raw frame (ADU); the image of the amplifier's imaging pixels and of its
        serial overscan is changed in place, and overscan pixels further than
        ``config.maxDeviation`` from the median become BAD.
    amplifier : `isr.camera.Amplifier`
        The amplifier; data and overscan box must have the same rows.
    config : `isr.config.OverscanConfig`
        The model.

    Returns
    -------
    result : `OverscanResult`
        The model and its statistics. An overscan without any usable pixel has
        the model 0.

    Raises
    ------
    CameraError
        If the amplifier has no overscan, or one of other rows than its data.
    """
    box, data = amplifier.raw_serial_overscan_bbox, amplifier.raw_data_bbox
    if box.width == 0 or (box.y0, box.height) != (data.y0, data.height):
        raise CameraError(
            f"Amplifier {amplifier.name!r}: the serial overscan {box} is empty or has other rows than the "
            f"data {data}; correct the camera description or set doOverscan=False."
        )
    overscan = frame.view(box)
    bits = frame.planes.bitmask(*config.maskPlanes)
    rejected = (overscan.mask & bits) != 0
    if not rejected.all():
        level = np.median(overscan.image[~rejected])
        outliers = ~rejected & (np.abs(overscan.image - level) > config.maxDeviation)
        overscan.mask[outliers] |= frame.planes.bitmask("BAD")
        rejected = (overscan.mask & bits) != 0

    if config.fitType in ("MEAN", "MEANCLIP", "MEDIAN"):
        value = _constant(overscan.image, rejected, config)
        model = np.full(overscan.image.shape[0], value)
        statistics = (value, value, 0.0)
    else:
        model = _row_model(overscan.image, rejected, config)
        statistics = vector_statistics(model, config.numSigmaClip)

    per_row = model.astype(np.float32)[:, np.newaxis]
    frame.view(data).image[...] -= per_row
    overscan.image[...] -= per_row
    residual = clipped_statistics(overscan.image, overscan.mask, bits, config.numSigmaClip)
    residual_mean = mean(overscan.image, overscan.mask, bits)
    log.info(
        "Overscan amplifier %s: %.3f +- %.3f adu, residual %.3f +- %.3f adu (%s)",
        amplifier.name,
        statistics[1],
        statistics[2],
        residual.median,
        residual.stdev,
        config.fitType,
    )
    return OverscanResult(model, *statistics, residual_mean, residual.median, residual.stdev)


def record_overscan(frame: Exposure, amplifier: Amplifier, result: OverscanResult) -> dict[str, float]:
    """Write the statistics of an overscan into the metadata of an exposure.

    Returns
    -------
    statistics : `dict` [`str`, `float`]
        The same numbers with the keys of IsrTask's own metadata.
    """
    numbers = {
        "MEAN": (result.mean, result.residual_mean),
        "MEDIAN": (result.median, result.residual_median),
        "STDEV": (result.stdev, result.residual_stdev),
    }
    metadata = frame.metadata
    metadata["LSST ISR OVERSCAN SERIAL UNITS"] = "adu"
    for name, (of_model, _) in numbers.items():
        metadata[f"LSST ISR OVERSCAN SERIAL {name} {amplifier.name}"] = of_model
    for name, (_, of_residual) in numbers.items():
        metadata[f"LSST ISR OVERSCAN RESIDUAL SERIAL {name} {amplifier.name}"] = of_residual
    metadata["OVERSCAN"] = "Overscan corrected"
    statistics = {f"FIT {name} {amplifier.name}": pair[0] for name, pair in numbers.items()}
    statistics |= {f"RESIDUAL {name} {amplifier.name}": pair[1] for name, pair in numbers.items()}
    return statistics


def _constant(image: npt.NDArray[np.float32], rejected: Flags, config: OverscanConfig) -> float:
    """One level for the whole overscan; 0 if there is no usable pixel."""
    mask = rejected.astype(np.int32)
    if rejected.all():
        return 0.0
    if config.fitType == "MEDIAN":
        return median(image, mask, bits=1)
    if config.fitType == "MEAN":
        return mean(image, mask, bits=1)
    return clipped_statistics(image, mask, 1, config.numSigmaClip).mean


def _row_model(image: npt.NDArray[np.float32], rejected: Flags, config: OverscanConfig) -> Vector:
    """One level per row; 0 if there is no usable pixel."""
    usable = ~rejected & ~_row_outliers(image, config.numSigmaClip)
    if not usable.any():
        return np.zeros(len(image))
    if config.fitType == "MEDIAN_PER_ROW":
        return _fill_rows(_row_medians(image, usable, config.overscanIsInt), usable.any(axis=1))
    with np.errstate(invalid="ignore"):
        collapsed = np.sum(image, axis=1, where=usable, dtype=np.float64) / usable.sum(axis=1)
    # Rows without a usable pixel count as 0 until it is their turn (spec, correction 1).
    collapsed[~usable.any(axis=1)] = 0.0
    collapsed = _fill_rows(collapsed, usable.any(axis=1))
    at = 2.0 * np.arange(len(collapsed)) / len(collapsed) - 1.0
    if config.fitType in POLYNOMIALS:
        fit, evaluate_polynomial = POLYNOMIALS[config.fitType]
        return np.asarray(evaluate_polynomial(at, fit(at, collapsed, config.order)))
    return _spline_model(at, collapsed, config)


def _row_outliers(image: npt.NDArray[np.float32], num_sigma: float) -> Flags:
    """Pixels too far from the median of their row, all pixels of a row counting.

    The sigma of a row is 0.74 times its interquartile range; a sigma more
    than twice the median sigma (a bleed in the row) is replaced by the latter.
    """
    lower, centre, upper = np.percentile(image, (25.0, 50.0, 75.0), axis=1)
    sigma = 0.74 * (upper - lower)
    typical = np.median(sigma)
    sigma = np.where(sigma > 2.0 * typical, typical, sigma)
    outliers: Flags = np.abs(image - centre[:, np.newaxis]) > num_sigma * sigma[:, np.newaxis]
    return outliers


def _fill_rows(level: Vector, usable: Flags) -> Vector:
    """Fill rows without a usable pixel from the rows around them.

    A run [a, b) of such rows gets the median (NaN ignored) of up to five rows
    on either side, or of all usable rows if it has no such neighbours.
    """
    default = float(np.median(level[usable]))
    n = len(level)
    edges = np.flatnonzero(np.diff(np.concatenate(([False], ~usable, [False])).astype(np.int8)))
    for first, last in edges.reshape(-1, 2):
        before = level[first - NEIGHBOURS : first] if first > NEIGHBOURS else level[:0]
        after = level[last : last + NEIGHBOURS] if last < n - NEIGHBOURS else level[:0]
        around = np.concatenate((before, after))
        around = around[~np.isnan(around)]
        if first > NEIGHBOURS or last < n - NEIGHBOURS:
            level[first:last] = np.median(around) if len(around) else np.nan
        else:
            level[first:last] = default
    return level


def _spline_model(at: Vector, collapsed: Vector, config: OverscanConfig) -> Vector:
    """A spline through the means of ``config.order`` equal bins of rows."""
    counts, _ = np.histogram(at, bins=config.order)
    filled = counts > 0
    knot_y = np.histogram(at, bins=config.order, weights=collapsed)[0][filled] / counts[filled]
    if len(knot_y) < FEWEST_KNOTS:
        log.warning("Overscan: only %d bins with pixels, the level of the first one is used", len(knot_y))
        return np.full(len(at), knot_y[0])
    knot_x = np.histogram(at, bins=config.order, weights=at)[0][filled] / counts[filled]
    return evaluate(SPLINES[config.fitType](knot_x, knot_y), at)


@numba.njit(cache=True, nogil=True)
def _row_medians(image: npt.NDArray[np.float32], usable: Flags, is_integer: bool) -> Vector:
    """Median of the usable pixels of each row; NaN where there is none.

    For integers the median is interpolated inside the median's value: with v
    the value of rank (n - 1) // 2, ``v - 0.5 + (n / 2 - #(< v)) / #(= v)``
    (spec, correction 4).
    """
    medians = np.full(image.shape[0], np.nan)
    for y in range(image.shape[0]):
        values = np.sort(image[y][usable[y]])
        n = len(values)
        if n == 0:
            continue
        if is_integer:
            value = values[(n - 1) // 2]
            below = np.searchsorted(values, value, side="left")
            equal = np.searchsorted(values, value, side="right") - below
            medians[y] = value - 0.5 + (0.5 * n - below) / equal
        else:
            medians[y] = 0.5 * (np.float64(values[(n - 1) // 2]) + np.float64(values[n // 2]))
    return medians
