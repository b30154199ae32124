"""Gain, read noise and the variance plane (spec sections 4.4 and 4.7)."""

from __future__ import annotations

import logging
import math

import numpy as np

from isr.calibs import CalibImage
from isr.camera import Amplifier
from isr.config import IsrConfig
from isr.corrections import corrections_of
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
    amplifiers = exposure.detector.amplifiers
    inverse_gains, noises = (np.empty(len(amplifiers), np.float32) for _ in range(2))
    for k, amp in enumerate(amplifiers):
        gain, noise = gain_and_noise(amp)
        noise_adu = noise / gain if config.readNoiseUnit == "electron" else noise
        inverse_gains[k] = np.float32(1.0) / np.float32(gain)
        noises[k] = math.pow(noise_adu, 2)
    corrections_of(exposure, "variance").variance = inverse_gains, noises, np.int32(bit)
    if config.qa.saveStats:
        boxes = [amp.bbox for amp in amplifiers]
        found = clipped_statistics_of(exposure.variance, exposure.mask, 0, boxes)
        for amp, of_amp in zip(amplifiers, found, strict=True):
            statistics[f"ISR VARIANCE {amp.name} MEDIAN"] = of_amp.median
            statistics[f"ISR VARIANCE {amp.name} STDEV"] = of_amp.stdev
            log.info("Variance amplifier %s: median %.3f adu^2", amp.name, of_amp.median)
    if config.keepBiasVariance and bias is not None and bias.variance is not None:
        exposure.variance += bias.variance
    return statistics
