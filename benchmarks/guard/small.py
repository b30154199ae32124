"""A detector that is small enough for valgrind, and has everything that the steps look at."""

from __future__ import annotations

from dataclasses import replace

from isr import hsc_config
from isr.calibs import BrighterFatterKernel, CalibInfo, Calibs
from isr.config import IsrConfig
from isr.exposure import RawFrame
from isr.hsc import brighter_fatter_kernel
from isr.simulate import simulate_calibs, simulate_raw
from pipeline.simulated_data import scene_of
from tests.isr.simulated import small_detector, visit_info


def small_inputs() -> tuple[RawFrame, Calibs, IsrConfig]:
    """Return a raw frame of 4 amplifiers of 64 x 256 pixels, its calibrations, and the HSC configuration.

    Without the vignette: the detector has no place in the focal plane.
    """
    detector, scene = small_detector(), scene_of(30.0)
    calibs = simulate_calibs(detector, "HSC-R", scene)
    raw, _ = simulate_raw(detector, visit_info(), calibs, scene)
    config = hsc_config()
    config.doVignette = False
    kernel = BrighterFatterKernel(CalibInfo("bfKernel", "HSC"), brighter_fatter_kernel())
    return raw, replace(calibs, bfKernel=kernel), config
