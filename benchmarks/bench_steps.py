"""Each step of the full HSC configuration on a full-size detector, and all of them together.

CPU seconds of one core after warm-up; the exposure that a step gets is the one
that the steps before it have left.
"""

from __future__ import annotations

import gc
import logging
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import pytest

import isr.run
from isr.calibs import BrighterFatterKernel, CalibInfo, Calibs
from isr.exposure import RawFrame, VisitInfo
from isr.hsc import brighter_fatter_kernel, detector
from isr.hsc.config import hsc_config
from isr.simulate import simulate_calibs, simulate_raw
from pipeline.simulated_data import scene_of

STEPS = [
    name
    for name in vars(isr.run)
    if callable(getattr(isr.run, name))
    and getattr(getattr(isr.run, name), "__module__", "").startswith("isr.steps.")
    and name[0].islower()
]


def make_inputs() -> tuple[RawFrame, Calibs]:
    """Simulate detector 22 with bias, dark, flat, defects; the kernel is HSC's."""
    ccd, scene = detector(22), scene_of(30.0)
    calibs = simulate_calibs(ccd, "HSC-R", scene)
    info = VisitInfo("HSC", 903334, exposure_time=30.0, dark_time=30.0, physical_filter="HSC-R", band="r")
    raw, _ = simulate_raw(ccd, info, calibs, scene)
    kernel = BrighterFatterKernel(CalibInfo("bfKernel", "HSC"), brighter_fatter_kernel())
    return raw, Calibs(calibs.bias, calibs.dark, calibs.flat, calibs.defects, bfKernel=kernel)


@contextmanager
def timed_steps(seconds: dict[str, float]) -> Iterator[None]:
    """Add the CPU time of every step that `isr.run` calls to ``seconds``."""

    def timed(name: str, step: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **keywords: Any) -> Any:
            start = time.process_time()
            try:
                return step(*arguments, **keywords)
            finally:
                seconds[name] += time.process_time() - start

        return call

    with patch.multiple(isr.run, **{name: timed(name, getattr(isr.run, name)) for name in STEPS}):
        yield


@pytest.fixture(scope="module")
def inputs() -> tuple[RawFrame, Calibs]:
    return make_inputs()


def test_full_hsc_configuration(benchmark, inputs):
    benchmark.pedantic(isr.run.run_isr, (*inputs, hsc_config()), warmup_rounds=1, rounds=7)


def main(rounds: int = 7) -> None:
    """Print the table of steps: least and median CPU seconds."""
    logging.disable(logging.INFO)
    inputs, config = make_inputs(), hsc_config()
    isr.run.run_isr(*inputs, config)
    rows: dict[str, list[float]] = defaultdict(list)
    for _ in range(rounds):
        gc.collect()
        seconds: dict[str, float] = defaultdict(float)
        start = time.process_time()
        with timed_steps(seconds):
            isr.run.run_isr(*inputs, config)
        for name in STEPS:
            rows[name].append(seconds[name])
        rows["all of run_isr"].append(time.process_time() - start)
    print(f"{'step':28}{'min [ms]':>10}{'median [ms]':>13}")
    for name, values in rows.items():
        if max(values) > 0.0:
            print(f"{name:28}{1e3 * min(values):10.1f}{1e3 * statistics.median(values):13.1f}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
