"""Configuration of the engine, with the field names of ``lsst.ip.isr.IsrTaskConfig``.

Fields keep LSST's camelCase because users' override files name them.
"""

from isr.config.amp_offset import AmpOffsetConfig
from isr.config.background import BackgroundConfig, DetectionConfig
from isr.config.crosstalk import CrosstalkConfig
from isr.config.diagnostics import FlatnessConfig, QaConfig
from isr.config.digest import config_hash
from isr.config.isr import IsrConfig
from isr.config.optics import FringeConfig, FringeStatisticsConfig, StrayLightConfig, VignetteConfig
from isr.config.overscan import OVERSCAN_FITS, OverscanConfig
from isr.config.small import AssembleCcdConfig

__all__ = [
    "OVERSCAN_FITS",
    "AmpOffsetConfig",
    "AssembleCcdConfig",
    "BackgroundConfig",
    "CrosstalkConfig",
    "DetectionConfig",
    "FlatnessConfig",
    "FringeConfig",
    "FringeStatisticsConfig",
    "IsrConfig",
    "OverscanConfig",
    "QaConfig",
    "StrayLightConfig",
    "VignetteConfig",
    "config_hash",
]
