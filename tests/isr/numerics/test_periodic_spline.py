"""Weights of a periodic spline: its defining properties."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isr.numerics.periodic_spline import mean_weights, value_weights

ANGLES = st.floats(-1500, 1500)


def naive_value(y, x):
    """The spline from its second derivatives, the solution of a dense cyclic system."""
    n = len(y)
    system = 4.0 * np.eye(n) + np.roll(np.eye(n), 1, 0) + np.roll(np.eye(n), -1, 0)
    second = np.linalg.solve(system, 6.0 * (np.roll(y, 1) - 2.0 * y + np.roll(y, -1)))
    first = int(np.floor(x))
    b, a = x - first, first + 1 - x
    i, j = first % n, (first + 1) % n
    return a * y[i] + b * y[j] + ((a**3 - a) * second[i] + (b**3 - b) * second[j]) / 6.0


@given(st.integers(4, 40), ANGLES, st.integers(0, 2**32 - 1))
def test_values(n, x, seed):
    y = np.random.default_rng(seed).normal(size=n)
    np.testing.assert_allclose(value_weights(n, x) @ y, naive_value(y, x), atol=1e-12)


def test_knots_are_hit():
    y = np.random.default_rng(1).normal(size=720)
    for x in (0, 7, 719, 720, -3, 1444):
        np.testing.assert_allclose(value_weights(720, x) @ y, y[x % 720], atol=1e-13)


@given(st.integers(4, 40), ANGLES, st.floats(0.01, 100), st.integers(0, 2**32 - 1))
def test_means_are_those_of_the_values(n, start, length, seed):
    y = np.random.default_rng(seed).normal(size=n)
    end = start + length
    edges = np.unique(np.concatenate([[start, end], np.arange(np.ceil(start), end)]))
    nodes, factors = np.polynomial.legendre.leggauss(2)  # exact for cubics
    integral = 0.0
    for a, b in itertools.pairwise(edges):
        values = [naive_value(y, (a + b) / 2 + (b - a) / 2 * node) for node in nodes]
        integral += (b - a) / 2 * float(factors @ values)
    np.testing.assert_allclose(mean_weights(n, start, end) @ y, integral / (end - start), atol=1e-9)


@given(ANGLES, st.floats(1e-3, 800))
def test_direction_and_whole_turns_do_not_matter(start, length):
    weights = mean_weights(36, start, start + length)
    np.testing.assert_array_equal(weights, mean_weights(36, start + length, start))
    np.testing.assert_allclose(weights, mean_weights(36, start + 72, start + length + 72), atol=1e-8)


def test_a_constant_stays_and_a_whole_turn_is_the_mean():
    assert mean_weights(720, 3.3, 5.1).sum() == pytest.approx(1.0, abs=1e-13)
    assert value_weights(720, 3.3).sum() == pytest.approx(1.0, abs=1e-13)
    np.testing.assert_allclose(mean_weights(720, 11.0, 731.0), 1 / 720, atol=1e-15)


def test_a_short_interval_is_a_value():
    np.testing.assert_allclose(mean_weights(720, 100.3, 100.3001), value_weights(720, 100.30005), atol=1e-8)
