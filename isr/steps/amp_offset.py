"""Steps between amplifiers, measured and removed (spec section 4.19)."""

from __future__ import annotations

import logging
import math
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from isr.camera import Amplifier
from isr.config import AmpOffsetConfig
from isr.errors import ConfigError, ProcessingError
from isr.exposure import Exposure
from isr.mask import grow_plane
from isr.numerics.background_model import cell_means, subtract_cells
from isr.numerics.detection import gaussian_kernel, smooth, smoothed_threshold
from isr.numerics.row_medians import row_medians
from isr.numerics.statistics import vector_clipped_mean

__all__ = ["correct_amp_offsets"]

log = logging.getLogger(__name__)

Image = npt.NDArray[np.float32]
Vector = npt.NDArray[np.float64]

THRESHOLD_PLANES = ("BAD", "SAT", "EDGE", "NO_DATA")
"""Pixels near these do not count in the noise of the smoothed image."""
PSF_SIGMA = 2.0
"""Sigma of the smoothing, pixels: what LSST's detection assumes without a PSF."""
GROWTH = int(2.4 * PSF_SIGMA + 0.5)
"""Pixels by which detected sources are grown."""


def correct_amp_offsets(exposure: Exposure, config: AmpOffsetConfig) -> dict[str, float]:
    """Measure the offsets between neighbouring amplifiers and take them out.

    Parameters
    ----------
    exposure : `isr.exposure.Exposure`
        Assembled, flat-fielded, interpolated exposure (ADU); its image is
        changed in place if ``config.doApplyAmpOffset``. Its amplifiers must
        lie side by side.
    config : `isr.config.AmpOffsetConfig`
        Field names of LSST's AmpOffsetConfig.

    Returns
    -------
    pedestals : `dict` [`str`, `float`]
        Pedestal of each amplifier (ADU); they sum to zero.

    Raises
    ------
    ProcessingError
        If the amplifiers do not lie side by side.

    Notes
    -----
    The offset at an interface is the clipped mean, over rows, of the smoothed
    difference of the row medians on either side of it, background and sources
    left out. Pedestals that explain the offsets are found by least squares.
    An offset beyond ``ampEdgeMaxOffset`` counts as 0, as in LSST.
    """
    amps = _side_by_side(exposure)
    image, sources = _without_background_and_sources(exposure, config)
    ignored = exposure.planes.bitmask(*_ignored(exposure, config))
    offsets = []
    for left, right in pairwise(amps):
        offset = _interface_offset(image, exposure.mask, ignored, sources, (left, right), config)
        exposure.metadata[f"LSST ISR AMPOFFSET INTERFACEOFFSET {left.name}-{right.name}"] = offset
        is_small = abs(offset) <= config.ampEdgeMaxOffset
        if not is_small:
            log.warning(
                "Amplifier offset %s-%s is %.3f adu, beyond %g: it is not corrected",
                left.name, right.name, offset, config.ampEdgeMaxOffset,
            )  # fmt: skip
        offsets.append(offset if is_small else 0.0)
    pedestals = dict(zip((amp.name for amp in amps), _pedestals(offsets, amps, config), strict=True))
    for amp in amps:
        exposure.metadata[f"LSST ISR AMPOFFSET PEDESTAL {amp.name}"] = pedestals[amp.name]
        if config.doApplyAmpOffset and pedestals[amp.name] != 0.0:
            exposure.image[amp.bbox.slices] -= np.float32(pedestals[amp.name])
    exposure.metadata["LSST ISR AMPOFFSET PEDESTAL SUBTRACTED"] = bool(config.doApplyAmpOffset)
    log.info("Amplifier offsets: pedestals %s adu", ", ".join(f"{p:.3f}" for p in pedestals.values()))
    return pedestals


def _side_by_side(exposure: Exposure) -> list[Amplifier]:
    """Return the amplifiers from left to right."""
    amps = sorted(exposure.detector.amplifiers, key=lambda amp: amp.bbox.x0)
    for left, right in pairwise(amps):
        if (left.bbox.x1, left.bbox.y0, left.bbox.height) != (
            right.bbox.x0,
            right.bbox.y0,
            right.bbox.height,
        ):
            raise ProcessingError(
                f"Detector {exposure.detector.id}: amplifiers {left.name} {left.bbox} and {right.name} "
                f"{right.bbox} do not lie side by side; amplifier offsets are measured only at vertical "
                "interfaces, set doAmpOffset=False."
            )
    return amps


def _ignored(exposure: Exposure, config: AmpOffsetConfig) -> list[str]:
    """Return the planes whose pixels are left out, without those that are made here."""
    made_here = {"DETECTED", "DETECTED_NEGATIVE"} if config.doDetection else set()
    planes = config.background.ignoredPixelMask
    return [name for name in planes if name in exposure.planes and name not in made_here]


def _without_background_and_sources(
    exposure: Exposure, config: AmpOffsetConfig
) -> tuple[Image, npt.NDArray[np.bool_] | None]:
    """Return the background-subtracted image, and where it reaches the threshold of detection.

    The latter is `None` without detection.
    """
    image, planes = exposure.image.copy(), exposure.planes
    if config.doBackground:
        bits = planes.bitmask(*(name for name in config.background.ignoredPixelMask if name in planes))
        short_side = min(min(amp.bbox.shape) for amp in exposure.detector.amplifiers)
        size = short_side * config.backgroundFractionSample
        cells = int(image.shape[0] // size) + 1, int(image.shape[1] // size) + 1
        if cells[0] > image.shape[0] or cells[1] > image.shape[1]:
            raise ConfigError(
                f"ampOffset.backgroundFractionSample = {config.backgroundFractionSample}: cells of {size:g} "
                "pixels are too small; expected a fraction of the short side of an amplifier such as 1."
            )
        subtract_cells(image, cell_means(image, exposure.mask, bits, cells))
    if not config.doDetection:
        return image, None
    kernel = gaussian_kernel(PSF_SIGMA)
    smoothed = smooth(image, kernel)
    bits = planes.bitmask(*(name for name in THRESHOLD_PLANES if name in planes))
    factor = config.detection.thresholdValue
    threshold = smoothed_threshold(smoothed, exposure.mask, bits, len(kernel) // 2, factor)
    return image, smoothed >= threshold


def _interface_offset(
    image: Image,
    mask: npt.NDArray[np.int32],
    ignored: int,
    sources: npt.NDArray[np.bool_] | None,
    amps: tuple[Amplifier, Amplifier],
    config: AmpOffsetConfig,
) -> float:
    """Return the offset of an amplifier against its right neighbour, before the cap.

    It is 0 if there is too little to go by.
    """
    left, right = (amp.bbox for amp in amps)
    inset, width = config.ampEdgeInset, config.ampEdgeWidth
    rows = slice(left.y0, left.y1)
    sides = (
        slice(max(left.x0, left.x1 - inset - width), max(left.x0, left.x1 - inset)),
        slice(min(right.x1, right.x0 + inset), min(right.x1, right.x0 + inset + width)),
    )
    difference = np.zeros(left.height, np.float32)
    for side, sign in zip(sides, (1, -1), strict=True):
        usable = (mask[rows, side] & ignored) == 0
        if sources is not None:
            usable &= ~_near_source(sources, rows, side)
        medians = row_medians(image[rows, side], usable)
        if np.isnan(medians).all():
            return 0.0
        difference += np.float32(sign) * medians
    finite = np.isfinite(difference)
    if finite.mean() < config.ampEdgeMinFrac:
        return 0.0
    smoothed = _smooth_rows(difference, config)
    offset = vector_clipped_mean(smoothed)
    return offset if math.isfinite(offset) else 0.0


def _near_source(sources: npt.NDArray[np.bool_], rows: slice, columns: slice) -> npt.NDArray[np.bool_]:
    """Tell which pixels of a strip lie near a source or in the border without detection."""
    ny, nx = sources.shape
    first, last = max(0, columns.start - GROWTH), min(nx, columns.stop + GROWTH)
    grown = sources[:, first:last].astype(np.int32)
    grow_plane(grown, 1, GROWTH)
    near: npt.NDArray[np.bool_] = grown[rows, columns.start - first : columns.stop - first] != 0
    border = len(gaussian_kernel(PSF_SIGMA)) // 2
    y = np.arange(rows.start, rows.stop)
    x = np.arange(columns.start, columns.stop)
    near |= ((y < border) | (y >= ny - border))[:, np.newaxis]
    near |= (x < border) | (x >= nx - border)
    return near


def _smooth_rows(difference: Image, config: AmpOffsetConfig) -> Vector:
    """Running mean of the finite differences; NaN where there is none."""
    window = int(config.ampEdgeWindowFrac * len(difference))
    if not config.doWindowSmoothing or window < 1:
        return difference.astype(np.float64)
    finite = np.isfinite(difference)
    kernel = np.ones(window)
    total = np.convolve(np.where(finite, difference, np.float32(0.0)), kernel, "same")
    count = np.convolve(finite.astype(np.float64), kernel, "same")
    return np.where(finite, total / np.maximum(count, 1.0), np.nan)


def _pedestals(offsets: list[float], amps: list[Amplifier], config: AmpOffsetConfig) -> list[float]:
    """Return the pedestals of least norm whose differences are the offsets."""
    n = len(amps)
    matrix, vector = np.zeros((n, n)), np.zeros(n)
    for i, offset in enumerate(offsets):
        weight = amps[i].bbox.height if config.applyWeights else 1.0
        matrix[i : i + 2, i : i + 2] += weight * np.array([[1.0, -1.0], [-1.0, 1.0]])
        vector[i : i + 2] += weight * offset * np.array([1.0, -1.0])
    solution = np.nan_to_num(np.linalg.lstsq(matrix, vector, rcond=None)[0])
    return [float(pedestal) for pedestal in solution]
