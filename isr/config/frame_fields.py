"""Fields of the steps up to the assembled detector's variance (spec sections 4.1 to 4.7)."""

from __future__ import annotations

from typing import Any

import lsst.pex.config as pexConfig

from isr.config.base import LsstConfig
from isr.config.diagnostics import QaConfig
from isr.config.overscan import OverscanConfig
from isr.config.small import AssembleCcdConfig, DeferredChargeConfig

__all__ = ["FrameFields"]


class FrameFields(LsstConfig):
    """Input, saturation, overscan, assembly, bias, variance."""

    # Input.
    datasetType = pexConfig.Field[str](doc="Dataset type of the raw frame.", default="raw")
    fallbackFilterName = pexConfig.Field[str](
        doc="Filter of calibrations where the exposure's has none.", optional=True, default=None
    )
    useFallbackDate = pexConfig.Field[bool](doc="Pass the date with the fallback filter?", default=False)
    expectWcs = pexConfig.Field[bool](doc="Warn if the raw frame has no sky coordinates?", default=True)
    fwhm = pexConfig.Field[float](doc="Width of the point spread function (arcsec).", default=1.0)
    qa: Any = pexConfig.ConfigField(doc="Numbers and pictures for quality assurance.", dtype=QaConfig)
    doHeaderProvenance = pexConfig.Field[bool](
        doc="Write the calibrations' identifiers into the header?", default=True
    )
    doRaiseOnCalibMismatch = pexConfig.Field[bool](
        doc="Stop if the keywords of cameraKeywordsToCompare differ?", default=False
    )
    cameraKeywordsToCompare = pexConfig.ListField[str](
        doc="Keywords that exposure and calibrations must share.", default=[]
    )
    doConvertIntToFloat = pexConfig.Field[bool](doc="Convert the raw pixels to float32?", default=True)

    # Saturation and suspect pixels: raw ADU, per amplifier.
    doSaturation = pexConfig.Field[bool](doc="Mask saturated pixels?", default=True)
    saturatedMaskName = pexConfig.Field[str](doc="Mask plane of saturated pixels.", default="SAT")
    saturation = pexConfig.Field[float](
        doc="Saturation level in raw ADU for all amplifiers; NaN: the camera's value of each amplifier.",
        default=float("nan"),
    )
    growSaturationFootprintSize = pexConfig.Field[int](
        doc="Saturated pixels grow by this before they are interpolated (pixels, diamond).", default=1
    )
    doSuspect = pexConfig.Field[bool](doc="Mask suspect pixels?", default=False)
    suspectMaskName = pexConfig.Field[str](doc="Mask plane of suspect pixels.", default="SUSPECT")
    numEdgeSuspect = pexConfig.Field[int](doc="Width of the edge that is suspect (pixels).", default=0)
    edgeMaskLevel = pexConfig.ChoiceField[str](
        doc="Which edges numEdgeSuspect means.",
        default="DETECTOR",
        allowed={"DETECTOR": "Edges of the detector.", "AMP": "Edges of each amplifier."},
    )

    # Bad regions.
    doSetBadRegions = pexConfig.Field[bool](
        doc="Fill BAD pixels with the image's median before interpolation?",
        default=True,
    )
    badStatistic = pexConfig.ChoiceField[str](
        doc="Level of filled BAD pixels; the median is used whatever this says, as in LSST.",
        default="MEANCLIP",
        allowed={"MEANCLIP": "Clipped mean of the good pixels.", "MEDIAN": "Median of the good pixels."},
    )

    # Overscan and assembly.
    doOverscan = pexConfig.Field[bool](doc="Subtract the overscan level?", default=True)
    overscan: Any = pexConfig.ConfigField(doc="Model of the overscan level.", dtype=OverscanConfig)
    doAssembleCcd = pexConfig.Field[bool](doc="Assemble the amplifiers?", default=True)
    assembleCcd: Any = pexConfig.ConfigField(doc="Assembly.", dtype=AssembleCcdConfig)
    doAssembleIsrExposures = pexConfig.Field[bool](doc="Assemble the calibrations too?", default=False)
    doTrimToMatchCalib = pexConfig.Field[bool](doc="Trim the frame to the calibrations?", default=False)

    # Bias, deferred charge, variance.
    doBias = pexConfig.Field[bool](doc="Subtract the bias frame?", default=True)
    biasDataProductName = pexConfig.Field[str](doc="Name of the bias's dataset type.", default="bias")
    doBiasBeforeOverscan = pexConfig.Field[bool](
        doc="Subtract an untrimmed bias frame before the overscan?", default=False
    )
    doDeferredCharge = pexConfig.Field[bool](doc="Correct deferred charge?", default=False)
    deferredChargeCorrection: Any = pexConfig.ConfigField(
        doc="Correction of deferred charge.", dtype=DeferredChargeConfig
    )
    doVariance = pexConfig.Field[bool](doc="Compute the variance from gain and read noise?", default=True)
    gain = pexConfig.Field[float](
        doc="Gain for input without a detector (not used: a RawFrame always has a detector).",
        default=float("nan"),
    )
    readNoise = pexConfig.Field[float](
        doc="Read noise for input without a detector (not used: a RawFrame always has a detector).",
        default=0.0,
    )
    doEmpiricalReadNoise = pexConfig.Field[bool](doc="Measure the read noise in the overscan?", default=False)
    usePtcReadNoise = pexConfig.Field[bool](
        doc="Take the read noise from a photon transfer curve?", default=False
    )
    maskNegativeVariance = pexConfig.Field[bool](
        doc="Mask pixels whose variance is not positive? Switch off for bias- and dark-like frames.",
        default=True,
    )
    negativeVarianceMaskName = pexConfig.Field[str](
        doc="Mask plane of pixels with a variance that is not positive.", default="BAD"
    )
