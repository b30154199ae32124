"""Names, types and defaults of LSST's configuration, and HSC's values (spec section 3).

The defaults are facts of lsst/ip_isr and lsst/meas_algorithms, written down
here a second time: a slip in `isr.config` shows up.
"""

from __future__ import annotations

import math

import pytest

from isr.config import IsrConfig
from isr.hsc import crosstalk_matrix, filters
from isr.hsc.config import hsc_config
from tests.isr.config_tools import leaves

NAN = float("nan")
COUNTS = 10.0 ** (0.4 * 28.0)
OURS = {
    "crosstalkTransposed": False,
    "readNoiseUnit": "electron",
    "keepBiasVariance": False,
    "interpolateVarianceSquaredWeights": False,
    "maskNonFiniteAfterFlat": False,
}

ON = [
    "expectWcs",
    "doHeaderProvenance",
    "doConvertIntToFloat",
    "doSaturation",
    "doSetBadRegions",
    "doOverscan",
    "doAssembleCcd",
    "doBias",
    "doVariance",
    "maskNegativeVariance",
    "doLinearize",
    "doDefect",
    "doNanMasking",
    "doWidenSaturationTrails",
    "brighterFatterApplyGain",
    "doDark",
    "doFlat",
    "doFringe",
    "fringeAfterFlat",
    "doInterpolate",
    "doSaturationInterpolation",
    "doNanInterpolation",
    "useLegacyInterp",
    "doMaskVignettePolygon",
    "doUseOpticsTransmission",
    "doUseFilterTransmission",
    "doUseSensorTransmission",
    "doUseAtmosphereTransmission",
    "doStandardStatistics",
    "doWrite",
]
OFF = [
    "useFallbackDate",
    "doRaiseOnCalibMismatch",
    "doSuspect",
    "doAssembleIsrExposures",
    "doTrimToMatchCalib",
    "doBiasBeforeOverscan",
    "doDeferredCharge",
    "doEmpiricalReadNoise",
    "usePtcReadNoise",
    "doCrosstalk",
    "doCrosstalkBeforeAssemble",
    "doBrighterFatter",
    "doFluxConservingBrighterFatterCorrection",
    "doStrayLight",
    "doTweakFlat",
    "doApplyGains",
    "usePtcGains",
    "normalizeGains",
    "doAmpOffset",
    "doMeasureBackground",
    "doCameraSpecificMasking",
    "doNanInterpAfterFlat",
    "doSaveInterpPixels",
    "doVignette",
    "doAttachTransmissionCurve",
    "doIlluminationCorrection",
    "doCalculateStatistics",
    "doBinnedExposures",
]
OTHERS = {
    "datasetType": "raw",
    "fallbackFilterName": None,
    "fwhm": 1.0,
    "cameraKeywordsToCompare": [],
    "saturatedMaskName": "SAT",
    "saturation": NAN,
    "growSaturationFootprintSize": 1,
    "suspectMaskName": "SUSPECT",
    "numEdgeSuspect": 0,
    "edgeMaskLevel": "DETECTOR",
    "badStatistic": "MEANCLIP",
    "biasDataProductName": "bias",
    "gain": NAN,
    "readNoise": 0.0,
    "negativeVarianceMaskName": "BAD",
    "brighterFatterLevel": "DETECTOR",
    "brighterFatterMaxIter": 10,
    "brighterFatterThreshold": 1000.0,
    "brighterFatterMaskListToInterpolate": ["SAT", "BAD", "NO_DATA", "UNMASKEDNAN"],
    "brighterFatterMaskGrowSize": 0,
    "darkDataProductName": "dark",
    "flatDataProductName": "flat",
    "flatScalingType": "USER",
    "flatUserScale": 1.0,
    "maskListToInterpolate": ["SAT", "BAD"],
    "fluxMag0T1": {"Unknown": COUNTS},
    "defaultFluxMag0T1": COUNTS,
    "vignetteValue": None,
    "illuminationCorrectionDataProductName": "illumcor",
    "illumScale": 1.0,
    "illumFilters": [],
    "binFactor1": 8,
    "binFactor2": 64,
}

QA = {
    "qa.saveStats": True,
    "qa.flatness.meshX": 256,
    "qa.flatness.meshY": 256,
    "qa.flatness.doClip": True,
    "qa.flatness.clipSigma": 3.0,
    "qa.flatness.nIter": 3,
    "qa.doWriteOss": False,
    "qa.doThumbnailOss": False,
    "qa.doWriteFlattened": False,
    "qa.doThumbnailFlattened": False,
    "qa.thumbnailBinning": 4,
    "qa.thumbnailStdev": 3.0,
    "qa.thumbnailRange": 5.0,
    "qa.thumbnailQ": 20.0,
    "qa.thumbnailSatBorder": 2,
}
OVERSCAN = {
    "overscan.fitType": "MEDIAN",
    "overscan.order": 1,
    "overscan.numSigmaClip": 3.0,
    "overscan.maskPlanes": ["BAD", "SAT"],
    "overscan.overscanIsInt": True,
    "overscan.maxDeviation": 1000.0,
    "overscan.doAbsoluteMaxDeviation": True,
    "overscan.doParallelOverscan": False,
    "overscan.parallelOverscanMaskThreshold": 100000,
    "overscan.parallelOverscanMaskGrowSize": 7,
    "overscan.leadingColumnsToSkip": 0,
    "overscan.trailingColumnsToSkip": 0,
    "overscan.leadingRowsToSkip": 0,
    "overscan.trailingRowsToSkip": 0,
}
SMALL = {
    "assembleCcd.doTrim": True,
    "assembleCcd.keysToRemove": [],
    "deferredChargeCorrection.nPixelOffsetCorrection": 15,
    "deferredChargeCorrection.nPixelTrapCorrection": 6,
    "deferredChargeCorrection.zeroUnusedPixels": True,
    "masking.doSpecificMasking": False,
    "crosstalk.minPixelToMask": 45000.0,
    "crosstalk.crosstalkMaskPlane": "CROSSTALK",
    "crosstalk.doSubtrahendMasking": False,
    "crosstalk.crosstalkBackgroundMethod": "None",
    "crosstalk.useConfigCoefficients": False,
    "crosstalk.crosstalkValues": [0.0],
    "crosstalk.crosstalkShape": [1],
    "crosstalk.doQuadraticCrosstalkCorrection": False,
    "strayLight.doRotatorAngleCorrection": False,
    "strayLight.filters": [],
    "fringe.filters": [],
    "fringe.num": 30000,
    "fringe.small": 3,
    "fringe.large": 30,
    "fringe.iterations": 20,
    "fringe.clip": 3.0,
    "fringe.pedestal": False,
    "fringe.stats.badMaskPlanes": ["SAT"],
    "fringe.stats.stat": 32,
    "fringe.stats.clip": 3.0,
    "fringe.stats.iterations": 3,
    "fringe.stats.rngSeedOffset": 0,
    "vignette.xCenter": 0.0,
    "vignette.yCenter": 0.0,
    "vignette.radius": 100.0,
    "vignette.numPolygonPoints": 100,
}
BACKGROUND = {
    "statisticsProperty": "MEANCLIP",
    "undersampleStyle": "REDUCE_INTERP_ORDER",
    "binSize": 128,
    "binSizeX": 0,
    "binSizeY": 0,
    "algorithm": "AKIMA_SPLINE",
    "ignoredPixelMask": ["BAD", "EDGE", "DETECTED", "DETECTED_NEGATIVE", "NO_DATA"],
    "isNanSafe": False,
    "useApprox": True,
    "approxOrderX": 6,
    "approxOrderY": -1,
    "weighting": True,
    "doApplyFlatBackgroundRatio": False,
}
NINE = ["BAD", "SAT", "INTRP", "CR", "EDGE", "DETECTED", "DETECTED_NEGATIVE", "SUSPECT", "NO_DATA"]
WIDE = {"useApprox": False, "ignoredPixelMask": ["BAD", "EDGE", "NO_DATA"], "binSize": 512}


def of_background(prefix, **changed):
    return {f"{prefix}.{name}": value for name, value in (BACKGROUND | changed).items()}


AMP_OFFSET = {
    "ampOffset.ampEdgeInset": 5,
    "ampOffset.ampEdgeWidth": 64,
    "ampOffset.ampEdgeMinFrac": 0.5,
    "ampOffset.ampEdgeMaxOffset": 5.0,
    "ampOffset.ampEdgeWindowFrac": 512 / 4176,
    "ampOffset.doBackground": True,
    "ampOffset.backgroundFractionSample": 1.0,
    "ampOffset.doDetection": True,
    "ampOffset.doWindowSmoothing": True,
    "ampOffset.applyWeights": True,
    "ampOffset.doApplyAmpOffset": False,
    "ampOffset.detection.minPixels": 1,
    "ampOffset.detection.isotropicGrow": False,
    "ampOffset.detection.combinedGrow": True,
    "ampOffset.detection.nSigmaToGrow": 2.4,
    "ampOffset.detection.returnOriginalFootprints": False,
    "ampOffset.detection.thresholdValue": 5.0,
    "ampOffset.detection.includeThresholdMultiplier": 1.0,
    "ampOffset.detection.thresholdType": "stdev",
    "ampOffset.detection.thresholdPolarity": "positive",
    "ampOffset.detection.adjustBackground": 0.0,
    "ampOffset.detection.reEstimateBackground": False,
    "ampOffset.detection.doTempLocalBackground": True,
    "ampOffset.detection.doTempWideBackground": False,
    "ampOffset.detection.nPeaksMaxSimple": 1,
    "ampOffset.detection.nSigmaForKernel": 7.0,
    "ampOffset.detection.statsMask": ["BAD", "SAT", "EDGE", "NO_DATA"],
    "ampOffset.detection.excludeMaskPlanes": [],
    **of_background("ampOffset.background", useApprox=False, ignoredPixelMask=NINE),
    **of_background("ampOffset.detection.background"),
    **of_background("ampOffset.detection.tempLocalBackground", useApprox=False, binSize=64),
    **of_background("ampOffset.detection.tempWideBackground", **WIDE),
}

DEFAULTS = {
    **dict.fromkeys(ON, True),
    **dict.fromkeys(OFF, False),
    **OTHERS,
    **OURS,
    **QA,
    **OVERSCAN,
    **SMALL,
    **AMP_OFFSET,
}

HSC = {
    "fallbackFilterName": "HSC-R",
    "doSuspect": True,
    "overscan.fitType": "AKIMA_SPLINE",
    "overscan.order": 30,
    "assembleCcd.keysToRemove": ["PC001001", "PC001002", "PC002001", "PC002002"],
    "doCrosstalk": True,
    "crosstalk.crosstalkBackgroundMethod": "DETECTOR",
    "crosstalk.useConfigCoefficients": True,
    "crosstalk.crosstalkValues": [
        *(0.0, -124e-6, -171e-6, -157e-6),
        *(-125e-6, 0.0, -134e-6, -151e-6),
        *(-149e-6, -132e-6, 0.0, -137e-6),
        *(-156e-6, -157e-6, -153e-6, 0.0),
    ],
    "crosstalk.crosstalkShape": [4, 4],
    "doBrighterFatter": True,
    "brighterFatterMaskGrowSize": 1,
    "doStrayLight": True,
    "strayLight.doRotatorAngleCorrection": True,
    "strayLight.filters": ["HSC-Y"],
    "fringe.filters": ["HSC-Y", "NB0921", "NB0926", "NB0973", "NB1010"],
    "fringe.stats.badMaskPlanes": ["SAT", "NO_DATA", "SUSPECT", "BAD"],
    "doFringe": True,
    "doAmpOffset": True,
    "ampOffset.doApplyAmpOffset": True,
    "doMeasureBackground": True,
    "fluxMag0T1": {
        "HSC-G": 398107170553.49854,
        "HSC-R": 398107170553.49854,
        "HSC-R2": 398107170553.49854,
        "HSC-I": 275422870333.81744,
        "HSC-I2": 275422870333.81744,
        "HSC-Z": 120226443461.74132,
        "HSC-Y": 91201083935.59116,
        "NB0515": 20892961308.54041,
        "NB0816": 15848931924.611174,
        "NB0921": 19054607179.632523,
    },
    "doVignette": True,
    "vignette.xCenter": -1.5,
    "vignette.yCenter": 1.5,
    "vignette.radius": 262.5,
    "doAttachTransmissionCurve": True,
}
"""What obs_subaru's config/isr.py changes."""


def plain(value):
    if hasattr(value, "items"):
        return dict(value)
    return value if isinstance(value, str | float | int | type(None)) else list(value)


def same(one, other):
    if isinstance(one, float) and isinstance(other, float) and math.isnan(one):
        return math.isnan(other)
    return type(one) is type(other) and one == other


def values_of(config):
    return {name: plain(value) for name, _, value in leaves(config) if not name.startswith("isrStats.")}


def test_every_field_is_in_the_table():
    assert values_of(IsrConfig()).keys() == DEFAULTS.keys()


@pytest.mark.parametrize("name", DEFAULTS)
def test_default(name):
    found = values_of(IsrConfig())[name]
    assert same(found, DEFAULTS[name]), (name, found)


@pytest.mark.parametrize("name", DEFAULTS)
def test_value_of_hsc(name):
    found = values_of(hsc_config())[name]
    assert same(found, HSC.get(name, DEFAULTS[name])), (name, found)


def test_hscs_values_are_the_facts():
    config = hsc_config()
    assert list(config.crosstalk.crosstalkValues) == pytest.approx(crosstalk_matrix().ravel(), rel=1e-12)
    for name, filter_ in filters().items():
        assert config.fluxMag0T1.get(name, config.defaultFluxMag0T1) == filter_.counts_mag0
        assert (name in config.fringe.filters) == filter_.fringe
        assert (name in config.strayLight.filters) == filter_.stray_light


def test_additional_statistics_are_off():
    switches = {name: value for name, _, value in leaves(IsrConfig().isrStats) if name.endswith("Statistics")}
    on = [name for name, value in switches.items() if value]
    assert (on, len(switches)) == (["doApplyGainsForCtiStatistics"], 8)
