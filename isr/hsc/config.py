"""HSC's configuration: what obs_subaru's ``config/isr.py`` changes (spec section 3)."""

from __future__ import annotations

from isr.config import IsrConfig

__all__ = ["hsc_config"]


def hsc_config() -> IsrConfig:
    """Return a new configuration with the values in force for HSC."""
    config = IsrConfig()
    config.doSuspect = True
    config.overscan.fitType = "AKIMA_SPLINE"
    config.overscan.order = 30
    return config
