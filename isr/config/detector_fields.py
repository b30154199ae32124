"""Fields of the corrections on the assembled detector (spec sections 4.8 to 4.16)."""

from __future__ import annotations

from typing import Any

import lsst.pex.config as pexConfig

from isr.config.base import LsstConfig
from isr.config.crosstalk import CrosstalkConfig
from isr.config.optics import FringeConfig, StrayLightConfig

__all__ = ["DetectorFields"]


class DetectorFields(LsstConfig):
    """Linearity, crosstalk, masks, brighter-fatter, dark, stray light, flat, fringe."""

    # Linearity and crosstalk.
    doLinearize = pexConfig.Field[bool](doc="Correct non-linearity?", default=True)
    doCrosstalk = pexConfig.Field[bool](doc="Correct crosstalk between amplifiers?", default=False)
    doCrosstalkBeforeAssemble = pexConfig.Field[bool](
        doc="Correct crosstalk before assembly and trimming?", default=False
    )
    crosstalk: Any = pexConfig.ConfigField(doc="Crosstalk between amplifiers.", dtype=CrosstalkConfig)

    # Masks.
    doDefect = pexConfig.Field[bool](doc="Mask the detector's defects?", default=True)
    doNanMasking = pexConfig.Field[bool](doc="Mask pixels that are not finite (UNMASKEDNAN)?", default=True)
    doWidenSaturationTrails = pexConfig.Field[bool](
        doc="Widen saturated trails by their width?", default=True
    )

    # Brighter-fatter.
    doBrighterFatter = pexConfig.Field[bool](doc="Correct the brighter-fatter effect?", default=False)
    doFluxConservingBrighterFatterCorrection = pexConfig.Field[bool](
        doc="Use the variant that conserves flux (Miller et al.)?", default=False
    )
    brighterFatterLevel = pexConfig.ChoiceField[str](
        doc="What has a kernel of its own.",
        default="DETECTOR",
        allowed={"AMP": "Each amplifier.", "DETECTOR": "The detector."},
    )
    brighterFatterMaxIter = pexConfig.Field[int](doc="Most iterations.", default=10)
    brighterFatterThreshold = pexConfig.Field[float](
        doc="Stop when the sum of absolute changes over the image is below this.", default=1000.0
    )
    brighterFatterApplyGain = pexConfig.Field[bool](doc="Work in electrons?", default=True)
    brighterFatterMaskListToInterpolate = pexConfig.ListField[str](
        doc="Planes that are interpolated for the correction, and grown after it.",
        default=["SAT", "BAD", "NO_DATA", "UNMASKEDNAN"],
    )
    brighterFatterMaskGrowSize = pexConfig.Field[int](
        doc="Growth of those planes after the correction (pixels, diamond).", default=0
    )

    # Dark, stray light, flat, gains.
    doDark = pexConfig.Field[bool](doc="Subtract the dark frame, scaled to the dark time?", default=True)
    darkDataProductName = pexConfig.Field[str](doc="Name of the dark's dataset type.", default="dark")
    doStrayLight = pexConfig.Field[bool](doc="Subtract stray light?", default=False)
    strayLight: Any = pexConfig.ConfigField(doc="Stray light.", dtype=StrayLightConfig)
    doFlat = pexConfig.Field[bool](doc="Divide by the flat?", default=True)
    flatDataProductName = pexConfig.Field[str](doc="Name of the flat's dataset type.", default="flat")
    flatScalingType = pexConfig.ChoiceField[str](
        doc="What the flat is scaled by.",
        default="USER",
        allowed={"USER": "flatUserScale.", "MEAN": "1 / its mean.", "MEDIAN": "1 / its median."},
    )
    flatUserScale = pexConfig.Field[float](doc="Scale of the flat if flatScalingType is USER.", default=1.0)
    doTweakFlat = pexConfig.Field[bool](doc="Match the flat to the amplifiers' ratios?", default=False)
    doApplyGains = pexConfig.Field[bool](doc="Multiply by the gains instead of the flat?", default=False)
    usePtcGains = pexConfig.Field[bool](doc="Take the gains from a photon transfer curve?", default=False)
    normalizeGains = pexConfig.Field[bool](doc="Give all amplifiers the same median?", default=False)

    # Fringes.
    doFringe = pexConfig.Field[bool](doc="Subtract fringes?", default=True)
    fringe: Any = pexConfig.ConfigField(doc="Fringes.", dtype=FringeConfig)
    fringeAfterFlat = pexConfig.Field[bool](
        doc="Subtract fringes after the flat? False: before it.", default=True
    )
