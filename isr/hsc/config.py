"""HSC's configuration: what obs_subaru's ``config/isr.py`` changes (spec section 3)."""

from __future__ import annotations

from isr.config import IsrConfig
from isr.hsc.facts import VIGNETTE, crosstalk_matrix, filters

__all__ = ["apply_hsc_overrides", "hsc_config"]


def hsc_config() -> IsrConfig:
    """Return a new configuration with the values in force for HSC."""
    config = IsrConfig()
    apply_hsc_overrides(config)
    return config


def apply_hsc_overrides(config: IsrConfig) -> None:
    """Set the values in force for HSC, and leave all others as they are.

    Parameters
    ----------
    config : `isr.config.IsrConfig`
        Configuration that is changed in place; may be that of a pipeline task.
    """
    config.fallbackFilterName = "HSC-R"
    config.doSuspect = True
    config.overscan.fitType = "AKIMA_SPLINE"
    config.overscan.order = 30
    config.assembleCcd.keysToRemove = ["PC001001", "PC001002", "PC002001", "PC002002"]
    config.doBrighterFatter = True
    config.brighterFatterMaskGrowSize = 1
    config.doAmpOffset = True
    config.ampOffset.doApplyAmpOffset = True
    config.doMeasureBackground = True
    config.fluxMag0T1 = {
        name: filter_.counts_mag0
        for name, filter_ in filters().items()
        if filter_.counts_mag0 != config.defaultFluxMag0T1
    }
    config.doAttachTransmissionCurve = True
    _set_crosstalk(config)
    _set_optics(config)


def _set_crosstalk(config: IsrConfig) -> None:
    matrix = crosstalk_matrix()
    config.doCrosstalk = True
    config.crosstalk.crosstalkBackgroundMethod = "DETECTOR"
    config.crosstalk.useConfigCoefficients = True
    config.crosstalk.crosstalkValues = matrix.round(9).ravel().tolist()  # exact, in units of 1e-6
    config.crosstalk.crosstalkShape = list(matrix.shape)


def _set_optics(config: IsrConfig) -> None:
    config.doStrayLight = True
    config.strayLight.doRotatorAngleCorrection = True
    config.strayLight.filters = [name for name, filter_ in filters().items() if filter_.stray_light]
    config.doFringe = True
    config.fringe.filters = sorted(name for name, filter_ in filters().items() if filter_.fringe)
    config.fringe.stats.badMaskPlanes = ["SAT", "NO_DATA", "SUSPECT", "BAD"]
    config.doVignette = True
    config.vignette.xCenter = VIGNETTE.x
    config.vignette.yCenter = VIGNETTE.y
    config.vignette.radius = VIGNETTE.radius
    config.vignette.numPolygonPoints = VIGNETTE.vertices
