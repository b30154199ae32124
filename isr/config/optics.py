"""Fringes, stray light and vignetting: LSST's configurations of the same steps."""

from __future__ import annotations

from typing import Any, ClassVar

import lsst.pex.config as pexConfig

from isr.config.base import AnyValue, LsstConfig

__all__ = ["FringeConfig", "FringeStatisticsConfig", "StrayLightConfig", "VignetteConfig"]

MEDIAN = 32
"""Number of the median among the statistics of afw."""


class FringeStatisticsConfig(LsstConfig):
    """How the amplitude at one place is measured (spec section 4.16)."""

    lsst_name = "lsst.ip.isr.fringe.FringeStatisticsConfig"

    badMaskPlanes = pexConfig.ListField[str](
        doc="Pixels with any of these planes are left out.", default=["SAT"]
    )
    stat = pexConfig.Field[int](doc="Statistic of afw, by number: 32 is the median.", default=MEDIAN)
    clip = pexConfig.Field[float](doc="Clipping of the statistic (sigmas).", default=3.0)
    iterations = pexConfig.Field[int](doc="Iterations of the clipping.", default=3)
    rngSeedOffset = pexConfig.Field[int](
        doc="Added to the exposure's number to seed the random places.", default=0
    )


class FringeConfig(LsstConfig):
    """How fringes are measured and subtracted (spec section 4.16)."""

    lsst_name = "lsst.ip.isr.fringe.FringeConfig"
    targets = ("lsst.ip.isr.fringe.FringeTask",)

    filters = pexConfig.ListField[str](doc="Physical filters that have fringes.", default=[])
    num = pexConfig.Field[int](doc="Number of random places.", default=30000)
    small = pexConfig.Field[int](doc="Half the size of the fringe box (pixels).", default=3)
    large = pexConfig.Field[int](doc="Half the size of the background box (pixels).", default=30)
    iterations = pexConfig.Field[int](doc="Most iterations of the fit.", default=20)
    clip = pexConfig.Field[float](doc="Clipping of the fit (robust sigmas).", default=3.0)
    stats: Any = pexConfig.ConfigField(doc="Measurement at one place.", dtype=FringeStatisticsConfig)
    pedestal = pexConfig.Field[bool](doc="Subtract the fringe frame's median first?", default=False)


class StrayLightConfig(LsstConfig):
    """Stray light of HSC's encoder (spec section 4.14)."""

    lsst_name = "lsst.ip.isr.straylight.StrayLightConfig"
    targets = ("lsst.obs.subaru.strayLight.yStrayLight.SubaruStrayLightTask",)

    doRotatorAngleCorrection = pexConfig.Field[bool](
        doc="Integrate over the rotator's way during the exposure? False: its angle at the start.",
        default=False,
    )
    filters = pexConfig.ListField[str](doc="Physical filters that see the stray light.", default=[])


class VignetteConfig(LsstConfig):
    """Circle outside which the light is vignetted (spec section 4.16)."""

    lsst_name = "lsst.ip.isr.vignette.VignetteConfig"
    targets = ("lsst.ip.isr.vignette.VignetteTask",)
    retired: ClassVar[dict[str, Any]] = {"doWriteVignettePolygon": AnyValue}

    xCenter = pexConfig.Field[float](doc="Centre in x, focal plane (mm).", default=0.0)
    yCenter = pexConfig.Field[float](doc="Centre in y, focal plane (mm).", default=0.0)
    radius = pexConfig.Field[float](
        doc="Radius, focal plane (mm).", default=100.0, check=lambda value: value >= 0
    )
    numPolygonPoints = pexConfig.Field[int](doc="Number of corners of the polygon.", default=100)
