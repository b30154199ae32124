"""Dataset types of the ISR task, as LSST's ip_isr and obs_base define them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from lsst.daf.butler import DatasetType, DimensionUniverse

__all__ = [
    "CALIB_TYPES",
    "EXPOSURE_FORMATTER",
    "PICKLE_FORMATTER",
    "STRAY_LIGHT_FORMATTER",
    "TABLE_FORMATTER",
    "TYPES",
    "dataset_type",
]

EXPOSURE_FORMATTER = "lsst.obs.base.formatters.fitsExposure.FitsExposureFormatter"
TABLE_FORMATTER = "lsst.obs.base.formatters.fitsGeneric.FitsGenericFormatter"
STRAY_LIGHT_FORMATTER = "lsst.obs.subaru.strayLight.formatter.SubaruStrayLightDataFormatter"
PICKLE_FORMATTER = "lsst.daf.butler.formatters.pickle.PickleFormatter"


class TypeDefinition(NamedTuple):
    """What defines a dataset type.

    Attributes
    ----------
    dimensions : `tuple` [`str`]
        Required dimensions.
    storage_class : `str`
        LSST's name of the storage class.
    formatter : `str`
        LSST's name of the formatter that reads its files; ``""``: depends on the data.
    """

    dimensions: tuple[str, ...]
    storage_class: str
    formatter: str = ""


_DETECTOR = ("instrument", "detector")
_FILTER = ("instrument", "physical_filter", "detector")
_EXPOSURE = ("instrument", "exposure", "detector")

CALIB_TYPES: Mapping[str, TypeDefinition] = {
    "bias": TypeDefinition(_DETECTOR, "ExposureF", EXPOSURE_FORMATTER),
    "dark": TypeDefinition(_DETECTOR, "ExposureF", EXPOSURE_FORMATTER),
    "flat": TypeDefinition(_FILTER, "ExposureF", EXPOSURE_FORMATTER),
    "fringe": TypeDefinition(_FILTER, "ExposureF", EXPOSURE_FORMATTER),
    "defects": TypeDefinition(_DETECTOR, "Defects", TABLE_FORMATTER),
    "crosstalk": TypeDefinition(_DETECTOR, "CrosstalkCalib", TABLE_FORMATTER),
    "linearizer": TypeDefinition(_DETECTOR, "Linearizer", TABLE_FORMATTER),
    "bfKernel": TypeDefinition(("instrument",), "NumpyArray", PICKLE_FORMATTER),
    "brighterFatterKernel": TypeDefinition(_DETECTOR, "BrighterFatterKernel", TABLE_FORMATTER),
    "yBackground": TypeDefinition(_FILTER, "StrayLightData", STRAY_LIGHT_FORMATTER),
    "camera": TypeDefinition(("instrument",), "Camera"),
}
"""Types that have validity ranges."""

TYPES: Mapping[str, TypeDefinition] = {
    "raw": TypeDefinition(_EXPOSURE, "Exposure"),
    "postISRCCD": TypeDefinition(_EXPOSURE, "Exposure", EXPOSURE_FORMATTER),
    **CALIB_TYPES,
}


def dataset_type(name: str, universe: DimensionUniverse) -> DatasetType:
    """Return one of these dataset types for a repository's dimensions."""
    definition = TYPES[name]
    return DatasetType(
        name,
        definition.dimensions,
        definition.storage_class,
        universe=universe,
        isCalibration=name in CALIB_TYPES,
    )
