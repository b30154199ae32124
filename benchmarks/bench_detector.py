"""Basic ISR of a full-size HSC detector on arrays in memory, beside a copy of the same bytes."""

from __future__ import annotations

import numpy as np
import pytest

from isr.exposure import VisitInfo
from isr.hsc import detector
from isr.hsc.config import hsc_config
from isr.run import run_isr
from isr.simulate import simulate_calibs, simulate_raw
from pipeline.simulated_data import scene_of


@pytest.fixture(scope="module")
def inputs():
    ccd, scene = detector(22), scene_of(30.0)
    calibs = simulate_calibs(ccd, "HSC-R", scene)
    info = VisitInfo("HSC", 903334, exposure_time=30.0, dark_time=30.0, physical_filter="HSC-R")
    raw, _ = simulate_raw(ccd, info, calibs, scene)
    return raw, calibs


def test_basic_isr(benchmark, inputs):
    raw, calibs = inputs
    benchmark.pedantic(run_isr, (raw, calibs, hsc_config()), warmup_rounds=1, rounds=10)


def test_copy_of_the_same_bytes(benchmark, inputs):
    raw, calibs = inputs
    planes = [np.zeros(raw.detector.shape, np.float32) for _ in range(3)]
    sources = [raw.pixels, *(calib.image for _, calib in calibs.items() if hasattr(calib, "image")), *planes]
    targets = [np.empty_like(source) for source in sources]

    def copy() -> None:
        for source, target in zip(sources, targets, strict=True):
            target[...] = source

    benchmark.pedantic(copy, warmup_rounds=1, rounds=10)
