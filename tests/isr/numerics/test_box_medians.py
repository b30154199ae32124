"""Medians of boxes against NumPy's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isr.numerics.box_medians import box_medians


def naive(image, xs, ys, h):
    medians = []
    for x, y in zip(xs, ys, strict=True):
        values = image[y - h : y + h, x - h : x + h].astype(np.float64)
        values = values[~np.isnan(values)]
        medians.append(np.median(values) if len(values) else np.nan)
    return np.array(medians)


def places(random, shape, h, n):
    return random.integers(h, shape[1] - h + 1, n), random.integers(h, shape[0] - h + 1, n)


DISTRIBUTIONS = {
    "noise": lambda random, shape: random.normal(2000, 25, shape),
    "few values": lambda random, shape: random.integers(-2, 2, shape),
    "constant": lambda random, shape: np.full(shape, 7.25),
    "two far levels": lambda random, shape: np.where(random.random(shape) < 0.5, -1e30, 1e30),
    "wide range": lambda random, shape: random.normal(0, 1, shape) ** 9 * 1e20,
    "steep": lambda random, shape: np.add.outer(np.arange(shape[0]), 100.0 * np.arange(shape[1])),
    "tiny": lambda random, shape: random.normal(0, 1e-42, shape),
}


@pytest.mark.parametrize("holes", [0.0, 0.02, 0.97])
@pytest.mark.parametrize("kind", DISTRIBUTIONS)
@pytest.mark.parametrize("half", [3, 15])
def test_exact_for_any_distribution(kind, half, holes):
    random = np.random.default_rng(len(kind))
    image = DISTRIBUTIONS[kind](random, (90, 70)).astype(np.float32)
    image[random.random(image.shape) < holes] = np.nan
    x, y = places(random, image.shape, half, 60)
    np.testing.assert_array_equal(box_medians(image, x, y, half), naive(image, x, y, half))


@given(st.integers(1, 7), st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.3, 0.9, 1.0]))
def test_any_size_and_any_holes(half, seed, holes):
    random = np.random.default_rng(seed)
    image = random.normal(0, 10.0 ** random.integers(-3, 9), (16, 19)).astype(np.float32)
    image[random.random(image.shape) < holes] = np.nan
    x, y = places(random, image.shape, half, 12)
    np.testing.assert_array_equal(box_medians(image, x, y, half), naive(image, x, y, half))


def test_order_of_the_places_does_not_matter():
    random = np.random.default_rng(8)
    image = random.normal(100, 5, (80, 80)).astype(np.float32)
    x, y = places(random, image.shape, 10, 200)
    order = random.permutation(200)
    found = box_medians(image, x, y, 10)
    np.testing.assert_array_equal(box_medians(image, x[order], y[order], 10), found[order])


def test_views_and_copies_give_the_same():
    random = np.random.default_rng(9)
    wide = random.normal(100, 5, (80, 160)).astype(np.float32)
    x, y = places(random, (80, 80), 10, 50)
    np.testing.assert_array_equal(
        box_medians(wide[:, ::2], x, y, 10), box_medians(wide[:, ::2].copy(), x, y, 10)
    )
