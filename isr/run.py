"""The whole of instrument signature removal as one straight line."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from isr.calib_rules import check_calibs
from isr.calibs import Calibs
from isr.config import IsrConfig
from isr.exposure import Exposure, RawFrame
from isr.steps.assemble import assemble, convert_to_float
from isr.steps.bias import subtract_bias
from isr.steps.dark import subtract_dark
from isr.steps.defects import mask_bad_amplifier, mask_defects
from isr.steps.flat import divide_by_flat
from isr.steps.overscan import OverscanResult, record_overscan, subtract_overscan
from isr.steps.provenance import record_steps
from isr.steps.saturation import mask_saturation
from isr.steps.variance import compute_variance, record_gains

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
    defects = calibs.defects if config.doDefect else None
    overscans: dict[str, OverscanResult] = {}
    statistics: dict[str, float] = {}

    frame = convert_to_float(raw)
    record_steps(frame, raw, calibs, config, forced)
    record_gains(frame)
    for amplifier in raw.detector.amplifiers:
        is_bad = mask_bad_amplifier(frame, amplifier, defects)
        is_bad = is_bad or mask_saturation(frame, amplifier, config)
        if config.doOverscan and not is_bad:
            overscans[amplifier.name] = subtract_overscan(frame, amplifier, config.overscan)
            statistics |= record_overscan(frame, amplifier, overscans[amplifier.name])

    exposure = assemble(frame)
    if config.doBias and calibs.bias:
        subtract_bias(exposure, calibs.bias)
    if config.doVariance:
        statistics |= compute_variance(exposure, config)
    if defects:
        mask_defects(exposure, defects)
    if config.doDark and calibs.dark:
        subtract_dark(exposure, calibs.dark)
    if config.doFlat and calibs.flat:
        divide_by_flat(exposure, calibs.flat)
    return IsrResult(exposure, overscans, statistics)
