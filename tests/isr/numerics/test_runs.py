"""Horizontal runs of masked pixels."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from isr.numerics.runs import find_runs
from tests.naive_later import runs_of

MASKS = hnp.arrays(
    np.int32,
    hnp.array_shapes(min_dims=2, max_dims=2, max_side=30),
    elements=st.sampled_from([0, 0, 1, 2, 3, 4]),
)


@given(MASKS, st.sampled_from([0, 1, 2, 3]))
def test_runs_and_their_neighbours(mask, bits):
    expected = []
    for y, row in enumerate(mask):
        runs = runs_of((row & bits) != 0)
        for i, (x0, x1) in enumerate(runs):
            left = 1 if i and runs[i - 1][1] == x0 - 2 else 2
            right = 1 if i + 1 < len(runs) and runs[i + 1][0] == x1 + 2 else 2
            expected.append((y, x0, x1, left, right))
    found = find_runs(mask, np.int32(bits))
    assert found.dtype == np.int32
    assert found.shape == (len(expected), 5)
    np.testing.assert_array_equal(found, np.array(expected).reshape(-1, 5))


def test_views():
    mask = np.random.default_rng(0).integers(0, 2, (40, 60)).astype(np.int32)
    for view in (mask[3:30, 5:50], mask[::-1, ::2], mask.T):
        np.testing.assert_array_equal(find_runs(view, np.int32(1)), find_runs(view.copy(), np.int32(1)))
