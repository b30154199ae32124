"""Rough photometric zero point (spec section 4.18)."""

from __future__ import annotations

import logging
import math

from isr.config import IsrConfig
from isr.errors import ConfigError
from isr.exposure import AB_ZERO_FLUX, Exposure

__all__ = ["set_rough_zero_point"]

log = logging.getLogger(__name__)


def set_rough_zero_point(exposure: Exposure, config: IsrConfig) -> float | None:
    """Set the calibration of the exposure from a table of zero points by filter.

    Parameters
    ----------
    exposure : `isr.exposure.Exposure`
        Exposure (ADU) whose metadata gets ``FLUXMAG0``, the ADU of magnitude
        0, which afw reads as a PhotoCalib.
    config : `isr.config.IsrConfig`
        ``fluxMag0T1``: ADU of magnitude 0 in 1 s by physical filter;
        ``defaultFluxMag0T1`` for filters that it lacks.

    Returns
    -------
    calibration_mean : `float` or `None`
        nJy per ADU; `None` if the exposure time is not positive: then nothing
        is set, as in LSST.

    Raises
    ------
    ConfigError
        If the zero point in the configuration is not positive.
    """
    physical_filter = exposure.visit_info.physical_filter or "Unknown"  # as LSST names it
    if physical_filter not in config.fluxMag0T1:
        log.warning("No rough zero point for filter %s: default taken", physical_filter)
    flux = config.fluxMag0T1.get(physical_filter, config.defaultFluxMag0T1)
    if not 0.0 < flux < math.inf:
        raise ConfigError(
            f"Zero point of filter {physical_filter!r} (fluxMag0T1, defaultFluxMag0T1) is {flux}, expected a "
            "positive number of ADU."
        )
    exposure_time = exposure.visit_info.exposure_time
    if not 0.0 < exposure_time < math.inf:
        log.warning("Exposure time is %s s: no rough zero point set", exposure_time)
        return None
    counts = flux * exposure_time
    exposure.metadata["FLUXMAG0"] = counts
    log.info("Rough zero point %.4f mag for filter %s", 2.5 * math.log10(counts), physical_filter)
    return AB_ZERO_FLUX / counts
