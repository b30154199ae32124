"""Order statistics are exact, whatever the sample that brackets them says."""

from __future__ import annotations

import math
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from isr.numerics import selection
from isr.numerics.selection import order_statistics
from tests import naive

QUANTILES = (0.25, 0.5, 0.75)
BAD, SAT = 1, 2


def small_samples(samples=6000, sigmas=2.0):
    """Let small images take the way of large ones, with brackets that may miss."""
    return mock.patch.multiple(selection, SAMPLES=samples, BRACKET_SIGMAS=sigmas, SAMPLE_PAYS=2)


def assert_exact(image, mask, bits=BAD, quantiles=QUANTILES):
    count, found = order_statistics(image, mask, bits, quantiles)
    values = naive.usable_values(image, mask, bits)
    assert count == len(values)
    assert isinstance(count, int)
    assert len(found) == len(quantiles)
    for q, value in zip(quantiles, found, strict=True):
        assert isinstance(value, float)
        np.testing.assert_array_equal(value, naive.quantile(values, q), err_msg=f"quantile {q}")
    if count:
        np.testing.assert_allclose(found, np.quantile(values, quantiles), rtol=1e-12)
    else:
        assert all(math.isnan(value) for value in found)


ANY_FLOAT = st.floats(width=32, allow_nan=True, allow_infinity=True)
FEW_VALUES = st.sampled_from([0.0, -0.0, 1.0, 2.5, 1e30, math.nan, math.inf, -math.inf])
ADU = st.integers(-50, 70000).map(float)


@st.composite
def images(draw, largest=24):
    shape = draw(hnp.array_shapes(min_dims=2, max_dims=2, max_side=largest))
    image = draw(hnp.arrays(np.float32, shape, elements=draw(st.sampled_from([ANY_FLOAT, FEW_VALUES, ADU]))))
    mask = draw(hnp.arrays(np.int32, shape, elements=st.integers(0, 3)))
    return image, mask


@given(images(), st.sampled_from([0, BAD, SAT, BAD | SAT]), st.lists(st.floats(0, 1), min_size=1, max_size=4))
def test_small_images(pixels, bits, quantiles):
    assert_exact(*pixels, bits, tuple(quantiles))


@given(images(), st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_digits_of_any_floats(pixels, quantiles):
    """The way of images of medium size, where bits are counted."""
    with mock.patch.object(selection, "FEWEST_FOR_DIGITS", 1):
        assert_exact(*pixels, quantiles=tuple(quantiles))


@given(
    st.sampled_from([(1, 3000), (3000, 1), (50, 60), (7, 411)]),
    st.integers(0, 2**32 - 1),
    st.sampled_from([2, 100, 500, 1200]),
    st.sampled_from([0.0, 0.3, 4.5]),
    st.lists(st.floats(0, 1), max_size=2),
)
def test_large_images_seen_through_a_small_sample(shape, seed, samples, sigmas, quantiles):
    random = np.random.default_rng(seed)
    image = random.normal(0, random.choice([1, 5, 1000]), shape).astype(np.float32)
    if random.random() < 0.5:
        image = np.rint(image)
    image[random.random(shape) < random.choice([0, 0.1])] = np.nan
    mask = (random.random(shape) < random.choice([0.01, 0.5, 0.97])).astype(np.int32)
    with small_samples(samples, sigmas):
        assert_exact(image, mask, BAD, (*QUANTILES, *quantiles))


def noise(shape, seed=0):
    return np.random.default_rng(seed).normal(1000, 30, shape).astype(np.float32)


def sampled_indices(size, samples):
    return slice(None, None, (size // samples + 1) | 1)


def nasty(kind, shape, samples):
    """An image and a mask made to mislead a regular sample of so many pixels."""
    image, mask = noise(shape), np.zeros(shape, np.int32)
    flat, flat_mask = image.reshape(-1), mask.reshape(-1)
    seen = sampled_indices(image.size, samples)
    random = np.random.default_rng(5)
    match kind:
        case "noise":
            pass
        case "ascending":
            flat.sort()
        case "descending":
            flat[:] = -np.sort(-flat)
        case "rows that differ":
            image += 1000 * np.arange(shape[0], dtype=np.float32)[:, np.newaxis]
        case "the sample sees the lowest":
            flat[seen] = np.linspace(0, 1, len(flat[seen]))
        case "the sample sees the highest":
            flat[seen] = np.linspace(1e6, 2e6, len(flat[seen]))
        case "the sample sees one value":
            flat[seen] = 1234.5
        case "the sample sees nothing":
            flat_mask[seen] = BAD
        case "the sample sees NaN":
            flat[seen] = np.nan
        case "the sample sees infinities":
            flat[seen] = np.inf
            flat[::2] *= -1
        case "the sample sees nothing and most is masked":
            flat[:] = -np.sort(-flat)
            flat_mask[random.random(flat.size) < 0.8] = BAD
            flat_mask[seen] = BAD
        case "99 per cent masked":
            flat_mask[random.random(flat.size) < 0.99] = BAD
        case "all but three masked":
            flat_mask[:] = BAD
            flat_mask[[17, 400, -1]] = SAT
        case "all masked":
            flat_mask[:] = BAD | SAT
        case "all NaN":
            flat[:] = np.nan
        case "constant":
            flat[:] = np.float32(0.1)
        case "two values":
            flat[:] = random.choice(np.array([3.25, 7.5], np.float32), flat.size)
        case "two values, rarely the second":
            flat[:] = np.where(random.random(flat.size) < 0.2501, np.float32(7.5), np.float32(3.25))
        case "the largest floats":
            flat[::3] = np.finfo(np.float32).max
            flat[1::3] = np.finfo(np.float32).min
        case "a few of the largest floats":
            flat[::500] = np.finfo(np.float32).max
            flat[1::500] = np.finfo(np.float32).min
            flat_mask[::7] = BAD
    return image, mask


NASTY = (
    "noise",
    "ascending",
    "descending",
    "rows that differ",
    "the sample sees the lowest",
    "the sample sees the highest",
    "the sample sees one value",
    "the sample sees nothing",
    "the sample sees NaN",
    "the sample sees infinities",
    "the sample sees nothing and most is masked",
    "99 per cent masked",
    "all but three masked",
    "all masked",
    "all NaN",
    "constant",
    "two values",
    "two values, rarely the second",
    "the largest floats",
    "a few of the largest floats",
)


@pytest.mark.parametrize("kind", NASTY)
def test_nasty_images(kind):
    with small_samples(6000):
        assert_exact(*nasty(kind, (110, 121), 6000))
        assert_exact(*nasty(kind, (1, 13000), 6000), quantiles=(0.0, 0.1, 0.5, 1.0))
    with small_samples(512, sigmas=0.3):
        assert_exact(*nasty(kind, (45, 47), 512))
        assert_exact(*nasty(kind, (2000, 1), 512))


@pytest.mark.parametrize("kind", NASTY)
def test_images_of_medium_size(kind):
    image, mask = nasty(kind, (90, 91), 512)
    assert image.size > selection.FEWEST_FOR_DIGITS
    assert_exact(image, mask, quantiles=(0.0, 0.1, 0.5, 0.50001, 1.0))


@given(st.integers(0, 2**32 - 1), st.floats(0.2, 6.0), st.sampled_from([0.5, 1.0, 3.0]))
def test_few_different_values(seed, width, step):
    """A bracket of one value is not collected; next to another value it may be wrong."""
    random = np.random.default_rng(seed)
    image = (np.rint(random.normal(0.0, width, (70, 90))) * step).astype(np.float32)
    mask = (random.random(image.shape) < 0.02).astype(np.int32) * BAD
    with small_samples(samples=400):
        assert_exact(image, mask, quantiles=(0.0, 0.1, *QUANTILES, 0.99, 1.0))


@pytest.mark.parametrize("kind", ["noise", "descending", "the sample sees nothing and most is masked"])
def test_images_larger_than_the_sample(kind):
    shape = (262, 263)
    assert shape[0] * shape[1] > 2 * selection.SAMPLES
    with mock.patch.object(selection, "SAMPLE_PAYS", 2):
        assert_exact(*nasty(kind, shape, selection.SAMPLES))
    assert_exact(*nasty(kind, shape, selection.SAMPLES))


def test_the_short_way_is_taken_for_ordinary_images():
    """Ordinary noise must not fall back to selecting from all pixels."""
    image, mask = noise((262, 263)), np.zeros((262, 263), np.int32)
    mask[:, 100:130] = BAD
    with (
        mock.patch.object(selection, "_collect_all", side_effect=AssertionError("fell back")),
        mock.patch.object(selection, "SAMPLE_PAYS", 2),
    ):
        assert_exact(image, mask)


def test_views_are_read_in_place():
    """Not contiguous, reversed and transposed arrays give the same, and are not changed."""
    image, mask = noise((160, 170)), np.zeros((160, 170), np.int32)
    mask[10:20, 5:30] = BAD
    before = image.copy()
    for view in (np.s_[5:150, 3:161], np.s_[::-1, ::-2], np.s_[::2, :]):
        with small_samples():
            assert_exact(image[view], mask[view])
            assert_exact(image[view].T, mask[view].T)
    np.testing.assert_array_equal(image, before)


def test_other_planes_do_not_count():
    image, mask = noise((8, 8)), np.full((8, 8), SAT, np.int32)
    assert order_statistics(image, mask, BAD, (0.5,))[0] == 64
    assert order_statistics(image, mask, SAT, (0.5,))[0] == 0
    assert order_statistics(image, mask, 0, (0.5,))[0] == 64
