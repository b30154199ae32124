"""Numbers of the finished exposure, per amplifier (spec section 4.20)."""

from __future__ import annotations

import logging

import numpy as np
import numpy.typing as npt

from isr.camera import Amplifier
from isr.config import IsrConfig
from isr.exposure import Exposure
from isr.numerics.statistics import ClippedStatistics, clipped_statistics_of, mean_about

__all__ = ["measure_amplifiers"]

log = logging.getLogger(__name__)

Image = npt.NDArray[np.float32]


def measure_amplifiers(exposure: Exposure, config: IsrConfig) -> dict[str, float]:
    """Measure levels and count masked pixels of each amplifier.

    Parameters
    ----------
    exposure : `isr.exposure.Exposure`
        Corrected exposure (ADU); only its metadata is changed, if
        ``config.doStandardStatistics``.
    config : `isr.config.IsrConfig`
        ``doStandardStatistics``, ``doMeasureBackground``, ``qa.saveStats``.

    Returns
    -------
    statistics : `dict` [`str`, `float`]
        Median and clipped standard deviation of each amplifier, with the keys
        of IsrTask's own metadata; empty without ``doMeasureBackground``.
        Masked pixels count.
    """
    statistics = {}
    amplifiers = exposure.detector.amplifiers
    of_amplifiers = clipped_statistics_of(exposure.image, exposure.mask, 0, [amp.bbox for amp in amplifiers])
    for amp, numbers in zip(amplifiers, of_amplifiers, strict=True):
        if config.doMeasureBackground and config.qa.saveStats:
            statistics[f"ISR BACKGROUND {amp.name} MEDIAN"] = numbers.median
            statistics[f"ISR BACKGROUND {amp.name} STDEV"] = numbers.stdev
        if config.doStandardStatistics:
            _record(exposure, amp, numbers, config)
        log.info("Amplifier %s: median %.3f adu, stdev %.3f adu", amp.name, numbers.median, numbers.stdev)
    return statistics


def _record(exposure: Exposure, amp: Amplifier, numbers: ClippedStatistics, config: IsrConfig) -> None:
    metadata = exposure.metadata
    image, mask = exposure.image[amp.bbox.slices], exposure.mask[amp.bbox.slices]
    for label, plane in (("SAT", config.saturatedMaskName), ("BAD", "BAD")):
        bit = exposure.planes.bitmask(plane)
        metadata[f"LSST ISR MASK {label} {amp.name}"] = int(np.count_nonzero(mask & bit))
    centre = numbers.median if np.isfinite(numbers.median) else 0.0
    metadata[f"LSST ISR FINAL MEAN {amp.name}"] = mean_about(image, mask, 0, centre)
    metadata[f"LSST ISR FINAL MEDIAN {amp.name}"] = numbers.median
    metadata[f"LSST ISR FINAL STDEV {amp.name}"] = numbers.stdev
    # NaN if the amplifier has no overscan
    overscan = metadata.get(f"LSST ISR OVERSCAN SERIAL MEDIAN {amp.name}", float("nan"))
    metadata[f"LSST ISR LEVEL {amp.name}"] = numbers.median - overscan
