"""Fields of what is done to the corrected detector (spec sections 4.16 to 4.20)."""

from __future__ import annotations

from typing import Any

import lsst.pex.config as pexConfig

from isr.config.amp_offset import AmpOffsetConfig
from isr.config.base import LsstConfig
from isr.config.diagnostics import IsrStatisticsConfig
from isr.config.optics import VignetteConfig
from isr.config.small import MaskingConfig

__all__ = ["ProductFields"]


class ProductFields(LsstConfig):
    """Amplifier offsets, interpolation, zero point, vignetting, statistics, output."""

    # Amplifier offsets, background, masks of the camera.
    doAmpOffset = pexConfig.Field[bool](doc="Measure amplifier offsets?", default=False)
    ampOffset: Any = pexConfig.ConfigField(doc="Amplifier offsets.", dtype=AmpOffsetConfig)
    doMeasureBackground = pexConfig.Field[bool](doc="Measure level and flatness of the sky?", default=False)
    doCameraSpecificMasking = pexConfig.Field[bool](doc="Mask what is specific to the camera?", default=False)
    masking: Any = pexConfig.ConfigField(doc="Masks of the camera.", dtype=MaskingConfig)

    # Interpolation.
    doInterpolate = pexConfig.Field[bool](doc="Interpolate bad pixels?", default=True)
    doSaturationInterpolation = pexConfig.Field[bool](doc="Interpolate saturated pixels?", default=True)
    doNanInterpolation = pexConfig.Field[bool](doc="Interpolate UNMASKEDNAN pixels?", default=True)
    doNanInterpAfterFlat = pexConfig.Field[bool](doc="Interpolate NaN again after the flat?", default=False)
    maskListToInterpolate = pexConfig.ListField[str](
        doc="Planes to interpolate; validation adds or removes SAT and adds UNMASKEDNAN by the switches.",
        default=["SAT", "BAD"],
    )
    doSaveInterpPixels = pexConfig.Field[bool](doc="Keep the pixels before interpolation?", default=False)
    useLegacyInterp = pexConfig.Field[bool](
        doc="Interpolate along rows? False: Gaussian process.", default=True
    )

    # Zero point.
    fluxMag0T1 = pexConfig.DictField[str, float](
        doc="Counts of magnitude 0 in one second, by physical filter (ADU).",
        default={"Unknown": 10.0 ** (0.4 * 28.0)},
    )
    defaultFluxMag0T1 = pexConfig.Field[float](
        doc="The same for filters that are not listed.", default=10.0 ** (0.4 * 28.0)
    )

    # Vignetting.
    doVignette = pexConfig.Field[bool](doc="Attach the polygon that is not vignetted?", default=False)
    doMaskVignettePolygon = pexConfig.Field[bool](doc="Mask the pixels outside the polygon?", default=True)
    vignetteValue = pexConfig.Field[float](
        doc="Value of the pixels outside the polygon; None: leave them.", optional=True, default=None
    )
    vignette: Any = pexConfig.ConfigField(doc="Vignetting.", dtype=VignetteConfig)

    # Transmission, illumination.
    doAttachTransmissionCurve = pexConfig.Field[bool](doc="Attach a transmission curve?", default=False)
    doUseOpticsTransmission = pexConfig.Field[bool](doc="Use the optics' curve?", default=True)
    doUseFilterTransmission = pexConfig.Field[bool](doc="Use the filter's curve?", default=True)
    doUseSensorTransmission = pexConfig.Field[bool](doc="Use the sensor's curve?", default=True)
    doUseAtmosphereTransmission = pexConfig.Field[bool](doc="Use the atmosphere's curve?", default=True)
    doIlluminationCorrection = pexConfig.Field[bool](doc="Correct the illumination?", default=False)
    illuminationCorrectionDataProductName = pexConfig.Field[str](
        doc="Name of the illumination correction's dataset type.", default="illumcor"
    )
    illumScale = pexConfig.Field[float](doc="Scale of the illumination correction.", default=1.0)
    illumFilters = pexConfig.ListField[str](doc="Filters that get the illumination correction.", default=[])

    # Statistics and output.
    doStandardStatistics = pexConfig.Field[bool](
        doc="Write the final statistics of each amplifier?", default=True
    )
    doCalculateStatistics = pexConfig.Field[bool](doc="Compute additional statistics?", default=False)
    isrStats: Any = pexConfig.ConfigField(doc="Additional statistics.", dtype=IsrStatisticsConfig)
    doBinnedExposures = pexConfig.Field[bool](doc="Write binned images?", default=False)
    binFactor1 = pexConfig.Field[int](
        doc="Binning of the first binned image.", default=8, check=lambda value: value > 1
    )
    binFactor2 = pexConfig.Field[int](
        doc="Binning of the second binned image.", default=64, check=lambda value: value > 1
    )
    doWrite = pexConfig.Field[bool](doc="Write the postISRCCD?", default=True)
