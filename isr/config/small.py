"""LSST's small sub-configurations of assembly, masking and deferred charge."""

from __future__ import annotations

import lsst.pex.config as pexConfig

from isr.config.base import LsstConfig

__all__ = ["AssembleCcdConfig", "DeferredChargeConfig", "MaskingConfig"]


class AssembleCcdConfig(LsstConfig):
    """Assembly of the amplifiers (spec section 4.5)."""

    lsst_name = "lsst.ip.isr.assembleCcdTask.AssembleCcdConfig"
    targets = ("lsst.ip.isr.assembleCcdTask.AssembleCcdTask",)

    doTrim = pexConfig.Field[bool](doc="Drop prescan and overscan?", default=True)
    keysToRemove = pexConfig.ListField[str](
        doc="Header keywords to remove, besides DATASEC, BIASSEC, TRIMSEC and GAIN.", default=()
    )


class MaskingConfig(LsstConfig):
    """Camera-specific masking; HSC has none."""

    lsst_name = "lsst.ip.isr.masking.MaskingConfig"
    targets = ("lsst.ip.isr.masking.MaskingTask",)

    doSpecificMasking = pexConfig.Field[bool](doc="Mask what is specific to the camera?", default=False)


class DeferredChargeConfig(LsstConfig):
    """Deferred charge; HSC's configuration does not correct it."""

    lsst_name = "lsst.ip.isr.deferredCharge.DeferredChargeConfig"
    targets = ("lsst.ip.isr.deferredCharge.DeferredChargeTask",)

    nPixelOffsetCorrection = pexConfig.Field[int](doc="Pixels that the local offset looks at.", default=15)
    nPixelTrapCorrection = pexConfig.Field[int](doc="Pixels that the traps look at.", default=6)
    zeroUnusedPixels = pexConfig.Field[bool](doc="Set prescan and overscan to zero first?", default=True)
