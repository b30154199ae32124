"""Python types of LSST's storage classes in a process without afw."""

from __future__ import annotations

from abc import ABC

from isr.calibs import CalibImage
from isr.exposure import Exposure, RawFrame

__all__ = ["AnyExposure"]


class AnyExposure(ABC):  # noqa: B024 - a name for three types
    """What LSST's ``Exposure`` storage classes hold.

    Raw frames, calibration frames and reduced exposures are all afw
    ``Exposure``s; here they are `isr.exposure.RawFrame`, `isr.calibs.CalibImage`
    and `isr.exposure.Exposure`.
    """


for _type in (Exposure, RawFrame, CalibImage):
    AnyExposure.register(_type)
