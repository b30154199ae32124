"""Stray light of HSC's rotator encoder (spec section 4.14)."""

from __future__ import annotations

import logging
import math

import numba
import numpy as np
import numpy.typing as npt

from isr.calibs import StrayLight
from isr.config import IsrConfig
from isr.errors import CalibMismatchError, ProcessingError
from isr.exposure import Exposure
from isr.hsc.rotator import rotator_angles
from isr.hsc.stray_light_rule import AMPLIFIERS_WITHOUT_MODEL
from isr.numerics.periodic_spline import mean_weights, value_weights
from isr.numerics.wavelets import compressed_size, expand

__all__ = ["stray_light_model", "subtract_stray_light"]

log = logging.getLogger(__name__)

ANGLES = 720
"""Rotator angles of an uncompressed model, half a degree apart."""

Image = npt.NDArray[np.float32]


def subtract_stray_light(exposure: Exposure, stray_light: StrayLight, config: IsrConfig) -> None:
    """Subtract the stray light for the way of the rotator during the exposure.

    Parameters
    ----------
    exposure : `isr.exposure.Exposure`
        Assembled exposure (ADU), changed in place: the image, and SUSPECT on
        amplifiers that have no model (they get the median of the others).
    stray_light : `isr.calibs.StrayLight`
        The model of the detector; ADU per second.
    config : `isr.config.IsrConfig`
        ``strayLight.doRotatorAngleCorrection``: mean over the rotator's way,
        computed from the pointing; else the model at the header's INR-STR.

    Raises
    ------
    CalibMismatchError
        If the model does not fit the detector or is not finite.
    ProcessingError
        If the rotator angle or the exposure time is not known.
    """
    info = exposure.visit_info
    if not 0.0 <= info.exposure_time < math.inf:
        raise ProcessingError(
            f"Visit {info.visit}: the exposure time is {info.exposure_time}, so the stray light cannot be "
            "scaled; mend EXPTIME in the raw header or set doStrayLight=False."
        )
    if config.strayLight.doRotatorAngleCorrection:
        start, end = rotator_angles(info)
    else:
        start = end = _header_angle(exposure)
    model = stray_light_model(exposure, stray_light, start, end)
    level = _fill_without_model(exposure, model)
    _subtract(exposure.image, model, np.float32(info.exposure_time))
    filled = "" if level is None else f"; amplifiers without a model got {level:.6g} ADU/s"
    log.info(
        "Stray light %s subtracted for rotator angles %.4f to %.4f%s",
        stray_light.info.name, start, end, filled,
    )  # fmt: skip


def stray_light_model(exposure: Exposure, stray_light: StrayLight, start: float, end: float) -> Image:
    """Expand the compressed model to an image of the detector.

    Parameters
    ----------
    exposure : `isr.exposure.Exposure`
        Tells the place of the amplifiers.
    stray_light : `isr.calibs.StrayLight`
        Wavelet coefficients of each amplifier.
    start, end : `float`
        Rotator angles, degree. The model is the mean between them, or the
        value there if they are equal.

    Returns
    -------
    model : `numpy.ndarray`, (ny, nx), float32
        ADU per second.

    Raises
    ------
    CalibMismatchError
        If the model does not fit the detector or is not finite.

    Notes
    -----
    Expansion along the angle and spline are linear in the coefficients, so
    they act on a unit vector for each layer only once, not on each pixel.
    """
    _check(exposure, stray_light)
    level_x, level_y, level_angle = stray_light.levels
    per_degree = ANGLES / 360.0
    if start == end:
        weights = value_weights(ANGLES, start * per_degree)
    else:
        weights = mean_weights(ANGLES, start * per_degree, end * per_degree)
    layers = compressed_size(ANGLES, level_angle)
    weights = expand(np.eye(layers), ANGLES, level_angle, periodic=True) @ weights
    rows, columns = stray_light.shape
    model = np.empty(exposure.shape, np.float32)
    for amplifier, cube in zip(exposure.detector.amplifiers, stray_light.cubes, strict=True):
        coarse = np.tensordot(weights, cube, 1)
        tall = expand(np.ascontiguousarray(coarse.T), rows, level_y).T
        model[amplifier.bbox.slices] = expand(np.ascontiguousarray(tall), columns, level_x)
    return model


def _header_angle(exposure: Exposure) -> float:
    found = exposure.metadata.get("INR-STR")
    try:
        angle = float(found)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        angle = math.nan
    if not math.isfinite(angle):
        raise ProcessingError(
            f"Visit {exposure.visit_info.visit}: header keyword INR-STR is {found!r}, expected an angle in "
            "degree; set strayLight.doRotatorAngleCorrection=True to compute it, or doStrayLight=False."
        )
    return angle


def _check(exposure: Exposure, stray_light: StrayLight) -> None:
    detector, name = exposure.detector, stray_light.info.name
    level_x, level_y, level_angle = stray_light.levels
    rows, columns = stray_light.shape
    expected = {amplifier.bbox.shape for amplifier in detector.amplifiers}
    if len(stray_light.cubes) != len(detector.amplifiers) or expected != {(rows, columns)}:
        raise CalibMismatchError(
            f"yBackground {name}: {len(stray_light.cubes)} amplifiers of {rows} x {columns} pixels (rows, "
            f"columns), but detector {detector.id} has {len(detector.amplifiers)} of {sorted(expected)}; use "
            "the file of this detector."
        )
    if min(stray_light.levels) < 0 or ANGLES % 2**level_angle:
        raise CalibMismatchError(
            f"yBackground {name}: wavelet levels WTLEVEL1-3 are {stray_light.levels}, expected none "
            f"negative, and {ANGLES} angles a multiple of 2**WTLEVEL3; the file is damaged."
        )
    size = (
        compressed_size(ANGLES, level_angle),
        compressed_size(rows, level_y),
        compressed_size(columns, level_x),
    )
    for i, cube in enumerate(stray_light.cubes):
        if cube.shape != size or not np.isfinite(cube).all():
            bad = cube.size - int(np.isfinite(cube).sum())
            raise CalibMismatchError(
                f"yBackground {name}: HDU {i} is {cube.shape} (angle, y, x) with {bad} values that are not "
                f"finite, expected {size} and none; the file is damaged."
            )


def _fill_without_model(exposure: Exposure, model: Image) -> float | None:
    """Give amplifiers without a model the median of the others; returns it, `None` if all have one."""
    missing = AMPLIFIERS_WITHOUT_MODEL.get(exposure.detector.id, ())
    if not missing:
        return None
    amplifiers = exposure.detector.amplifiers
    others = [model[amp.bbox.slices].ravel() for i, amp in enumerate(amplifiers) if i not in missing]
    level = float(np.median(np.concatenate(others))) if others else 0.0
    suspect = np.int32(exposure.planes.bitmask("SUSPECT"))
    for i in missing:
        view = amplifiers[i].bbox.slices
        model[view] = level
        exposure.mask[view] |= suspect
    return level


@numba.njit(cache=True, nogil=True)
def _subtract(image: Image, model: Image, exposure_time: np.float32) -> None:
    for y in range(image.shape[0]):
        for x in range(image.shape[1]):
            image[y, x] -= model[y, x] * exposure_time
