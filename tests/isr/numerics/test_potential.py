"""Convolution with small kernels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isr.numerics.potential import PADDING, fold, potential_row
from tests import naive_later


def kernel_of(half, symmetric, seed=0):
    kernel = np.random.default_rng(seed).normal(size=(2 * half + 1, 2 * half + 1))
    return kernel + kernel[::-1] + kernel[:, ::-1] + kernel[::-1, ::-1] if symmetric else kernel


def convolved(image, kernel):
    folded, is_quarter = fold(kernel, image.dtype.type)
    out, scratch = np.full_like(image, np.nan), np.zeros(image.shape[1] + PADDING, image.dtype)
    for y in range(len(image)):
        potential_row(image, folded, is_quarter, y, out[y], scratch)
    return out


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 25), st.integers(1, 25), st.integers(0, 10), st.booleans(), st.integers(0, 2**32 - 1))
def test_same_as_naive(ny, nx, half, symmetric, seed):
    """Kernels smaller and larger than what is unrolled, and than the image."""
    image = np.random.default_rng(seed).normal(0, 100, (ny, nx))
    kernel = kernel_of(half, symmetric, seed)
    expected = naive_later.convolve(image, kernel)
    np.testing.assert_allclose(convolved(image, kernel), expected, rtol=0, atol=1e-10)
    scale = np.abs(kernel).sum() * 100
    in_float32 = convolved(image.astype(np.float32), kernel)
    assert in_float32.dtype == np.float32
    np.testing.assert_allclose(in_float32, expected, rtol=0, atol=4e-6 * scale)


@pytest.mark.parametrize(
    ("half", "symmetric", "is_quarter"),
    [(8, True, True), (0, False, True), (9, True, False), (8, False, False)],
)
def test_which_kernels_are_folded(half, symmetric, is_quarter):
    kernel = kernel_of(half, symmetric)
    folded, found = fold(kernel, np.float32)
    assert found is is_quarter
    assert folded.dtype == np.float32
    assert folded.shape == ((9, 9) if is_quarter else kernel.shape)
    assert folded.flags.c_contiguous


def test_symmetric_in_float32_is_symmetric():
    kernel = kernel_of(3, symmetric=True)
    kernel[0, 1] *= 1 + 1e-9
    assert fold(kernel, np.float32)[1]
    kernel[0, 1] *= 1.01
    assert not fold(kernel, np.float32)[1]


def test_constant_kernel_of_zeros():
    assert not convolved(np.ones((5, 6), np.float32), np.zeros((3, 3))).any()
