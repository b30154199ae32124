"""Overscan subtraction: serial, and parallel after it (spec section 4.3)."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from isr.camera import Amplifier, Box
from isr.config import OverscanConfig
from isr.errors import CameraError, ConfigError
from isr.exposure import Exposure, MaskedView
from isr.mask import grow_plane
from isr.numerics.overscan_model import CONSTANT_FITS, constant_level, row_levels
from isr.numerics.statistics import clipped_statistics, mean, median, vector_statistics
from isr.raw_planes import FloatPlanes, RawPlanes, planes_of

__all__ = ["OverscanResult", "mask_parallel_overscan", "record_overscan", "subtract_overscan"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class OverscanResult:
    """The overscan of one amplifier.

    Attributes
    ----------
    model : `numpy.ndarray`, (rows,), float64
        Level that was subtracted from each row (ADU), before rounding to
        float32; of each column for a parallel overscan.
    mean, median, stdev : `float`
        Of the model (ADU); ``stdev`` is clipped.
    residual_mean, residual_median, residual_stdev : `float`
        Of the overscan pixels after subtraction (ADU); ``stdev`` is clipped.
    parallel : `OverscanResult` or `None`
        The parallel overscan, if it was subtracted too. The rows of ``model``
        are then those of data and parallel overscan.
    """

    model: npt.NDArray[np.float64]
    mean: float
    median: float
    stdev: float
    residual_mean: float
    residual_median: float
    residual_stdev: float
    parallel: OverscanResult | None = None


def mask_parallel_overscan(frame: Exposure, config: OverscanConfig) -> None:
    """Mask bleeds in the parallel overscans: in one amplifier, in all of them.

    Parameters
    ----------
    frame : `isr.exposure.Exposure`
        Raw frame (ADU), before any overscan is subtracted. Pixels of a
        parallel overscan at or above ``config.parallelOverscanMaskThreshold``,
        grown by ``config.parallelOverscanMaskGrowSize`` pixels (Manhattan
        distance), become BAD; then every amplifier gets what is set at the
        same place of any other one.
    config : `isr.config.OverscanConfig`
        Threshold and growth.

    Raises
    ------
    CameraError
        If the parallel overscans are empty, outside the frame, or differ in size.
    """
    amplifiers = frame.detector.amplifiers
    sizes = {amplifier.raw_parallel_overscan_bbox.shape for amplifier in amplifiers}
    if len(sizes) > 1:
        raise CameraError(
            f"Detector {frame.detector.id}: parallel overscans of sizes {sorted(sizes)}, expected one size, "
            "because bleeds are masked in all amplifiers at once; set overscan.doParallelOverscan=False."
        )
    planes = planes_of(frame)
    strips = [planes.strip(amplifier, _parallel_box(frame, amplifier)) for amplifier in amplifiers]
    masks = [strip.mask for strip in strips]
    union = np.zeros_like(masks[0])
    bad = frame.planes.bitmask("BAD")
    for strip, mask in zip(strips, masks, strict=True):
        bleeds = np.where(strip.image >= config.parallelOverscanMaskThreshold, np.int32(bad), np.int32(0))
        grow_plane(bleeds, bad, config.parallelOverscanMaskGrowSize)
        union |= mask | bleeds
    for mask in masks:
        mask |= union
    log.info("Parallel overscans: %.2f %% of each masked as bleeds", 100.0 * np.mean((union & bad) != 0))


def subtract_overscan(frame: Exposure, amplifier: Amplifier, config: OverscanConfig) -> OverscanResult:
    """Model the overscan of an amplifier and subtract the model.

    With ``config.doParallelOverscan`` the serial overscan is continued along
    the rows of the parallel overscan, and both data and parallel overscan are
    corrected with it; then the parallel overscan is modelled column by column
    and subtracted from the data.

    Parameters
    ----------
    frame : `isr.exposure.Exposure`
        Raw frame (ADU); the image of the amplifier's imaging pixels and of its
        overscans is changed in place, and overscan pixels further than
        ``config.maxDeviation`` from the median become BAD.
    amplifier : `isr.camera.Amplifier`
        The amplifier; data and serial overscan must have the same rows, data
        and parallel overscan the same columns.
    config : `isr.config.OverscanConfig`
        The model. Leading columns and rows are those next to the data. Skipped
        ones are not measured, but corrected.

    Returns
    -------
    result : `OverscanResult`
        The model and its statistics. An overscan without any usable pixel has
        the model 0. Pixels that are not finite are not usable.

    Raises
    ------
    CameraError
        If the amplifier has no overscan, or one of other rows (columns) than its data.
    ConfigError
        If no column (row) of the overscan is left to measure.
    """
    serial, data = amplifier.raw_serial_overscan_bbox, amplifier.raw_data_bbox
    corrected = data
    planes = planes_of(frame, amplifier, "rows")
    if config.doParallelOverscan:
        corrected = _hull(data, _parallel_box(frame, amplifier))
        serial = Box(serial.x0, corrected.y0, serial.width, corrected.height)
    if serial.width == 0 or (serial.y0, serial.height) != (corrected.y0, corrected.height):
        raise CameraError(
            f"Amplifier {amplifier.name!r}: the serial overscan {serial} is empty or has other rows than the "
            f"data {data}; correct the camera description or set doOverscan=False."
        )
    measured = _measured_columns(serial, data, config)
    result = _correct(frame, planes, amplifier, corrected, serial, measured, config)
    _report(amplifier, "serial", result, config)
    if not config.doParallelOverscan:
        return result
    parallel = amplifier.raw_parallel_overscan_bbox
    measured = _measured_rows(parallel, data, config)
    columns = _correct(frame, planes, amplifier, data, parallel, measured, config, along_columns=True)
    _report(amplifier, "parallel", columns, config)
    return replace(result, parallel=columns)


def record_overscan(frame: Exposure, amplifier: Amplifier, result: OverscanResult) -> dict[str, float]:
    """Write the statistics of an overscan into the metadata of an exposure.

    Returns
    -------
    statistics : `dict` [`str`, `float`]
        The numbers of the serial overscan with the keys of IsrTask's own metadata.
    """
    metadata = frame.metadata
    _record(metadata, "SERIAL", amplifier.name, result)
    if result.parallel is not None:
        _record(metadata, "PARALLEL", amplifier.name, result.parallel)
    metadata["OVERSCAN"] = "Overscan corrected"
    numbers = _numbers(result)
    statistics = {f"FIT {name} {amplifier.name}": pair[0] for name, pair in numbers.items()}
    statistics |= {f"RESIDUAL {name} {amplifier.name}": pair[1] for name, pair in numbers.items()}
    return statistics


def _numbers(result: OverscanResult) -> dict[str, tuple[float, float]]:
    """Statistics of model and residual by the name that metadata gives them."""
    return {
        "MEAN": (result.mean, result.residual_mean),
        "MEDIAN": (result.median, result.residual_median),
        "STDEV": (result.stdev, result.residual_stdev),
    }


def _record(metadata: dict[str, object], direction: str, name: str, result: OverscanResult) -> None:
    numbers = _numbers(result)
    metadata[f"LSST ISR OVERSCAN {direction} UNITS"] = "adu"
    for key, (of_model, _) in numbers.items():
        metadata[f"LSST ISR OVERSCAN {direction} {key} {name}"] = of_model
    for key, (_, of_residual) in numbers.items():
        metadata[f"LSST ISR OVERSCAN RESIDUAL {direction} {key} {name}"] = of_residual


def _report(amplifier: Amplifier, direction: str, result: OverscanResult, config: OverscanConfig) -> None:
    log.info(
        "Overscan amplifier %s: %s %.3f +- %.3f adu, residual %.3f +- %.3f adu (%s)",
        amplifier.name,
        direction,
        result.median,
        result.stdev,
        result.residual_median,
        result.residual_stdev,
        config.fitType,
    )


def _hull(one: Box, other: Box) -> Box:
    """Smallest box around two boxes."""
    x0, y0 = min(one.x0, other.x0), min(one.y0, other.y0)
    return Box(x0, y0, max(one.x1, other.x1) - x0, max(one.y1, other.y1) - y0)


def _parallel_box(frame: Exposure, amplifier: Amplifier) -> Box:
    """The parallel overscan of an amplifier, if it can be used."""
    box, data = amplifier.raw_parallel_overscan_bbox, amplifier.raw_data_bbox
    fits = (box.x0, box.width) == (data.x0, data.width) and box.clipped_to(frame.shape) == box
    if box.height == 0 or not fits:
        raise CameraError(
            f"Amplifier {amplifier.name!r}: the parallel overscan {box} is empty, outside the raw frame "
            f"{frame.shape} or has other columns than the data {data}; correct the camera description or set "
            "overscan.doParallelOverscan=False."
        )
    return box


def _measured_columns(box: Box, data: Box, config: OverscanConfig) -> Box:
    """The serial overscan without the columns to skip; leading ones are next to the data."""
    skipped = config.leadingColumnsToSkip, config.trailingColumnsToSkip
    left = _to_skip("Columns", skipped, box.width, data.x0 < box.x0)
    return Box(box.x0 + left, box.y0, box.width - sum(skipped), box.height)


def _measured_rows(box: Box, data: Box, config: OverscanConfig) -> Box:
    """The parallel overscan without the rows to skip; leading ones are next to the data."""
    skipped = config.leadingRowsToSkip, config.trailingRowsToSkip
    below = _to_skip("Rows", skipped, box.height, data.y0 < box.y0)
    return Box(box.x0, box.y0 + below, box.width, box.height - sum(skipped))


def _to_skip(what: str, skipped: tuple[int, int], size: int, follows_data: bool) -> int:
    """How many to skip on the side of the lower coordinates."""
    leading, trailing = skipped
    if min(skipped) < 0 or sum(skipped) >= size:
        raise ConfigError(
            f"overscan.leading{what}ToSkip = {leading} and overscan.trailing{what}ToSkip = {trailing} of an "
            f"overscan that has {size}; expected numbers that are not negative and leave some to measure."
        )
    return leading if follows_data else trailing


def _correct(
    frame: Exposure,
    planes: RawPlanes | FloatPlanes,
    amplifier: Amplifier,
    data: Box,
    overscan: Box,
    measured: Box,
    config: OverscanConfig,
    along_columns: bool = False,
) -> OverscanResult:
    """Model the pixels of ``measured``; subtract the model from ``data`` and ``overscan``."""
    bits = frame.planes.bitmask(*config.maskPlanes)
    whole = planes.strip(amplifier, overscan)
    pixels = _part(whole, overscan, measured)
    rejected = _reject(pixels, bits, frame.planes.bitmask("BAD"), config)
    image = pixels.image
    if along_columns:
        image, rejected = image.T, rejected.T
    if config.fitType in CONSTANT_FITS:
        value = constant_level(image, rejected, config)
        model = np.full(len(image), value)
        statistics = (value, value, 0.0)
    else:
        model = row_levels(image, rejected, config)
        statistics = vector_statistics(model, config.numSigmaClip)

    level = model.astype(np.float32)
    planes.subtract(amplifier, data, level, along_columns=along_columns)
    whole.image[...] -= level[np.newaxis, :] if along_columns else level[:, np.newaxis]
    residual = clipped_statistics(whole.image, whole.mask, bits, config.numSigmaClip)
    residual_mean = mean(whole.image, whole.mask, bits)
    return OverscanResult(model, *statistics, residual_mean, residual.median, residual.stdev)


def _part(strip: MaskedView, box: Box, part: Box) -> MaskedView:
    """Return the part of a strip that lies in a box inside that of the strip."""
    index = Box(part.x0 - box.x0, part.y0 - box.y0, part.width, part.height).slices
    return MaskedView(strip.image[index], strip.mask[index], strip.variance[index])


def _reject(pixels: MaskedView, bits: int, bad: int, config: OverscanConfig) -> npt.NDArray[np.bool_]:
    """Pixels to leave out; those too far from the median become BAD."""
    rejected: npt.NDArray[np.bool_] = ((pixels.mask & bits) != 0) | ~np.isfinite(pixels.image)
    used = pixels.image[~rejected] if rejected.any() else pixels.image
    # Most often no two pixels are so far apart; then the median need not be found.
    if used.size == 0 or used.max() - used.min() <= config.maxDeviation:
        return rejected
    deviation = pixels.image - np.float32(median(pixels.image, pixels.mask, bits))
    if config.doAbsoluteMaxDeviation:
        np.abs(deviation, out=deviation)
    outliers = ~rejected & (deviation > config.maxDeviation)
    pixels.mask[outliers] |= bad
    return rejected | outliers if bits & bad else rejected
