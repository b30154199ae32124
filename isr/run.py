"""The whole of instrument signature removal as one straight line."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace

from isr.calib_rules import check_calibs
from isr.calibs import Calibs
from isr.config import IsrConfig
from isr.exposure import Exposure, RawFrame
from isr.filter_rule import filter_is_listed
from isr.hsc.stray_light_rule import needs_stray_light
from isr.steps.amp_offset import correct_amp_offsets
from isr.steps.assemble import assemble, convert_to_float
from isr.steps.background import measure_background
from isr.steps.bias import subtract_bias
from isr.steps.brighter_fatter import correct_brighter_fatter
from isr.steps.crosstalk import subtract_crosstalk
from isr.steps.dark import subtract_dark
from isr.steps.defects import mask_bad_amplifier, mask_defects
from isr.steps.final_statistics import measure_amplifiers
from isr.steps.flat import divide_by_flat
from isr.steps.fringe import subtract_fringe
from isr.steps.interpolate import fill_bad_regions, interpolate
from isr.steps.linearity import linearize, needs_linearity
from isr.steps.masking import (
    mask_non_finite,
    mask_suspect_edges,
    warn_of_unmasked,
    widen_saturation_trails,
)
from isr.steps.overscan import OverscanResult, mask_parallel_overscan, record_overscan, subtract_overscan
from isr.steps.photo_calib import set_rough_zero_point
from isr.steps.provenance import record_steps
from isr.steps.saturation import mask_saturation
from isr.steps.stray_light import subtract_stray_light
from isr.steps.variance import compute_variance, record_gains
from isr.steps.vignette import mask_vignetted

__all__ = ["IsrResult", "run_isr"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class IsrResult:
    """What instrument signature removal gives.

    Attributes
    ----------
    exposure : `isr.exposure.Exposure`
        The postISRCCD: assembled, corrected, ADU.
    overscans : `dict` [`str`, `isr.steps.overscan.OverscanResult`]
        Overscan model by amplifier name; bad amplifiers have none.
    statistics : `dict` [`str`, `float`]
        Numbers that go to the task's metadata rather than to the header.
    """

    exposure: Exposure
    overscans: dict[str, OverscanResult] = field(default_factory=dict)
    statistics: dict[str, float] = field(default_factory=dict)


def run_isr(raw: RawFrame, calibs: Calibs, config: IsrConfig) -> IsrResult:
    """Remove the instrument signature from a raw frame.

    Parameters
    ----------
    raw : `isr.exposure.RawFrame`
        Raw frame (ADU, uint16, flipped frame); not changed.
    calibs : `isr.calibs.Calibs`
        The calibrations that the configuration needs; not changed.
    config : `isr.config.IsrConfig`
        Which steps run, and how.

    Returns
    -------
    result : `IsrResult`
        The corrected exposure and what was measured on the way.

    Raises
    ------
    CalibMissingError, CalibMismatchError
        If a needed calibration is missing or does not belong to the exposure.
    ConfigError
        If the configuration contradicts itself.
    ProcessingError
        If the pixels or the metadata do not allow a step.

    Notes
    -----
    The order is that of LSST's ``IsrTask``.
    """
    config.validate()
    forced = check_calibs(raw, calibs, config)
    info, detector = raw.visit_info, raw.detector
    defects = calibs.defects if config.doDefect else None
    fringe = calibs.fringe if config.doFringe and filter_is_listed(info, config.fringe.filters) else None
    has_stray_light = config.doStrayLight and needs_stray_light(info, detector, config.strayLight.filters)
    stray_light = calibs.yBackground if has_stray_light else None
    overscans: dict[str, OverscanResult] = {}
    statistics: dict[str, float] = {}

    frame = convert_to_float(raw)
    record_steps(frame, raw, calibs, config, forced)
    del raw  # 18 MB, if the caller has given it away
    record_gains(frame, config.readNoiseUnit)
    if config.doBias and config.doBiasBeforeOverscan and calibs.bias:
        subtract_bias(frame, calibs.bias)
    if config.doOverscan and config.overscan.doParallelOverscan:
        mask_parallel_overscan(frame, config.overscan)
    for amp in detector.amplifiers:
        is_bad = mask_bad_amplifier(frame, amp, defects) or mask_saturation(frame, amp, config)
        if config.doOverscan and not is_bad:
            overscans[amp.name] = subtract_overscan(frame, amp, config.overscan)
            statistics |= record_overscan(frame, amp, overscans[amp.name])

    exposure = assemble(frame, config.assembleCcd.keysToRemove)
    del frame  # 109 MB
    if config.doBias and not config.doBiasBeforeOverscan and calibs.bias:
        subtract_bias(exposure, calibs.bias)
    if config.doVariance:
        statistics |= compute_variance(exposure, config, calibs.bias if config.doBias else None)
    calibs = replace(calibs, bias=None)  # 34 MB, likewise
    if config.doLinearize and needs_linearity(detector):
        linearize(exposure, calibs.linearizer)
    if config.doCrosstalk:
        subtract_crosstalk(exposure, calibs.crosstalk, config)
    if defects:
        mask_defects(exposure, defects)
    if config.numEdgeSuspect > 0:
        mask_suspect_edges(exposure, config)
    if config.doNanMasking:
        statistics["NUMNANS"] = mask_non_finite(exposure)
    if config.doWidenSaturationTrails:
        widen_saturation_trails(exposure, config.saturatedMaskName)
    dark = calibs.dark if config.doDark else None
    flat = calibs.flat if config.doFlat else None
    if config.doBrighterFatter and calibs.bfKernel:
        iterations = correct_brighter_fatter(exposure, calibs.bfKernel, dark, flat, config)
        statistics["LSST ISR BF ITERS"] = iterations
    if dark:
        subtract_dark(exposure, dark)
    if stray_light:
        subtract_stray_light(exposure, stray_light, config)
    if fringe and not config.fringeAfterFlat:
        subtract_fringe(exposure, fringe, config.fringe)
    if flat:
        divide_by_flat(exposure, flat)
    if fringe and config.fringeAfterFlat:
        subtract_fringe(exposure, fringe, config.fringe)
    if config.maskNonFiniteAfterFlat:
        mask_non_finite(exposure)
    if config.doVignette:
        exposure.valid_polygon = mask_vignetted(exposure, config)
    if config.doSetBadRegions:
        fill_bad_regions(exposure)
    if config.doInterpolate:
        interpolate(exposure, config)
    warn_of_unmasked(exposure)
    del calibs, dark, flat  # 68 MB, likewise
    set_rough_zero_point(exposure, config)
    if config.doAmpOffset:
        correct_amp_offsets(exposure, config.ampOffset)
    if config.doMeasureBackground:
        measure_background(exposure, config)
    if config.doMeasureBackground or config.doStandardStatistics:
        statistics |= measure_amplifiers(exposure, config)
    return IsrResult(exposure, overscans, statistics)
