"""Instrument signature removal for Hyper Suprime-Cam.

.. code-block:: python

    from isr import hsc_config, load_calibs, read_raw, run_isr

    raw = read_raw("HSCA90333427.fits")
    config = hsc_config()
    result = run_isr(raw, load_calibs("calibs/", raw, config), config)
    result.exposure.show()

Names are imported when they are first used, so that ``import isr`` is quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from isr.kernel_cache import choose_folder

if TYPE_CHECKING:
    from isr.calib_store import load_calibs
    from isr.calibs import CalibImage, CalibInfo, Calibs, Defects
    from isr.camera import Amplifier, Box, Camera, Detector
    from isr.config import IsrConfig
    from isr.errors import IsrError
    from isr.exposure import Exposure, RawFrame, VisitInfo
    from isr.fits.exposure import read_exposure, write_exposure
    from isr.fits.raw import read_raw
    from isr.hsc.config import hsc_config
    from isr.run import IsrResult, run_isr

_HOMES = {
    "Amplifier": "isr.camera",
    "Box": "isr.camera",
    "CalibImage": "isr.calibs",
    "CalibInfo": "isr.calibs",
    "Calibs": "isr.calibs",
    "Camera": "isr.camera",
    "Defects": "isr.calibs",
    "Detector": "isr.camera",
    "Exposure": "isr.exposure",
    "IsrConfig": "isr.config",
    "IsrError": "isr.errors",
    "IsrResult": "isr.run",
    "RawFrame": "isr.exposure",
    "VisitInfo": "isr.exposure",
    "hsc_config": "isr.hsc.config",
    "load_calibs": "isr.calib_store",
    "read_exposure": "isr.fits.exposure",
    "read_raw": "isr.fits.raw",
    "run_isr": "isr.run",
    "write_exposure": "isr.fits.exposure",
}

__all__ = [
    "Amplifier",
    "Box",
    "CalibImage",
    "CalibInfo",
    "Calibs",
    "Camera",
    "Defects",
    "Detector",
    "Exposure",
    "IsrConfig",
    "IsrError",
    "IsrResult",
    "RawFrame",
    "VisitInfo",
    "hsc_config",
    "load_calibs",
    "read_exposure",
    "read_raw",
    "run_isr",
    "write_exposure",
]


choose_folder()  # before any module of ours imports numba


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
