"""Quality numbers: LSST's ``IsrQaConfig`` and ``IsrStatisticsTaskConfig``."""

from __future__ import annotations

from typing import Any

import lsst.pex.config as pexConfig

from isr.config.base import LsstConfig

__all__ = ["FlatnessConfig", "IsrStatisticsConfig", "QaConfig"]


def _odd_or_zero(value: int) -> bool:
    return value == 0 or value % 2 == 1


def _fraction(value: float) -> bool:
    return 0.0 <= value <= 1.0


class FlatnessConfig(LsstConfig):
    """Flatness of the background (spec section 4.20)."""

    lsst_name = "lsst.ip.isr.isrQa.IsrQaFlatnessConfig"

    meshX = pexConfig.Field[int](doc="Width of a mesh (pixels).", default=256, check=lambda value: value > 0)
    meshY = pexConfig.Field[int](doc="Height of a mesh (pixels).", default=256, check=lambda value: value > 0)
    doClip = pexConfig.Field[bool](doc="Clip the pixels of a mesh?", default=True)
    clipSigma = pexConfig.Field[float](doc="Clipping (sigmas).", default=3.0)
    nIter = pexConfig.Field[int](doc="Iterations of the clipping.", default=3)


class QaConfig(LsstConfig):
    """Numbers and pictures for quality assurance."""

    lsst_name = "lsst.ip.isr.isrQa.IsrQaConfig"

    saveStats = pexConfig.Field[bool](doc="Write the overscan's numbers?", default=True)
    flatness: Any = pexConfig.ConfigField(doc="Flatness of the background.", dtype=FlatnessConfig)
    doWriteOss = pexConfig.Field[bool](doc="Write the image after the overscan?", default=False)
    doThumbnailOss = pexConfig.Field[bool](doc="Write a thumbnail after the overscan?", default=False)
    doWriteFlattened = pexConfig.Field[bool](doc="Write the image after the flat?", default=False)
    doThumbnailFlattened = pexConfig.Field[bool](doc="Write a thumbnail after the flat?", default=False)
    thumbnailBinning = pexConfig.Field[int](doc="Binning of thumbnails.", default=4)
    thumbnailStdev = pexConfig.Field[float](
        doc="Sigmas below the background at which thumbnails are black.", default=3.0
    )
    thumbnailRange = pexConfig.Field[float](doc="Range of thumbnails (sigmas).", default=5.0)
    thumbnailQ = pexConfig.Field[float](doc="Softening of thumbnails.", default=20.0)
    thumbnailSatBorder = pexConfig.Field[int](
        doc="Border around saturated pixels in thumbnails (pixels).", default=2
    )


class IsrStatisticsConfig(LsstConfig):
    """Additional statistics of LSST; this engine has none of them."""

    lsst_name = "lsst.ip.isr.isrStatistics.IsrStatisticsTaskConfig"
    targets = ("lsst.ip.isr.isrStatistics.IsrStatisticsTask",)

    doCtiStatistics = pexConfig.Field[bool](doc="Measure charge transfer?", default=False)
    doApplyGainsForCtiStatistics = pexConfig.Field[bool](
        doc="Apply gains when measuring charge transfer?", default=True
    )
    doBandingStatistics = pexConfig.Field[bool](doc="Measure banding?", default=False)
    bandingKernelSize = pexConfig.Field[int](
        doc="Smoothing of banding (pixels).", default=3, check=_odd_or_zero
    )
    bandingFractionLow = pexConfig.Field[float](doc="Low quantile of banding.", default=0.1, check=_fraction)
    bandingFractionHigh = pexConfig.Field[float](
        doc="High quantile of banding.", default=0.9, check=_fraction
    )
    bandingUseHalfDetector = pexConfig.Field[float](
        doc="Use the first half of the amplifiers for banding (LSST stores this switch as a number).",
        default=1.0,
    )
    doProjectionStatistics = pexConfig.Field[bool](doc="Measure projections?", default=False)
    projectionKernelSize = pexConfig.Field[int](
        doc="Smoothing of projections (pixels).", default=0, check=_odd_or_zero
    )
    doProjectionFft = pexConfig.Field[bool](doc="Fourier transforms of the projections?", default=False)
    projectionFftWindow = pexConfig.ChoiceField[str](
        doc="Window of the Fourier transforms.",
        default="HAMMING",
        allowed={"HAMMING": "Hamming.", "HANN": "Hann.", "GAUSSIAN": "Gaussian.", "NONE": "None."},
    )
    doDivisaderoStatistics = pexConfig.Field[bool](doc="Measure tearing?", default=False)
    divisaderoEdgePixels = pexConfig.Field[int](doc="Edge left out of the fit of tearing.", default=25)
    divisaderoNumImpactPixels = pexConfig.Field[int](doc="Edge examined for tearing.", default=2)
    divisaderoProjectionMinimum = pexConfig.Field[int](doc="First row for tearing.", default=10)
    divisaderoProjectionMaximum = pexConfig.Field[int](doc="Last row for tearing.", default=210)
    doCopyCalibDistributionStatistics = pexConfig.Field[bool](
        doc="Copy percentiles of the calibrations?", default=False
    )
    expectedDistributionLevels = pexConfig.ListField[float](
        doc="Percentiles of the calibrations.", default=[0.0, 5.0, 16.0, 50.0, 84.0, 95.0, 100.0]
    )
    doBiasShiftStatistics = pexConfig.Field[bool](doc="Count shifts of the bias?", default=False)
    biasShiftFilterOrder = pexConfig.Field[int](doc="Order of the high-pass filter.", default=5)
    biasShiftCutoff = pexConfig.Field[float](doc="Cutoff of the high-pass filter.", default=1.0 / 15.0)
    biasShiftWindow = pexConfig.Field[int](doc="Window of the high-pass filter (pixels).", default=30)
    biasShiftThreshold = pexConfig.Field[float](doc="Signal to noise of a shift.", default=3.0)
    biasShiftRowSkip = pexConfig.Field[int](doc="Rows left out.", default=30)
    biasShiftColumnSkip = pexConfig.Field[int](doc="Columns left out.", default=3)
    doAmplifierCorrelationStatistics = pexConfig.Field[bool](
        doc="Measure correlations between amplifiers?", default=False
    )
    stat = pexConfig.Field[str](doc="Statistic of a region.", default="MEANCLIP")
    nSigmaClip = pexConfig.Field[float](doc="Clipping (sigmas).", default=3.0)
    nIter = pexConfig.Field[int](doc="Iterations of the clipping.", default=3)
    badMask = pexConfig.ListField[str](
        doc="Pixels with any of these planes are left out.", default=["BAD", "INTRP", "SAT"]
    )
