"""Calibration frames of the simulated instrument."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from isr.calibs import CalibImage, CalibInfo, Calibs, Defects
from isr.camera import Box, Detector
from isr.simulate.config import SimulationConfig, random_streams, reference_gain

__all__ = ["fringe_frame", "simulate_calibs"]

VIGNETTING_RADIUS = 262.5
"""Focal-plane radius in mm at which ``SimulationConfig.vignetting`` is reached (spec section 2)."""

FRINGE_SCALE = 25.0
"""Pixels that two fringes are apart if the tilt of the layer is 1 in one direction."""


def simulate_calibs(
    detector: Detector, physical_filter: str, config: SimulationConfig, defects: Defects | None = None
) -> Calibs:
    """Make the noise-free bias, dark, flat and defects of a detector.

    They do not depend on the visit, only on seed, detector and (flat) filter.

    The flat is what LSST's calibration pipeline makes of frames in ADU: it
    contains the illumination, the pixel response *and* the ratios of the
    amplifiers' gains,

        flat = illumination * response * reference_gain / gain

    so that an image divided by it is on one scale, electrons /
    ``reference_gain``, without steps between amplifiers. Its mean is about 1
    (less where the telescope vignettes).

    Parameters
    ----------
    detector : `isr.camera.Detector`
        The detector.
    physical_filter : `str`
        Filter of the flat.
    config : `SimulationConfig`
        Strength of the effects.
    defects : `isr.calibs.Defects`, optional
        Bad pixels; by default some random columns and pixels.

    Returns
    -------
    calibs : `isr.calibs.Calibs`
        Bias (ADU), dark (ADU per second, dark time 1 s), flat and defects,
        without variance; valid at any date.
    """
    keys = (config.seed, detector.id)
    return Calibs(
        bias=CalibImage(
            info=_info("bias", detector, unit="adu"),
            image=bias_structure(detector, config, random_streams("bias", *keys)["response"]),
        ),
        dark=CalibImage(
            info=_info("dark", detector, unit="adu"), image=_dark(detector, config), dark_time=1.0
        ),
        flat=CalibImage(
            info=_info("flat", detector, physical_filter=physical_filter),
            image=_flat(detector, config, random_streams("flat", *keys, physical_filter)["response"]),
        ),
        defects=defects or _random_defects(detector, random_streams("defects", *keys)["defects"]),
    )


def _info(kind: str, detector: Detector, unit: str = "", physical_filter: str = "") -> CalibInfo:
    return CalibInfo(kind=kind, detector=detector.id, unit=unit, physical_filter=physical_filter)


def bias_structure(
    detector: Detector, config: SimulationConfig, rng: np.random.Generator
) -> npt.NDArray[np.float32]:
    """Return what is left of the bias after the overscan is subtracted.

    Per amplifier: a level of its columns (random, and a rise towards the
    first column that is read) and a slow bend along the rows.

    Parameters
    ----------
    detector : `isr.camera.Detector`
        The detector.
    config : `SimulationConfig`
        ``bias_structure`` scales the result.
    rng : `numpy.random.Generator`
        Source of randomness.

    Returns
    -------
    bias : `numpy.ndarray`, (ny, nx), float32
        ADU.
    """
    bias = np.zeros(detector.shape, np.float32)
    for amp in detector.amplifiers:
        height, width = amp.bbox.shape
        from_readout = np.arange(width)[:: 1 if amp.readout_corner.endswith("L") else -1]
        columns = rng.normal(0.0, 0.3, width) + 2.0 * np.exp(-from_readout / 20.0)
        bend = rng.uniform(-1.0, 1.0) * (np.linspace(-1.0, 1.0, height) ** 2 - 0.5)
        bias[amp.bbox.slices] = config.bias_structure * (columns[None, :] + bend[:, None])
    return bias


def _dark(detector: Detector, config: SimulationConfig) -> npt.NDArray[np.float32]:
    dark = np.zeros(detector.shape, np.float32)
    height = np.linspace(0.8, 1.2, detector.shape[0])[:, None]  # amplifier glow at one end
    for amp in detector.amplifiers:
        rows = height[amp.bbox.y0 : amp.bbox.y1]
        dark[amp.bbox.slices] = config.dark_current / amp.gain * rows
    return dark


def _flat(detector: Detector, config: SimulationConfig, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    flat = rng.standard_normal(detector.shape, np.float32)
    flat *= np.float32(config.flat_scatter)
    flat += np.float32(1.0)
    flat *= _illumination(detector, config)
    reference = reference_gain(detector, config)
    for amp in detector.amplifiers:
        flat[amp.bbox.slices] *= np.float32(reference / amp.gain)
    return flat


def _illumination(detector: Detector, config: SimulationConfig) -> npt.NDArray[np.float32]:
    """Light relative to the centre of the focal plane, quadratic in the radius.

    A detector without a place in the focal plane is put half-way to the edge.
    """
    if np.isfinite([*detector.focal_plane_position, *detector.reference_pixel, detector.pixel_size]).all():
        position, reference, scale = (
            detector.focal_plane_position,
            detector.reference_pixel,
            detector.pixel_size,
        )
    else:
        position, reference, scale = (VIGNETTING_RADIUS / 2.0, 0.0), (0.0, 0.0), 0.015
    ny, nx = detector.shape
    dx = scale * (np.arange(nx) - reference[0])[None, :]
    dy = scale * (np.arange(ny) - reference[1])[:, None]
    yaw = np.radians(detector.yaw)
    # |position + R(yaw) d|^2, written out so that only one full-size array is made
    along_x = 2.0 * (position[0] * np.cos(yaw) + position[1] * np.sin(yaw))
    along_y = 2.0 * (position[1] * np.cos(yaw) - position[0] * np.sin(yaw))
    constant = position[0] ** 2 + position[1] ** 2
    columns = constant + dx * (dx + along_x)
    rows = dy * (dy + along_y)
    loss = config.vignetting / VIGNETTING_RADIUS**2
    illumination: npt.NDArray[np.float32] = (1.0 - loss * columns).astype(np.float32) - (loss * rows).astype(
        np.float32
    )
    # No zero or negative flat far outside.
    np.maximum(illumination, np.float32(0.05), out=illumination)
    return illumination


def _random_defects(detector: Detector, rng: np.random.Generator) -> Defects:
    ny, nx = detector.shape
    boxes = [(int(rng.integers(nx)), int(y0), 1, ny - int(y0)) for y0 in rng.integers(0, ny, 1 + nx // 200)]
    boxes += [(int(rng.integers(nx - 1)), int(rng.integers(ny - 1)), 2, 2) for _ in range(5)]
    return Defects(_info("defects", detector), np.array(boxes, np.int32).reshape(-1, 4))


def fringe_frame(detector: Detector, physical_filter: str, config: SimulationConfig) -> CalibImage:
    """Make the fringe pattern of a detector.

    Parameters
    ----------
    detector : `isr.camera.Detector`
        The detector.
    physical_filter : `str`
        Filter of the pattern.
    config : `SimulationConfig`
        Only the seed is used: the amplitude belongs to the exposure.

    Returns
    -------
    fringe : `isr.calibs.CalibImage`
        Curved fringes between -1 and 1, in a flat-fielded frame. They are 18
        to 59 pixels apart, so that the boxes of 60 pixels in which LSST's
        method finds the local level (spec section 4.16) hold a whole fringe.
    """
    rng = random_streams("fringe", config.seed, detector.id, physical_filter)["response"]
    ny, nx = detector.shape
    x = np.arange(nx)[None, :] / FRINGE_SCALE
    y = np.arange(ny)[:, None] / FRINGE_SCALE
    tilt_x, tilt_y = rng.uniform(0.3, 1.0, 2)
    bend = rng.uniform(0.5, 2.0) * (np.sin(x / rng.uniform(2.0, 4.0)) + np.sin(y / rng.uniform(2.0, 4.0)))
    pattern = np.cos(2.0 * np.pi * (tilt_x * x + tilt_y * y) + bend + rng.uniform(0.0, 2.0 * np.pi))
    info = _info("fringe", detector, unit="adu", physical_filter=physical_filter)
    return CalibImage(info, pattern.astype(np.float32))


def defect_mask(defects: Defects | None, shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Return the union of the boxes of ``defects`` as a mask.

    Parameters
    ----------
    defects : `isr.calibs.Defects` or `None`
        Boxes; parts outside the detector are ignored.
    shape : `tuple` [`int`, `int`]
        Shape ``(ny, nx)`` of the detector.

    Returns
    -------
    mask : `numpy.ndarray`, (ny, nx), bool
        True inside any box.
    """
    mask = np.zeros(shape, np.bool_)
    if defects is not None:
        for box in defects.boxes.tolist():
            mask[Box(*box).clipped_to(shape).slices] = True
    return mask
