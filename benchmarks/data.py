"""What the benchmarks work on: configurations, and the bytes that a detector moves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from isr import hsc_config, load_calibs, read_raw
from isr.calibs import CalibImage, Calibs
from isr.config import IsrConfig
from isr.exposure import RawFrame

VISIT, DETECTOR = 903334, 22
RAW_NAME = "HSCA90333427.fits"
BASIC_STEPS = ("doOverscan", "doBias", "doVariance", "doDark", "doFlat", "doSaturation", "doDefect")
ALWAYS_ON = ("doAssembleCcd", "doConvertIntToFloat", "doHeaderProvenance", "doWrite")


@dataclass(frozen=True)
class Inputs:
    """A raw frame and its calibrations, in memory."""

    raw: RawFrame
    calibs: Calibs

    @property
    def bytes_moved(self) -> int:
        """Bytes that basic ISR must at least read and write: raw, bias, dark, flat; image, mask, variance."""
        frames = [self.calibs.bias, self.calibs.dark, self.calibs.flat]
        read = self.raw.pixels.nbytes + sum(f.image.nbytes for f in frames if isinstance(f, CalibImage))
        return read + 3 * 4 * int(np.prod(self.raw.detector.shape))


def read_inputs(data: Path) -> Inputs:
    """Read detector 22 and what the full configuration needs for it."""
    raw = read_raw(data / "raw" / RAW_NAME)
    return Inputs(raw, load_calibs(data, raw, hsc_config()))


def basic_config(overscan: str, *, statistics: bool = False) -> IsrConfig:
    """Overscan, assembly, bias, variance, dark, flat, SAT and defects; everything else is off.

    ``statistics``: also median and clipped standard deviation of each amplifier's
    variance, for the metadata. They are on in HSC's configuration.
    """
    config = hsc_config()
    config.qa.saveStats = statistics
    for name in config._fields:
        if name.startswith("do") and name not in ALWAYS_ON:
            setattr(config, name, name in BASIC_STEPS)
    config.ampOffset.doApplyAmpOffset = False
    config.overscan.fitType = overscan
    return config


def memcpy_of(size: int) -> Callable[[], object]:
    """Return a function that moves ``size`` bytes: it reads half of them and writes as many.

    The memory is there before, so that no page has to be cleared.
    """
    source, target = (np.full(size // 2, value, np.uint8) for value in (1, 2))
    return lambda: np.copyto(target, source)
