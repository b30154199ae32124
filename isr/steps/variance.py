"""Gain, read noise and the variance plane (spec sections 4.4 and 4.7)."""

from __future__ import annotations

import logging
import math

import numba
import numpy as np
import numpy.typing as npt

from isr.calibs import CalibImage
from isr.camera import Amplifier, Box
from isr.config import IsrConfig
from isr.exposure import Exposure
from isr.numerics.statistics import clipped_statistics_of

__all__ = ["compute_variance", "gain_and_noise", "record_gains"]

log = logging.getLogger(__name__)


def gain_and_noise(amplifier: Amplifier) -> tuple[float, float]:
    """Return the gain (electron/ADU) and read noise that the steps use.

    A gain or noise that is not a positive, finite number counts as 1 (spec 4.4).
    """
    gain, noise = amplifier.gain, amplifier.read_noise
    return (gain if 0.0 < gain < math.inf else 1.0), (noise if 0.0 < noise < math.inf else 1.0)


def record_gains(exposure: Exposure, unit: str) -> None:
    """Write the gains and read noises in use into the metadata; the noises are in ``unit``."""
    metadata = exposure.metadata
    metadata["LSST ISR GAIN SOURCE"] = "amp"
    metadata["LSST ISR NOISE SOURCE"] = "amp"
    metadata["LSST ISR READNOISE UNITS"] = unit
    for amp in exposure.detector.amplifiers:
        gain, noise = gain_and_noise(amp)
        for prefix in ("LSST ISR", "LSST"):
            metadata[f"{prefix} GAIN {amp.name}"] = gain
            metadata[f"{prefix} READNOISE {amp.name}"] = noise


def compute_variance(
    exposure: Exposure, config: IsrConfig, bias: CalibImage | None = None
) -> dict[str, float]:
    """Set the variance from the signal, the gain and the read noise.

    Parameters
    ----------
    exposure : `isr.exposure.Exposure`
        Assembled, bias-subtracted exposure (ADU); its variance (ADU squared)
        is replaced, and pixels whose variance is not positive are masked if
        ``config.maskNegativeVariance``.
    config : `isr.config.IsrConfig`
        ``maskNegativeVariance``, ``negativeVarianceMaskName``,
        ``readNoiseUnit``, ``keepBiasVariance``, ``qa.saveStats``.
    bias : `isr.calibs.CalibImage`, optional
        The bias that was subtracted; its variance is added if ``keepBiasVariance``.

    Returns
    -------
    statistics : `dict` [`str`, `float`]
        Median and clipped standard deviation of each amplifier's variance.

    Notes
    -----
    ``variance = image / gain + (noise / gain)**2``, with the division done as
    a multiplication by the float32 reciprocal (spec, correction 2). The read
    noise of HSC's camera tables is taken as electrons, although its values
    look like ADU (spec section 9, item 4); ``readNoiseUnit`` tells otherwise.
    The variance that the bias had added before is lost, as in LSST (spec 4.6),
    unless ``keepBiasVariance``.
    """
    bit = 1 << exposure.planes.add(config.negativeVarianceMaskName) if config.maskNegativeVariance else 0
    statistics = {}
    masked = 0
    amplifiers = exposure.detector.amplifiers
    for amp in amplifiers:
        gain, noise = gain_and_noise(amp)
        noise_adu = noise / gain if config.readNoiseUnit == "electron" else noise
        masked += _set_variance(
            exposure.image,
            exposure.mask,
            exposure.variance,
            amp.bbox,
            np.float32(1.0) / np.float32(gain),
            np.float32(math.pow(noise_adu, 2)),
            np.int32(bit),
        )
    if config.qa.saveStats:
        boxes = [amp.bbox for amp in amplifiers]
        found = clipped_statistics_of(exposure.variance, exposure.mask, 0, boxes)
        for amp, of_amp in zip(amplifiers, found, strict=True):
            statistics[f"ISR VARIANCE {amp.name} MEDIAN"] = of_amp.median
            statistics[f"ISR VARIANCE {amp.name} STDEV"] = of_amp.stdev
            log.info("Variance amplifier %s: median %.3f adu^2", amp.name, of_amp.median)
    log.info("Variance: %d pixels with variance <= 0 masked", masked)
    if config.keepBiasVariance and bias is not None and bias.variance is not None:
        exposure.variance += bias.variance
    return statistics


@numba.njit(cache=True, nogil=True)
def _set_variance(
    image: npt.NDArray[np.float32],
    mask: npt.NDArray[np.int32],
    variance: npt.NDArray[np.float32],
    box: Box,
    inverse_gain: np.float32,
    noise_variance: np.float32,
    bit: np.int32,
) -> int:
    x0, y0, width, height = box
    masked = 0
    for y in range(y0, y0 + height):
        pixels, out = image[y, x0 : x0 + width], variance[y, x0 : x0 + width]
        in_row = np.int32(0)
        for x in range(width):  # counting from 0 lets the compiler use vectors
            out[x] = pixels[x] * inverse_gain + noise_variance
            in_row += np.int32(out[x] <= np.float32(0.0))
        if in_row and bit != 0:
            masked += int(in_row)
            for x in range(width):
                if out[x] <= np.float32(0.0):
                    mask[y, x0 + x] |= bit
    return masked
