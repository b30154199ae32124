"""Hyper Suprime-Cam as Butler repositories know it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lsst.daf.butler import DataId, Registry
from lsst.pex.config import Config
from lsst.pipe.base import Instrument

from isr.hsc import camera, filters
from pipeline.overlay import activate

if TYPE_CHECKING:
    from lsst.daf.butler import FormatterV2

    from isr.camera import Camera

__all__ = ["CLASS_NAME", "NAME", "HyperSuprimeCam", "raw_formatter_name"]

activate()  # whoever imports this works with repositories

NAME = "HSC"
CLASS_NAME = "lsst.obs.subaru.HyperSuprimeCam"
"""Name that repositories record: that of LSST's class, which has the place of ours in a stack."""

VISIT_MAX = EXPOSURE_MAX = 21474800  # with 200 detectors, identifiers fit into 32 bits
DETECTOR_MAX = 200
ONE_TO_ONE = 0  # the visit system of one visit for each exposure
TURNED_DETECTORS = range(100, 104)  # read out along the other axis: LSST has a formatter of their own

_RAW_FORMATTERS = "lsst.obs.subaru.rawFormatter"


def raw_formatter_name(detector: int) -> str:
    """Return LSST's name of the formatter of a detector's raw frames."""
    kind = "Corner" if detector in TURNED_DETECTORS else ""
    return f"{_RAW_FORMATTERS}.HyperSuprimeCam{kind}RawFormatter"


class HyperSuprimeCam(Instrument):
    """Hyper Suprime-Cam, registered exactly as LSST's class of that name registers it.

    Source of what is registered: lsst/obs_subaru, ``subaru/_instrument.py``.

    Parameters
    ----------
    collection_prefix : `str`, optional
        Beginning of the names of collections; by default ``"HSC"``.
    """

    policyName = "hsc"
    raw_definition = ("raw", ("instrument", "exposure", "detector"), "Exposure")

    @classmethod
    def getName(cls) -> str:
        """Return the name in data ids, ``"HSC"``."""
        return NAME

    def register(self, registry: Registry, *, update: bool = False) -> None:
        """Insert instrument, detectors and filters into a registry, or check that they are there.

        Parameters
        ----------
        registry : `lsst.daf.butler.Registry`
            Registry to change.
        update : `bool`, optional
            Replace records that differ.

        Raises
        ------
        lsst.daf.butler.registry.ConflictingDefinitionError
            If a record is there that differs, and ``update`` is off.
        """
        with registry.transaction():
            instrument = {
                "name": NAME,
                "detector_max": DETECTOR_MAX,
                "visit_max": VISIT_MAX,
                "exposure_max": EXPOSURE_MAX,
                "class_name": CLASS_NAME,
                "visit_system": ONE_TO_ONE,
            }
            registry.syncDimensionData("instrument", instrument, update=update)
            for detector in camera():
                raft, name_in_raft = detector.name.split("_")
                record = {
                    "instrument": NAME,
                    "id": detector.id,
                    "full_name": detector.name,
                    "name_in_raft": name_in_raft,
                    "raft": raft,
                    "purpose": detector.type,
                }
                registry.syncDimensionData("detector", record, update=update)
            for name, filter_ in filters().items():
                record = {"instrument": NAME, "name": name, "band": filter_.band}
                registry.syncDimensionData("physical_filter", record, update=update)

    def getRawFormatter(self, dataId: DataId) -> type[FormatterV2]:
        """Return the class that reads raw frames."""
        from pipeline.formatters import RawFormatter

        return RawFormatter

    def getCamera(self) -> Camera:
        """Return the camera's geometry."""
        return camera()

    def applyConfigOverrides(self, name: str, config: Config) -> None:
        """Set HSC's values in the configuration of the task ``isr``; others are left alone.

        Parameters
        ----------
        name : `str`
            Name of the task.
        config : `lsst.pex.config.Config`
            Its configuration, changed in place.
        """
        from isr.config import IsrConfig
        from isr.hsc.config import apply_hsc_overrides

        if name == "isr" and isinstance(config, IsrConfig):
            apply_hsc_overrides(config)
