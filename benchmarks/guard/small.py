"""Inputs for valgrind: a small detector with everything that the steps look at; a whole one for basic ISR."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from benchmarks.data import basic_config
from isr import hsc_config
from isr.calibs import BrighterFatterKernel, CalibImage, CalibInfo, Calibs
from isr.config import IsrConfig
from isr.exposure import RawFrame
from isr.hsc import brighter_fatter_kernel
from isr.hsc import detector as hsc_detector
from isr.simulate import simulate_calibs, simulate_raw
from pipeline.simulated_data import scene_of
from tests.isr.simulated import small_detector, visit_info


def full() -> tuple[RawFrame, Calibs, IsrConfig]:
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


def basic() -> tuple[RawFrame, Calibs, IsrConfig]:
    """Return a raw frame of HSC's size, its calibrations, and basic ISR with a median of each row's overscan.

    Instructions of the fused pass and of the overscan are most of all then.
    """
    detector, random = hsc_detector(22), np.random.default_rng(6)
    pixels = random.integers(1000, 1400, detector.raw_shape).astype(np.uint16)
    raw = RawFrame(pixels, detector, visit_info())

    def calib(kind: str, level: float, **more: float) -> CalibImage:
        image = (level + 0.1 * random.random(detector.shape, np.float32)).astype(np.float32)
        info = CalibInfo(kind, detector=22, physical_filter="HSC-R" if kind == "flat" else "")
        return CalibImage(info, image, **more)

    calibs = Calibs(calib("bias", 1.0), calib("dark", 0.01, dark_time=1.0), calib("flat", 1.0))
    config = basic_config("MEDIAN_PER_ROW")
    config.doDefect = False
    return raw, calibs, config


INPUTS = {f.__name__: f for f in (full, basic)}
