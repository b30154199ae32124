"""Weights of the interpolation."""

from __future__ import annotations

import numpy as np
import pytest

from isr.numerics.kriging import EDGE, NARROW, interior_weights, narrow_weights, wide_weights
from tests.naive_later import gap_weights

SIDES = [(left, right) for left in range(3) for right in range(3) if left + right]


def weights(n, left, right, position):
    if n <= NARROW:
        return narrow_weights()[left, right, n, position]
    if n - position <= EDGE:
        return wide_weights()[left, right, 1, n - 1 - position]
    return wide_weights()[left, right, 0, position] if position < EDGE else interior_weights()[left, right]


@pytest.mark.parametrize(("left", "right"), SIDES)
@pytest.mark.parametrize("n", [*range(1, 14), 40])
def test_same_as_naive_and_sums_to_one(n, left, right):
    for position in range(n):
        found = weights(n, left, right, position)
        expected = [weight or 0.0 for weight in gap_weights(n, left, right, position)]
        np.testing.assert_array_equal(found, expected)
        assert found.sum() == pytest.approx(1.0, abs=2.001e-4)


@pytest.mark.parametrize(
    ("n", "left", "right", "position", "expected"),
    [  # lsst/meas_algorithms, src/Interp.cc
        (1, 0, 2, 0, (0, 0, 1.4288, -0.4288)),
        (1, 1, 2, 0, (0, 0.4875, 0.8959, -0.3834)),
        (1, 2, 2, 0, (-0.2737, 0.7737, 0.7737, -0.2737)),
        (2, 0, 2, 0, (0, 0, 1.0933, -0.0933)),
        (20, 1, 2, 9, (0, 0.4707, 0.2646, 0.2646)),
        (20, 2, 1, 9, (0.2646, 0.2646, 0.4707, 0)),
        (20, 2, 2, 9, (0.25, 0.25, 0.25, 0.25)),
        (20, 1, 1, 9, (0, 0.5, 0.5, 0)),
    ],
)
def test_known_rows(n, left, right, position, expected):
    np.testing.assert_array_equal(weights(n, left, right, position), expected)


def test_mirror():
    for n in (1, 2, 7, 10, 12, 15):  # at 11 the two ends overlap and the right one wins
        for left, right in SIDES:
            for position in range(n):
                mirrored = weights(n, right, left, n - 1 - position)[::-1]
                np.testing.assert_array_equal(weights(n, left, right, position), mirrored)


def test_the_table_of_lsst(shared):
    path = shared / "hsc_facts" / "interp_weights.ecsv"
    lines = [line.split() for line in path.read_text().splitlines() if line and line[0].isdigit()]
    assert len(lines) > 300
    for n_bad, left, right, position, *expected in lines:
        n = int(n_bad)
        if n == 11:
            n = 40
            position = {"mid": "20"}.get(position, position)
            if position.startswith("last"):
                position = n - 1 - int(position.removeprefix("last-") or 0)
        found = weights(n, int(left), int(right), int(position))
        np.testing.assert_array_equal(found, [float(weight) for weight in expected])


def test_tables_cannot_be_changed():
    for table in (narrow_weights(), wide_weights(), interior_weights()):
        with pytest.raises(ValueError, match="read-only"):
            table[0] = 1.0
