"""Crosstalk between the amplifiers of a detector (spec section 4.9)."""

from __future__ import annotations

import logging
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from isr.calibs import Crosstalk
from isr.camera import Detector
from isr.config import IsrConfig
from isr.errors import CalibMismatchError, CameraError, ConfigError
from isr.exposure import Exposure
from isr.numerics.rounding import at_least
from isr.numerics.statistics import median

__all__ = ["crosstalk_coefficients", "subtract_crosstalk"]

log = logging.getLogger(__name__)

Image = npt.NDArray[np.float32]
Mask = npt.NDArray[np.int32]
Matrix = npt.NDArray[np.float64]


def subtract_crosstalk(exposure: Exposure, crosstalk: Crosstalk | None, config: IsrConfig) -> int:
    """Subtract from each amplifier what it sees of the others.

    Parameters
    ----------
    exposure : `isr.exposure.Exposure`
        Assembled exposure (ADU), changed in place.
    crosstalk : `isr.calibs.Crosstalk` or `None`
        Coefficients; `None`: those of the configuration.
    config : `isr.config.IsrConfig`
        ``crosstalk.*`` and ``crosstalkTransposed``.

    Returns
    -------
    masked : `int`
        Number of pixels masked because a source of theirs is bright.

    Raises
    ------
    CalibMismatchError
        If the coefficients are not a finite number for each pair of amplifiers.
    CameraError
        If the amplifiers differ in size.
    ConfigError
        If there are no coefficients, or not as many as the shape says.

    Notes
    -----
    All sources are the uncorrected image: one pass. Amplifiers are compared in
    the order of readout: a source is mirrored if its readout corner lies on
    the other side. From a target goes the sum, in the order of the sources, of
    ``C[source, target] * (source - background)``, all in float32; the variance
    grows by ``C**2`` times the source's. Targets of a source that is at least
    ``minPixelToMask`` above the median of the detector get the plane
    ``crosstalkMaskPlane``; the sources themselves do not.
    """
    detector = exposure.detector
    coeffs = crosstalk_coefficients(detector, crosstalk, config)
    settings = config.crosstalk
    backgrounds, level = _backgrounds(exposure, settings.crosstalkBackgroundMethod)
    unknown = [
        amp.name for amp, value in zip(detector.amplifiers, backgrounds, strict=True) if value != value
    ]
    if unknown:
        log.warning(
            "Crosstalk: amplifiers %s have no usable pixel to measure a background: ignored as sources",
            ", ".join(unknown),
        )
        coeffs = np.where(np.isnan(backgrounds)[:, np.newaxis], 0.0, coeffs)
    known = settings.crosstalkMaskPlane in exposure.planes
    bit = 1 << exposure.planes.add(settings.crosstalkMaskPlane)
    masked = _subtract(
        exposure.image,
        exposure.mask,
        exposure.variance,
        _geometry(detector),
        coeffs.astype(np.float32),
        (coeffs * coeffs).astype(np.float32),
        np.where(np.isnan(backgrounds), 0.0, backgrounds).astype(np.float32),
        at_least(settings.minPixelToMask + level),
        np.int32(bit),
        known,
    )
    exposure.metadata["LSST ISR CROSSTALK APPLIED"] = True
    log.info(
        "Crosstalk: background %s %.2f adu, largest coefficient %.3g, %d pixels masked",
        settings.crosstalkBackgroundMethod,
        level,
        np.abs(coeffs).max(),
        masked,
    )
    return int(masked)


def crosstalk_coefficients(detector: Detector, crosstalk: Crosstalk | None, config: IsrConfig) -> Matrix:
    """Return the coefficients in use: of a calibration, else of the configuration.

    Parameters
    ----------
    detector : `isr.camera.Detector`
        The detector.
    crosstalk : `isr.calibs.Crosstalk` or `None`
        The calibration.
    config : `isr.config.IsrConfig`
        ``crosstalk.crosstalkValues``, ``crosstalkShape``,
        ``useConfigCoefficients``; ``crosstalkTransposed`` swaps the indices
        of either kind.

    Returns
    -------
    coeffs : `numpy.ndarray`, (n, n), float64
        By source and target.

    Raises
    ------
    CalibMismatchError, ConfigError
        See `subtract_crosstalk`.
    """
    settings: Any = config.crosstalk
    n = len(detector.amplifiers)
    where = f"detector {detector.id} ({detector.name})"
    if crosstalk is not None:
        name, coeffs = f"crosstalk {crosstalk.info.name}", np.array(crosstalk.coeffs, np.float64)
    elif settings.useConfigCoefficients:
        name, values, shape = "crosstalk.crosstalkValues", settings.crosstalkValues, settings.crosstalkShape
        if len(values) != np.prod(shape):
            raise ConfigError(
                f"{name} has {len(values)} values, but crosstalk.crosstalkShape is {list(shape)}: give "
                "amplifiers x amplifiers values, and this shape."
            )
        coeffs = np.array(values, np.float64).reshape(tuple(shape))
    else:
        raise ConfigError(
            f"doCrosstalk is on, but there are no coefficients for {where}: give a crosstalk calibration, or "
            "set crosstalk.crosstalkValues, crosstalkShape and useConfigCoefficients=True, or "
            "doCrosstalk=False."
        )
    if coeffs.shape != (n, n) or not np.isfinite(coeffs).all():
        bad = np.argwhere(~np.isfinite(coeffs)).tolist()
        raise CalibMismatchError(
            f"{name}: shape {coeffs.shape}, not finite at [source, target] {bad}; expected {(n, n)} finite "
            f"numbers for the {n} amplifiers of {where}; give the right ones."
        )
    return np.ascontiguousarray(coeffs.T) if config.crosstalkTransposed else coeffs


def _backgrounds(exposure: Exposure, method: str) -> tuple[Matrix, float]:
    """Return the background of each amplifier, and the median of the detector."""
    bad = exposure.planes.bitmask("BAD")
    level = median(exposure.image, exposure.mask, bad)
    if method == "DETECTOR":
        values = [level] * len(exposure.detector.amplifiers)
    elif method == "AMP":
        values = [median(view.image, view.mask, bad) for _, view in exposure.amplifiers()]
    else:
        values = [0.0] * len(exposure.detector.amplifiers)
    return np.array(values), level


def _geometry(detector: Detector) -> npt.NDArray[np.int64]:
    """Return x0, y0, width, height, whether read from the right, whether from the top, by amplifier."""
    boxes = [amp.bbox for amp in detector.amplifiers]
    if len({box.shape for box in boxes}) > 1:
        raise CameraError(
            f"Detector {detector.id} ({detector.name}): crosstalk needs amplifiers of one size, found "
            f"{[box.shape for box in boxes]}; set doCrosstalk=False."
        )
    corners = [amp.readout_corner for amp in detector.amplifiers]
    return np.array(
        [(*box, c[1] == "R", c[0] == "U") for box, c in zip(boxes, corners, strict=True)], np.int64
    )


@numba.njit(cache=True, nogil=True)
def _subtract(
    image: Image,
    mask: Mask,
    variance: Image,
    geometry: npt.NDArray[np.int64],
    coeffs: Image,
    squares: Image,
    backgrounds: Image,
    threshold: np.float32,
    bit: np.int32,
    known: bool,
) -> int:
    """Correct row after row, counted as read out; a row of all amplifiers is copied before it is changed."""
    n = len(geometry)
    width, height = geometry[0, 2], geometry[0, 3]
    sources = np.empty((n, width), np.float32)
    source_variances = np.empty((n, width), np.float32)
    bright = np.zeros((n, width), np.bool_)
    any_bright = np.zeros(n, np.bool_)
    signal = np.empty(width, np.float32)
    ghost = np.empty(width, np.bool_)
    masked = 0
    for row in range(height):
        for s in range(n):
            x0, y0, from_right, from_top = geometry[s, 0], geometry[s, 1], geometry[s, 4], geometry[s, 5]
            y = y0 + (height - 1 - row if from_top else row)
            _copy(image[y, x0 : x0 + width], from_right, sources[s])
            _copy(variance[y, x0 : x0 + width], from_right, source_variances[s])
            any_bright[s] = _find_bright(sources[s], threshold, backgrounds[s], bright[s])
            if known:  # a calibration's mask may hold the plane; it counts as a bright source
                any_bright[s] |= _find_masked(mask[y, x0 : x0 + width], bit, from_right, bright[s]) > 0
        for t in range(n):
            x0, y0, from_right, from_top = geometry[t, 0], geometry[t, 1], geometry[t, 4], geometry[t, 5]
            y = y0 + (height - 1 - row if from_top else row)
            _sum(coeffs[:, t], sources, signal)
            _subtract_row(image[y, x0 : x0 + width], from_right, np.float32(1.0), signal)
            _sum(squares[:, t], source_variances, signal)
            _subtract_row(variance[y, x0 : x0 + width], from_right, np.float32(-1.0), signal)
            ghost[:] = False
            any_ghost = False
            for s in range(n):
                if coeffs[s, t] != 0.0 and any_bright[s]:
                    any_ghost = True
                    ghost |= bright[s]
            if known or any_ghost:
                masked += _mask_row(mask[y, x0 : x0 + width], bit, from_right, ghost)
    return masked


@numba.njit(cache=True, nogil=True)
def _copy(row: Image, from_right: int, out: Image) -> None:
    last = len(row) - 1
    if from_right:
        for x in range(len(row)):
            out[x] = row[last - x]
    else:
        for x in range(len(row)):
            out[x] = row[x]


@numba.njit(cache=True, nogil=True)
def _find_bright(
    source: Image, threshold: np.float32, background: np.float32, bright: npt.NDArray[np.bool_]
) -> bool:
    """Find the bright pixels of a source, and take the background off it."""
    found = np.int32(0)
    for x in range(len(source)):
        bright[x] = source[x] >= threshold
        found += np.int32(source[x] >= threshold)
        source[x] -= background
    return bool(found > 0)


@numba.njit(cache=True, nogil=True)
def _find_masked(row: Mask, bit: np.int32, from_right: int, bright: npt.NDArray[np.bool_]) -> int:
    last = len(row) - 1
    found = 0
    for x in range(len(row)):
        bright[x] |= (row[last - x if from_right else x] & bit) != 0
        found += int(bright[x])
    return found


@numba.njit(cache=True, nogil=True)
def _sum(factors: Image, sources: Image, total: Image) -> None:
    """Sum the scaled sources, in their order, in float32."""
    total[:] = np.float32(0.0)
    for s in range(len(factors)):
        factor = factors[s]
        if factor != 0.0:
            for x in range(len(total)):
                total[x] += factor * sources[s, x]


@numba.njit(cache=True, nogil=True)
def _subtract_row(row: Image, from_right: int, sign: np.float32, values: Image) -> None:
    last = len(row) - 1
    if from_right:
        for x in range(len(row)):
            row[last - x] -= sign * values[x]
    else:
        for x in range(len(row)):
            row[x] -= sign * values[x]


@numba.njit(cache=True, nogil=True)
def _mask_row(row: Mask, bit: np.int32, from_right: int, ghost: npt.NDArray[np.bool_]) -> int:
    """Set the plane where there is a ghost and nowhere else; returns how many."""
    last = len(row) - 1
    count = 0
    for x in range(len(row)):
        place = last - x if from_right else x
        row[place] = (row[place] & ~bit) | (bit if ghost[x] else np.int32(0))
        count += int(ghost[x])
    return count
