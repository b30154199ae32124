"""Amplifier offsets: LSST's ``AmpOffsetConfig``."""

from __future__ import annotations

from typing import Any

import lsst.pex.config as pexConfig

from isr.config.background import BackgroundConfig, DetectionConfig
from isr.config.base import LsstConfig

__all__ = ["AmpOffsetConfig"]


class AmpOffsetConfig(LsstConfig):
    """How the steps between amplifiers are measured (spec section 4.19)."""

    lsst_name = "lsst.ip.isr.ampOffset.AmpOffsetConfig"
    targets = ("lsst.ip.isr.ampOffset.AmpOffsetTask",)

    ampEdgeInset = pexConfig.Field[int](
        doc="Distance of the measured strip from the edge of the amplifier (pixels).", default=5
    )
    ampEdgeWidth = pexConfig.Field[int](doc="Width of the measured strip (pixels).", default=64)
    ampEdgeMinFrac = pexConfig.Field[float](
        doc="Least fraction of usable rows; with less the offset is 0.", default=0.5
    )
    ampEdgeMaxOffset = pexConfig.Field[float](
        doc="Largest offset that is believed (ADU); beyond it the offset is 0.", default=5.0
    )
    ampEdgeWindowFrac = pexConfig.Field[float](
        doc="Length of the sliding window as a fraction of the edge; the default is HSC's 512 rows.",
        default=512 / 4176,
        check=lambda value: 0 < value <= 1,
    )
    doBackground = pexConfig.Field[bool](doc="Subtract a background before measuring?", default=True)
    background: Any = pexConfig.ConfigField(
        doc="Background subtracted before measuring.", dtype=BackgroundConfig
    )
    backgroundFractionSample = pexConfig.Field[float](
        doc="Size of a background cell as a fraction of the amplifier's shorter side.",
        default=1.0,
        check=lambda value: value > 0,
    )
    doDetection = pexConfig.Field[bool](doc="Detect and leave out sources before measuring?", default=True)
    detection: Any = pexConfig.ConfigField(
        doc="Detection of sources before measuring.", dtype=DetectionConfig
    )
    doWindowSmoothing = pexConfig.Field[bool](
        doc="Smooth the difference along the edge with a sliding window?", default=True
    )
    applyWeights = pexConfig.Field[bool](doc="Weight the offsets by the lengths of the edges?", default=True)
    doApplyAmpOffset = pexConfig.Field[bool](
        doc="Subtract the offsets? False: only write them to the header.", default=False
    )

    def setDefaults(self) -> None:  # noqa: N802 (LSST's name)
        """Set what differs from the defaults of background and detection."""
        super().setDefaults()
        self.background.algorithm = "AKIMA_SPLINE"
        self.background.useApprox = False
        self.background.ignoredPixelMask = [
            "BAD",
            "SAT",
            "INTRP",
            "CR",
            "EDGE",
            "DETECTED",
            "DETECTED_NEGATIVE",
            "SUSPECT",
            "NO_DATA",
        ]
        self.detection.reEstimateBackground = False
        self.detection.thresholdType = "stdev"
        self.detection.isotropicGrow = False
