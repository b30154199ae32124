"""Inverse wavelet transform against the forward one, written naively."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isr.numerics.wavelets import compressed_size, expand
from tests.wavelets import compress


@given(st.integers(1, 70), st.integers(0, 6), st.integers(0, 2**32 - 1))
def test_expanding_undoes_compressing_for_any_size(size, levels, seed):
    rows = np.random.default_rng(seed).normal(0, 100, (3, size))
    np.testing.assert_allclose(expand(compress(rows, levels), size, levels), rows, rtol=0, atol=1e-10)


@given(st.integers(1, 9), st.integers(0, 4), st.integers(0, 2**32 - 1))
def test_periodic_rows(factor, levels, seed):
    size = factor * 2**levels
    rows = np.random.default_rng(seed).normal(0, 100, (3, size))
    coefficients = compress(rows, levels, periodic=True)
    np.testing.assert_allclose(expand(coefficients, size, levels, periodic=True), rows, rtol=0, atol=1e-10)


def test_round_trip_of_a_full_row_is_exact_to_1e_12():
    rows = np.random.default_rng(2).uniform(-1, 1, (20, 4176))
    assert np.abs(expand(compress(rows, 5), 4176, 5) - rows).max() < 1e-12


def test_periodic_expansion_moves_with_its_coefficients():
    coefficients = np.random.default_rng(3).normal(size=(1, 90))
    whole = expand(coefficients, 720, 3, periodic=True)
    np.testing.assert_allclose(
        expand(np.roll(coefficients, 1, axis=1), 720, 3, periodic=True), np.roll(whole, 8, axis=1), atol=1e-12
    )


def test_periodic_and_reflected_rows_differ_only_near_the_ends():
    coefficients = np.random.default_rng(4).normal(size=(1, 90))
    difference = expand(coefficients, 720, 3) - expand(coefficients, 720, 3, periodic=True)
    assert np.abs(difference[:, 60:-60]).max() == 0.0
    assert np.abs(difference[:, :8]).max() > 1e-3


@pytest.mark.parametrize("periodic", [False, True])
def test_low_pass_filters_sum_to_the_root_of_two(periodic):
    rows = expand(np.ones((1, 90)), 720, 3, periodic=periodic)
    np.testing.assert_allclose(rows, 2.0**-1.5, rtol=1e-8)


def test_missing_coefficients_are_zero():
    coefficients = np.random.default_rng(5).normal(size=(2, 7))
    padded = np.pad(coefficients, ((0, 0), (0, 43)))
    np.testing.assert_array_equal(expand(coefficients, 50, 3), expand(padded, 50, 3))


@pytest.mark.parametrize(
    ("size", "levels", "expected"), [(4176, 5, 131), (512, 5, 16), (720, 3, 90), (9, 0, 9)]
)
def test_compressed_size(size, levels, expected):
    assert compressed_size(size, levels) == expected
