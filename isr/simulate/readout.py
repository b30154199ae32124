"""From electrons to the numbers of the A/D converter."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from isr.camera import Amplifier, Detector
from isr.errors import ConfigError
from isr.simulate.config import SimulationConfig, read_noise

__all__ = ["add_crosstalk", "full_well", "nonlinear_response", "overscan_levels", "read_out"]

SATURATION_MARGIN = 100.0
"""How far above its saturation level a pixel at the full well is read, ADU: more than
all that is added later can take away, so that it is found saturated."""


def nonlinear_response(signal: npt.NDArray[np.float32], amplifier: Amplifier) -> npt.NDArray[np.float32]:
    """Return what a non-linear amplifier makes of a linear signal.

    The inverse of the correction ``linear = x + c0 * x**2`` (spec section
    4.8): x = 2 s / (1 + sqrt(1 + 4 c0 s)).

    Parameters
    ----------
    signal : `numpy.ndarray`, float32
        Linear signal, ADU.
    amplifier : `isr.camera.Amplifier`
        Its ``linearity_coeffs[0]`` is c0 (1/ADU) if its type is "Squared".

    Returns
    -------
    response : `numpy.ndarray`, float32
        Signal as it is read, ADU.

    Raises
    ------
    ConfigError
        If the amplifier has another model of linearity.
    """
    if amplifier.linearity_type == "None":
        return signal
    if amplifier.linearity_type != "Squared":
        raise ConfigError(
            f"Amplifier {amplifier.name!r} has linearity type {amplifier.linearity_type!r}; "
            "only 'Squared' and 'None' can be simulated: set linearity=False."
        )
    exact = signal.astype(np.float64)
    root = np.sqrt(np.maximum(1.0 + 4.0 * amplifier.linearity_coeffs[0] * exact, 0.0))
    return (2.0 * exact / (1.0 + root)).astype(np.float32)


def full_well(amplifier: Amplifier, config: SimulationConfig) -> float:
    """Return the full well of an amplifier in electrons.

    It is the signal between the overscan level and the saturation level of
    the camera description, plus a margin of 100 ADU (`SATURATION_MARGIN`).
    Infinite without saturation.
    """
    level = amplifier.saturation - config.overscan_level + SATURATION_MARGIN
    if not config.saturation or not np.isfinite(level):
        return float("inf")
    if config.linearity and amplifier.linearity_type == "Squared":
        level *= 1.0 + amplifier.linearity_coeffs[0] * level
    return float(np.ceil(level * amplifier.gain))


def add_crosstalk(
    image: npt.NDArray[np.float32], detector: Detector, matrix: npt.NDArray[np.float64]
) -> None:
    """Add the ghosts of all amplifiers to each other, in place.

    The correction (spec section 4.9) computes, per pixel and amplifier,
    ``v_t - sum_s C[s, t] v_s`` with v = image - background and amplifiers
    mirrored to the same readout corner. Here its exact inverse is applied:
    v = (1 - C^T)^-1 u.

    Parameters
    ----------
    image : `numpy.ndarray`, (ny, nx), float32
        Assembled image, ADU, bias subtracted.
    detector : `isr.camera.Detector`
        Its amplifiers must all be of one size.
    matrix : `numpy.ndarray`, (n_amps, n_amps), float64
        Coefficients C[source, target].

    Raises
    ------
    ConfigError
        If matrix and amplifiers do not fit.
    """
    amps = detector.amplifiers
    if matrix.shape != (len(amps), len(amps)) or len({amp.bbox.shape for amp in amps}) != 1:
        raise ConfigError(
            f"Crosstalk: a matrix of shape {matrix.shape} for the {len(amps)} amplifiers of detector "
            f"{detector.id}, of sizes {sorted({amp.bbox.shape for amp in amps})}; one row and column per "
            "amplifier and amplifiers of one size are needed."
        )
    background = np.median(image)
    views = [image[amp.bbox.slices][_from_corner(amp)] for amp in amps]
    mixing = np.linalg.inv(np.eye(len(amps)) - matrix.T) - np.eye(len(amps))
    originals = [view - background for view in views]
    for view, weights in zip(views, mixing, strict=True):
        for weight, source in zip(weights, originals, strict=True):
            view += np.float32(weight) * source


def _from_corner(amp: Amplifier) -> tuple[slice, slice]:
    """Index that puts the pixel next to the readout corner at [0, 0]."""
    upwards = slice(None, None, 1 if amp.readout_corner.startswith("L") else -1)
    rightwards = slice(None, None, 1 if amp.readout_corner.endswith("L") else -1)
    return upwards, rightwards


def overscan_levels(
    detector: Detector, config: SimulationConfig, rng: np.random.Generator
) -> npt.NDArray[np.float64]:
    """Return the electronic level of each amplifier in each raw row.

    Parameters
    ----------
    detector : `isr.camera.Detector`
        The detector.
    config : `SimulationConfig`
        Level and amplitude of its drift.
    rng : `numpy.random.Generator`
        Source of randomness.

    Returns
    -------
    levels : `numpy.ndarray`, (n_amps, raw rows), float64
        ADU; a constant, a ramp and a sine wave of a fifth of it over the rows.
    """
    t = np.arange(detector.raw_shape[0]) / detector.raw_shape[0]
    levels = np.empty((len(detector.amplifiers), len(t)))
    for level in levels:
        level[:] = config.overscan_level + rng.uniform(-30.0, 30.0)
        level += rng.choice((-1.0, 1.0)) * config.overscan_drift * (2.0 * t - 1.0)
        level += config.overscan_drift / 5.0 * np.sin(2.0 * np.pi * t + rng.uniform(0.0, 2.0 * np.pi))
    return levels


def read_out(
    image: npt.NDArray[np.float32],
    levels: npt.NDArray[np.float64],
    detector: Detector,
    config: SimulationConfig,
    streams: Mapping[str, np.random.Generator],
) -> npt.NDArray[np.uint16]:
    """Put the signal of the pixels on the electronic level and digitise it.

    Prescans and overscans hold level and read noise only.

    Parameters
    ----------
    image : `numpy.ndarray`, (ny, nx), float32
        Assembled signal, ADU, bias structure included.
    levels : `numpy.ndarray`, (n_amps, raw rows), float64
        Electronic levels, ADU.
    detector : `isr.camera.Detector`
        The detector.
    config : `SimulationConfig`
        Read noise and outliers in the overscan.
    streams : `~collections.abc.Mapping` [`str`, `numpy.random.Generator`]
        Generators; ``readout`` is used.

    Returns
    -------
    raw : `numpy.ndarray`, (raw rows, raw columns), uint16
        Raw pixels in the flipped frame.
    """
    rng = streams["readout"]
    raw = np.zeros(detector.raw_shape, np.float32)
    for amp, level in zip(detector.amplifiers, levels, strict=True):
        strip = raw[amp.raw_bbox.slices]
        if config.noise:
            rng.standard_normal(out=(values := np.empty(strip.shape, np.float32)), dtype=np.float32)
            strip += np.float32(read_noise(amp, config) / amp.gain) * values
        strip += level[amp.raw_bbox.y0 : amp.raw_bbox.y1, None].astype(np.float32)
        raw[amp.raw_data_bbox.slices] += image[amp.bbox.slices][raw_orientation(amp)]
        overscan = raw[amp.raw_serial_overscan_bbox.slices]
        for _ in range(config.overscan_outliers):
            overscan[rng.integers(overscan.shape[0]), rng.integers(overscan.shape[1])] += np.float32(
                rng.uniform(200.0, 5000.0)
            )
    np.rint(raw, out=raw)
    np.clip(raw, 0.0, 65535.0, out=raw)
    return raw.astype(np.uint16)


def raw_orientation(amp: Amplifier) -> tuple[slice, slice]:
    """Index that turns assembled pixels of an amplifier to raw order, and back."""
    return slice(None, None, -1 if amp.raw_flip_y else 1), slice(None, None, -1 if amp.raw_flip_x else 1)
