"""Overscan: LSST's ``OverscanCorrectionTaskConfig``."""

from __future__ import annotations

import lsst.pex.config as pexConfig

from isr.config.base import LsstConfig

__all__ = ["OVERSCAN_FITS", "OverscanConfig"]

OVERSCAN_FITS = {
    "MEAN": "One mean level per amplifier.",
    "MEANCLIP": "One clipped mean level per amplifier.",
    "MEDIAN": "One median level per amplifier.",
    "MEDIAN_PER_ROW": "Median of each row.",
    "POLY": "Ordinary polynomial along the rows.",
    "CHEB": "Chebyshev polynomial along the rows.",
    "LEG": "Legendre polynomial along the rows.",
    "NATURAL_SPLINE": "Natural cubic spline along the rows.",
    "CUBIC_SPLINE": "Cubic spline along the rows (the same as NATURAL_SPLINE, as in afw).",
    "AKIMA_SPLINE": "Akima spline along the rows.",
}


class OverscanConfig(LsstConfig):
    """How the overscan of an amplifier is modelled (spec section 4.3)."""

    lsst_name = "lsst.ip.isr.overscan.OverscanCorrectionTaskConfig"
    targets = ("lsst.ip.isr.overscan.OverscanCorrectionTask",)

    fitType = pexConfig.ChoiceField[str](
        doc="Model of the overscan level.", default="MEDIAN", allowed=OVERSCAN_FITS
    )
    order = pexConfig.Field[int](
        doc="Degree of a polynomial, or number of bins (knots) of a spline.",
        default=1,
        check=lambda value: value >= 0,
    )
    numSigmaClip = pexConfig.Field[float](
        doc="Pixels further than this many robust sigmas from the median of their row are rejected.",
        default=3.0,
        check=lambda value: value > 0,
    )
    maskPlanes = pexConfig.ListField[str](
        doc="Pixels with any of these planes are left out of the model.", default=["BAD", "SAT"]
    )
    overscanIsInt = pexConfig.Field[bool](
        doc="MEDIAN_PER_ROW: use the median of integers (interpolated inside the median's value).",
        default=True,
    )
    maxDeviation = pexConfig.Field[float](
        doc="Overscan pixels further than this from the median of the overscan become BAD (ADU).",
        default=1000.0,
        check=lambda value: value > 0,
    )
    doAbsoluteMaxDeviation = pexConfig.Field[bool](
        doc="Does maxDeviation count on both sides of the median?", default=True
    )
    doParallelOverscan = pexConfig.Field[bool](
        doc="Subtract the parallel overscan too, after the serial one?", default=False
    )
    parallelOverscanMaskThreshold = pexConfig.Field[int](
        doc="Pixels of the parallel overscan above this are bleed trails (ADU).", default=100000
    )
    parallelOverscanMaskGrowSize = pexConfig.Field[int](
        doc="Bleed trails in the parallel overscan are grown by this many pixels.", default=7
    )
    leadingColumnsToSkip = pexConfig.Field[int](
        doc="Columns of the serial overscan that are not used, on the side of the image.", default=0
    )
    trailingColumnsToSkip = pexConfig.Field[int](
        doc="Columns of the serial overscan that are not used, on the far side.", default=0
    )
    leadingRowsToSkip = pexConfig.Field[int](
        doc="Rows of the parallel overscan that are not used, on the side of the image.", default=0
    )
    trailingRowsToSkip = pexConfig.Field[int](
        doc="Rows of the parallel overscan that are not used, on the far side.", default=0
    )
