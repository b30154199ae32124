"""What the tests of the cache of calibrations share; child processes import it, so it is light."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from isr.calibs import CalibImage, CalibInfo
from isr.mask import MaskPlanes

SHAPE = (50, 40)
METADATA = {"A": 1, "B": 1.0, "NAN": float("nan"), "INF": -float("inf"), "NONE": None, "Ü": "\udc80 µ"}


def frame(seed: int = 0, *, shape: tuple[int, int] = SHAPE, has_planes: bool = True) -> CalibImage:
    """A frame with everything that a file can say."""
    random = np.random.default_rng(seed)
    image = random.normal(0, 1, shape).astype(np.float32)
    image[0, :3] = np.nan, np.inf, -0.0
    return CalibImage(
        CalibInfo("bias", name=f"s3://bucket/{seed}.fits", sha256="ab" * 32, detector=seed, run="HSC/calib"),
        image,
        random.integers(0, 1 << 13, shape).astype(np.int32) if has_planes else None,
        random.uniform(0, 1, shape).astype(np.float32) if has_planes else None,
        MaskPlanes({"SUSPECT": 3, "BAD": 12}),
        dark_time=float("nan"),
        metadata={**METADATA, "HISTORY": ["one", "two"], "SEED": seed},
    )


def assert_equal(found: Any, expected: Any) -> None:
    """Compare calibrations: types, bits of arrays, order of mappings."""
    assert type(found) is type(expected)
    for field in fields(expected):
        one, other = getattr(found, field.name), getattr(expected, field.name)
        assert type(one) is type(other), field.name
        if isinstance(one, np.ndarray):
            assert one.dtype == other.dtype
            assert one.shape == other.shape
            assert one.tobytes() == other.tobytes(), field.name
        else:
            assert repr(one) == repr(other), field.name


class Loader:
    """Stands for what reads and decodes a calibration; counts."""

    def __init__(self, make: Callable[[], Any] = frame) -> None:
        self.make, self.count = make, 0

    def __call__(self) -> Any:
        self.count += 1
        return self.make()


def refuse() -> CalibImage:
    """Stands for a calibration that must not be read."""
    raise AssertionError("decoded, expected from the cache")


def files(folder: Path) -> list[Path]:
    """Return what is in a folder, in the order of names."""
    return sorted(folder.iterdir())
