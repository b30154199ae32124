"""Crosstalk: LSST's ``CrosstalkConfig``."""

from __future__ import annotations

import lsst.pex.config as pexConfig

from isr.config.base import LsstConfig

__all__ = ["CrosstalkConfig"]


class CrosstalkConfig(LsstConfig):
    """Coefficients and background of the crosstalk correction (spec section 4.9)."""

    lsst_name = "lsst.ip.isr.crosstalk.CrosstalkConfig"
    targets = ("lsst.ip.isr.crosstalk.CrosstalkTask",)

    minPixelToMask = pexConfig.Field[float](
        doc="Pixels whose source is brighter than this above the background get the mask plane (ADU).",
        default=45000.0,
    )
    crosstalkMaskPlane = pexConfig.Field[str](
        doc="Mask plane of corrected bright pixels.", default="CROSSTALK"
    )
    doSubtrahendMasking = pexConfig.Field[bool](
        doc="Compare what is subtracted, not the source, with minPixelToMask?", default=False
    )
    crosstalkBackgroundMethod = pexConfig.ChoiceField[str](
        doc="Background that is subtracted from a source before it is scaled.",
        default="None",
        allowed={
            "None": "None.",
            "AMP": "Median of the source amplifier.",
            "DETECTOR": "Median of the detector.",
        },
    )
    useConfigCoefficients = pexConfig.Field[bool](
        doc="Use crosstalkValues, not the detector's coefficients?", default=False
    )
    crosstalkValues = pexConfig.ListField[float](
        doc="Coefficients, row by row; a crosstalk calibration takes their place.", default=[0.0]
    )
    crosstalkShape = pexConfig.ListField[int](
        doc="Shape of the matrix of crosstalkValues: number of amplifiers, twice.", default=[1]
    )
    doQuadraticCrosstalkCorrection = pexConfig.Field[bool](
        doc="Use the quadratic coefficients of the crosstalk calibration too?", default=False
    )
