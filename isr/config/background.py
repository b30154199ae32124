"""Background model and detection: configurations of LSST's ``meas_algorithms``.

The amplifier-offset step uses both (spec sections 5.5 and 5.6).
"""

from __future__ import annotations

from typing import Any

import lsst.pex.config as pexConfig

from isr.config.base import LsstConfig

__all__ = ["BackgroundConfig", "DetectionConfig"]


class BackgroundConfig(LsstConfig):
    """Background model on a grid of cells (spec section 5.5)."""

    lsst_name = "lsst.meas.algorithms.subtractBackground.SubtractBackgroundConfig"
    targets = ("lsst.meas.algorithms.subtractBackground.SubtractBackgroundTask",)

    statisticsProperty = pexConfig.ChoiceField[str](
        doc="Statistic of the pixels of a cell.",
        default="MEANCLIP",
        allowed={"MEANCLIP": "Clipped mean.", "MEAN": "Mean.", "MEDIAN": "Median."},
    )
    undersampleStyle = pexConfig.ChoiceField[str](
        doc="What to do if there are too few cells for the interpolation.",
        default="REDUCE_INTERP_ORDER",
        allowed={
            "THROW_EXCEPTION": "Stop with an error.",
            "REDUCE_INTERP_ORDER": "Use a simpler interpolation.",
            "INCREASE_NXNYSAMPLE": "Use more cells.",
        },
    )
    binSize = pexConfig.RangeField(dtype=int, doc="Size of a cell (pixels).", default=128, min=1)
    binSizeX = pexConfig.RangeField(dtype=int, doc="Width of a cell (pixels); 0: binSize.", default=0, min=0)
    binSizeY = pexConfig.RangeField(dtype=int, doc="Height of a cell (pixels); 0: binSize.", default=0, min=0)
    algorithm = pexConfig.ChoiceField[str](
        doc="Interpolation between the cells.",
        default="AKIMA_SPLINE",
        optional=True,
        allowed={
            "CONSTANT": "One value.",
            "LINEAR": "Straight lines.",
            "NATURAL_SPLINE": "Natural cubic spline.",
            "AKIMA_SPLINE": "Akima spline.",
            "NONE": "No background.",
        },
    )
    ignoredPixelMask = pexConfig.ListField[str](
        doc="Pixels with any of these planes are left out.",
        default=["BAD", "EDGE", "DETECTED", "DETECTED_NEGATIVE", "NO_DATA"],
    )
    isNanSafe = pexConfig.Field[bool](doc="Leave out NaN pixels?", default=False)
    useApprox = pexConfig.Field[bool](doc="Fit a Chebyshev polynomial to the cells?", default=True)
    approxOrderX = pexConfig.Field[int](doc="Order of the polynomial in x.", default=6)
    approxOrderY = pexConfig.Field[int](doc="Order of the polynomial in y; -1: as in x.", default=-1)
    weighting = pexConfig.Field[bool](doc="Weight the cells by their variance in the fit?", default=True)
    doApplyFlatBackgroundRatio = pexConfig.Field[bool](
        doc="Fit the background of an image that is flat for the sky, not for stars?", default=False
    )


class DetectionConfig(LsstConfig):
    """Detection of sources (spec section 5.6)."""

    lsst_name = "lsst.meas.algorithms.detection.SourceDetectionConfig"
    targets = ("lsst.meas.algorithms.detection.SourceDetectionTask",)

    minPixels = pexConfig.RangeField(dtype=int, doc="Sources of fewer pixels are dropped.", default=1, min=0)
    isotropicGrow = pexConfig.Field[bool](doc="Grow in circles, not in diamonds?", default=True)
    combinedGrow = pexConfig.Field[bool](doc="Grow all footprints at once, so that they merge?", default=True)
    nSigmaToGrow = pexConfig.Field[float](doc="Growth in sigmas of the point spread function.", default=2.4)
    returnOriginalFootprints = pexConfig.Field[bool](
        doc="Mask grown footprints but return those before growth?", default=False
    )
    thresholdValue = pexConfig.RangeField(dtype=float, doc="Threshold of detection.", default=5.0, min=0.0)
    includeThresholdMultiplier = pexConfig.RangeField(
        dtype=float,
        doc="A source is kept only if it has a pixel above this many thresholds.",
        default=1.0,
        min=0.0,
    )
    thresholdType = pexConfig.ChoiceField[str](
        doc="Unit of thresholdValue.",
        default="pixel_stdev",
        allowed={
            "variance": "Variance of the image.",
            "stdev": "Standard deviation of the image.",
            "value": "Value of the image.",
            "pixel_stdev": "Standard deviation of each pixel, from the variance plane.",
        },
    )
    thresholdPolarity = pexConfig.ChoiceField[str](
        doc="Sign of the sources.",
        default="positive",
        allowed={"positive": "Positive.", "negative": "Negative.", "both": "Both."},
    )
    adjustBackground = pexConfig.Field[float](doc="Added to the background before detection.", default=0.0)
    reEstimateBackground = pexConfig.Field[bool](
        doc="Fit the background again after detection?", default=True
    )
    background: Any = pexConfig.ConfigField(doc="Background fitted after detection.", dtype=BackgroundConfig)
    tempLocalBackground: Any = pexConfig.ConfigField(
        doc="Small-scale background, used for peaks only.", dtype=BackgroundConfig
    )
    doTempLocalBackground = pexConfig.Field[bool](doc="Use tempLocalBackground?", default=True)
    tempWideBackground: Any = pexConfig.ConfigField(
        doc="Large-scale background, taken out during detection.", dtype=BackgroundConfig
    )
    doTempWideBackground = pexConfig.Field[bool](doc="Use tempWideBackground?", default=False)
    nPeaksMaxSimple = pexConfig.Field[int](
        doc="Peaks of a footprint up to which tempLocalBackground is not needed.", default=1
    )
    nSigmaForKernel = pexConfig.Field[float](
        doc="Width of the smoothing kernel in sigmas; rounded up to an odd number of pixels.", default=7.0
    )
    statsMask = pexConfig.ListField[str](
        doc="Pixels with any of these planes are left out of the image's standard deviation.",
        default=["BAD", "SAT", "EDGE", "NO_DATA"],
    )
    excludeMaskPlanes = pexConfig.ListField[str](
        doc="Nothing is detected where any of these planes is set.", default=[]
    )

    def setDefaults(self) -> None:  # noqa: N802 (LSST's name)
        """Set what differs from the defaults of `BackgroundConfig`."""
        super().setDefaults()
        self.tempLocalBackground.binSize = 64
        self.tempLocalBackground.useApprox = False
        self.tempWideBackground.binSize = 512
        self.tempWideBackground.useApprox = False
        self.tempWideBackground.ignoredPixelMask = ["BAD", "EDGE", "NO_DATA"]
