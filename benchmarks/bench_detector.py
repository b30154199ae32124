"""One full-size detector in memory, beside memcpy of the same bytes, NumPy and ccdproc."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from benchmarks.data import Inputs, basic_config, memcpy_of
from benchmarks.measure import race
from benchmarks.peers import Planes, ccdproc_basic, numpy_basic
from isr import hsc_config, run_isr
from isr.config import IsrConfig
from isr.exposure import Exposure


def ours(inputs: Inputs, config: IsrConfig):
    return partial(run_isr, inputs.raw, inputs.calibs, config)


def agree(exposure: Exposure, planes: Planes) -> None:
    """Check that a peer has done the same work.

    IsrTask leaves overscan pixels that stick out away before it takes the
    median of a row, and takes the variance after the bias, ccdproc before.
    """
    image, mask, variance = planes
    flagged = (exposure.mask & exposure.planes.bitmask("BAD", "SAT")) != 0
    assert np.array_equal(flagged, mask)
    assert np.isclose(image, exposure.image, rtol=1e-5, atol=0.01)[~flagged].mean() > 0.99
    assert np.isclose(variance, exposure.variance, rtol=0.02)[~flagged].all()


def test_basic_per_row(benchmark, inputs):
    """Median overscan of each row, the only one of ccdproc's models that IsrTask has, too."""
    pytest.importorskip("ccdproc", reason="needs pip install 'hsc-isr[bench]'")
    reduce = ours(inputs, basic_config("MEDIAN_PER_ROW"))
    peers = {"NumPy": numpy_basic(inputs), "ccdproc": ccdproc_basic(inputs)}
    exposure = reduce().exposure
    for peer in peers.values():
        agree(exposure, peer())
    del exposure
    kept = {f"{name}, memory kept as by isr-run": peer for name, peer in peers.items()}
    in_notebook = "hsc-isr, glibc's malloc"
    contestants = {"hsc-isr": reduce, "memcpy": memcpy_of(inputs.bytes_moved), in_notebook: reduce}
    contestants |= peers | kept
    race(benchmark, contestants, rounds=7, with_default_malloc=[in_notebook, *peers])


def test_basic_akima(benchmark, inputs):
    """HSC's overscan, a spline through the medians of the rows, and statistics of the variance.

    As the reference implementation did it in 0.73 s (case ``full_0_27_basic``).
    """
    reduce = ours(inputs, basic_config("AKIMA_SPLINE", statistics=True))
    race(benchmark, {"hsc-isr": reduce, "memcpy": memcpy_of(inputs.bytes_moved)}, rounds=15)


def test_full(benchmark, inputs):
    """HSC's configuration as it is: also crosstalk, linearity, brighter-fatter, interpolation, offsets ..."""
    race(
        benchmark,
        {"hsc-isr": ours(inputs, hsc_config()), "memcpy": memcpy_of(inputs.bytes_moved)},
        rounds=7,
    )
