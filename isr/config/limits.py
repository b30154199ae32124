"""What of the configuration this engine does not implement, and what it accepts there.

`LIMITS` names fields that are accepted only at a value at which they do
nothing; `NO_EFFECT` names fields whose value never matters, here or in LSST.
Every other field is implemented.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any, NamedTuple

__all__ = ["LIMITS", "NO_EFFECT", "SWITCHES", "Limit", "no_effect_reason", "refusals"]


class Limit(NamedTuple):
    """Values at which a field does nothing, and why others are refused."""

    values: tuple[Any, ...]
    reason: str


def _only(reason: str, **fields: Any) -> dict[str, Limit]:
    return {name.replace("__", "."): Limit((value,), reason) for name, value in fields.items()}


GENERAL = {
    **_only(
        "calibrations are checked by rules of our own, which always stop (docs/calibrations.md)",
        doRaiseOnCalibMismatch=False,
        cameraKeywordsToCompare=[],
    ),
    **_only("provenance is always written", doHeaderProvenance=True),
    **_only("raw pixels are always converted to float32", doConvertIntToFloat=True),
    **_only(
        "detectors are always assembled and trimmed, calibrations come assembled and trimmed",
        doAssembleCcd=True,
        assembleCcd__doTrim=True,
        doAssembleIsrExposures=False,
        doTrimToMatchCalib=False,
    ),
    **_only("deferred charge is not corrected for HSC", doDeferredCharge=False),
    **_only(
        "gain and read noise come from the camera's description",
        doEmpiricalReadNoise=False,
        usePtcReadNoise=False,
        usePtcGains=False,
    ),
    **_only("crosstalk is corrected on the assembled detector", doCrosstalkBeforeAssemble=False),
    **_only(
        "not implemented; HSC's correction is linear and masks by the source",
        crosstalk__doSubtrahendMasking=False,
        crosstalk__doQuadraticCrosstalkCorrection=False,
    ),
    **_only("LSST's task does not have it either", brighterFatterLevel="DETECTOR"),
    **_only(
        "not implemented; HSC divides by flats as they are",
        flatScalingType="USER",
        flatUserScale=1.0,
        doTweakFlat=False,
        doApplyGains=False,
        normalizeGains=False,
        doIlluminationCorrection=False,
    ),
    **_only("fringes are measured with the median (32)", fringe__stats__stat=32),
    **_only("clipping always takes three iterations", qa__flatness__nIter=3),
    **_only("HSC has no masks of its own", doCameraSpecificMasking=False),
    **_only("not implemented: only interpolation along rows is", useLegacyInterp=True),
    **_only(
        "only the postISRCCD is written, and it always is",
        doSaveInterpPixels=False,
        doBinnedExposures=False,
        doWrite=True,
        qa__doWriteOss=False,
        qa__doThumbnailOss=False,
        qa__doWriteFlattened=False,
        qa__doThumbnailFlattened=False,
    ),
    **_only("not implemented", doCalculateStatistics=False),
}

AMP_OFFSET = {
    **_only(
        "only HSC's background model is implemented",
        ampOffset__background__statisticsProperty="MEANCLIP",
        ampOffset__background__undersampleStyle="REDUCE_INTERP_ORDER",
        ampOffset__background__algorithm="AKIMA_SPLINE",
        ampOffset__background__isNanSafe=False,
        ampOffset__background__useApprox=False,
        ampOffset__background__doApplyFlatBackgroundRatio=False,
    ),
    **_only(
        "only HSC's detection is implemented",
        ampOffset__detection__minPixels=1,
        ampOffset__detection__isotropicGrow=False,
        ampOffset__detection__nSigmaToGrow=2.4,
        ampOffset__detection__includeThresholdMultiplier=1.0,
        ampOffset__detection__thresholdType="stdev",
        ampOffset__detection__thresholdPolarity="positive",
        ampOffset__detection__adjustBackground=0.0,
        ampOffset__detection__reEstimateBackground=False,
        ampOffset__detection__doTempWideBackground=False,
        ampOffset__detection__nSigmaForKernel=7.0,
        ampOffset__detection__statsMask=["BAD", "SAT", "EDGE", "NO_DATA"],
        ampOffset__detection__excludeMaskPlanes=[],
    ),
}

LIMITS: dict[str, Limit] = {**GENERAL, **AMP_OFFSET}
"""Fields that are accepted only at one value."""

_NAMES = "dataset types have no names without a Butler, and their connections' names with one"
_NO_DETECTOR = "used by LSST for input without a detector; a raw frame here always has one"
_SWITCHED_OFF = "belongs to a step that is refused"

NO_EFFECT = {
    "datasetType": _NAMES,
    "biasDataProductName": _NAMES,
    "darkDataProductName": _NAMES,
    "flatDataProductName": _NAMES,
    "illuminationCorrectionDataProductName": _NAMES,
    "fallbackFilterName": "LSST's task does not use it any more",
    "useFallbackDate": "LSST's task does not use it any more",
    "expectWcs": "LSST's task only warns",
    "fwhm": "the weights of the interpolation do not depend on it",
    "gain": _NO_DETECTOR,
    "readNoise": _NO_DETECTOR,
    "badStatistic": "LSST's task ignores it: the level is the median",
    "doNanInterpAfterFlat": "LSST's task does not use it any more",
    "doAttachTransmissionCurve": "pixels do not depend on it; curves are not attached here",
    "doUseOpticsTransmission": "see doAttachTransmissionCurve",
    "doUseFilterTransmission": "see doAttachTransmissionCurve",
    "doUseSensorTransmission": "see doAttachTransmissionCurve",
    "doUseAtmosphereTransmission": "see doAttachTransmissionCurve",
    "illumScale": _SWITCHED_OFF,
    "illumFilters": _SWITCHED_OFF,
    "binFactor1": _SWITCHED_OFF,
    "binFactor2": _SWITCHED_OFF,
    "deferredChargeCorrection.*": _SWITCHED_OFF,
    "masking.*": _SWITCHED_OFF,
    "isrStats.*": _SWITCHED_OFF,
    "qa.thumbnail*": _SWITCHED_OFF,
    "fringe.stats.clip": "the median is not clipped",
    "fringe.stats.iterations": "the median is not clipped",
    "ampOffset.background.binSize*": "cells follow from the amplifiers and backgroundFractionSample",
    "ampOffset.background.approxOrder*": "useApprox is refused",
    "ampOffset.background.weighting": "useApprox is refused",
    "ampOffset.detection.combinedGrow": "the mask does not depend on it",
    "ampOffset.detection.returnOriginalFootprints": "the mask does not depend on it",
    "ampOffset.detection.nPeaksMaxSimple": "changes peaks, which are not used",
    "ampOffset.detection.doTempLocalBackground": "changes peaks, which are not used",
    "ampOffset.detection.tempLocalBackground.*": "changes peaks, which are not used",
    "ampOffset.detection.tempWideBackground.*": "doTempWideBackground is refused",
    "ampOffset.detection.background.*": "reEstimateBackground is refused",
}
"""Fields (shell patterns of their names) whose value never matters, and why."""

SWITCHES = {
    "crosstalk.*": "doCrosstalk",
    "brighterFatter*": "doBrighterFatter",
    "fringe*": "doFringe",
    "flat*": "doFlat",
    "qa.flatness.*": "doMeasureBackground",
    "ampOffset.*": "doAmpOffset",
    "ampOffset.background*": "ampOffset.doBackground",
    "ampOffset.detection.*": "ampOffset.doDetection",
}
"""Shell patterns of names, and the switch that must be on for such fields to matter."""


def no_effect_reason(name: str) -> str | None:
    """Return why the value of a field never matters, or `None` if it does."""
    return next((reason for pattern, reason in NO_EFFECT.items() if fnmatchcase(name, pattern)), None)


def value_of(config: Any, name: str) -> Any:
    """Return the value of a field by its dotted name."""
    for part in name.split("."):
        config = getattr(config, part)
    return config


def refusals(config: Any) -> list[str]:
    """Return a sentence for each value that cannot be honoured.

    Parameters
    ----------
    config : `isr.config.IsrConfig`
        Configuration to check. Fields of a step that is off are not looked at.

    Returns
    -------
    problems : `list` [`str`]
        Field, value, the value that is accepted, and the reason.
    """
    problems = []
    for name, limit in LIMITS.items():
        switches = [switch for pattern, switch in SWITCHES.items() if fnmatchcase(name, pattern)]
        if not all(value_of(config, switch) for switch in switches):
            continue
        value = value_of(config, name)
        value = list(value) if isinstance(limit.values[0], list) else value
        if value not in limit.values:
            accepted = " or ".join(map(repr, limit.values))
            problems.append(f"{name} = {value!r}: only {accepted} is accepted here ({limit.reason}).")
    return problems
