"""Mask planes by name, their translation, their growth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from isr.errors import ProcessingError
from isr.mask import DEFAULT_PLANES, MaskPlanes, grow_plane, remap_planes
from tests import naive


def test_default_planes_are_those_of_afw():
    assert " ".join(sorted(DEFAULT_PLANES, key=DEFAULT_PLANES.__getitem__)) == (
        "BAD SAT INTRP CR EDGE DETECTED DETECTED_NEGATIVE SUSPECT NO_DATA VIGNETTED STREAK"
    )
    assert sorted(DEFAULT_PLANES.values()) == list(range(11))
    assert MaskPlanes() == DEFAULT_PLANES


def test_add_takes_the_first_free_bit():
    planes = MaskPlanes({"BAD": 0, "SAT": 1, "CROSSTALK": 9})
    assert planes.add("SAT") == 1
    assert [planes.add(name) for name in ("A", "B", "A")] == [2, 3, 2]
    assert MaskPlanes().add("CROSSTALK") == 11
    assert "CROSSTALK" not in DEFAULT_PLANES


def test_there_are_31_planes():
    """Bit 31 is the sign of an int32."""
    planes = MaskPlanes()
    for i in range(20):
        planes.add(f"P{i}")
    assert max(planes.values()) == 30
    np.int32(planes.bitmask(*planes))  # does not overflow
    with pytest.raises(ProcessingError, match=r"No free bit for mask plane 'ONE_MORE'.*'P19': 30"):
        planes.add("ONE_MORE")
    assert planes.add("P3") == 14


def test_bitmask():
    planes = MaskPlanes()
    assert planes.bitmask() == 0
    assert planes.bitmask("SAT", "BAD", "SAT") == 3
    with pytest.raises(ProcessingError, match=r"\['SATT', 'X'\].*'SAT'"):
        planes.bitmask("BAD", "SATT", "X")


# --- translation --------------------------------------------------------------------------------


def planes_of_pixels(mask, planes):
    """The set of plane names of each pixel."""
    return [{name for name, bit in planes.items() if value >> bit & 1} for value in mask.ravel().tolist()]


NAMES = ["BAD", "SAT", "CR", "SUSPECT", "NO_DATA", "CROSSTALK", "UNMASKEDNAN", "OTHER"]


@given(st.permutations(range(31)), st.permutations(range(31)), st.sets(st.sampled_from(NAMES)), st.data())
def test_planes_keep_their_names(source_bits, target_bits, known, data):
    source = dict(zip(NAMES, source_bits, strict=False))
    target = MaskPlanes({name: bit for name, bit in zip(NAMES, target_bits, strict=False) if name in known})
    pixels = data.draw(st.lists(st.sets(st.sampled_from(NAMES)), min_size=1, max_size=12))
    mask = np.array([[sum(1 << source[name] for name in names) for names in pixels]], np.int32)
    before, planes_before = mask.copy(), dict(target)
    found = remap_planes(mask, source, target)
    assert found.dtype == np.int32
    assert planes_of_pixels(found, target) == pixels
    np.testing.assert_array_equal(mask, before)
    assert target.items() >= planes_before.items()
    assert set(target) - set(planes_before) == set().union(*pixels) - known  # only what is needed


def test_nothing_to_move_costs_nothing():
    mask = np.array([[3, 0, 256]], np.int32)
    assert remap_planes(mask, DEFAULT_PLANES | {"CROSSTALK": 11}, MaskPlanes()) is mask
    target = MaskPlanes({"BAD": 0, "SAT": 1, "NO_DATA": 8})
    assert remap_planes(mask, DEFAULT_PLANES, target) is mask
    assert set(target) == {"BAD", "SAT", "NO_DATA"}
    empty = np.zeros((0, 4), np.int32)
    assert remap_planes(empty, {"BAD": 5}, target) is empty


def test_planes_that_swap_bits():
    mask = np.array([[1, 2, 3, 0]], np.int32)
    found = remap_planes(mask, {"BAD": 1, "SAT": 0}, MaskPlanes())
    np.testing.assert_array_equal(found, [[2, 1, 3, 0]])


# --- growth -------------------------------------------------------------------------------------


@given(
    hnp.arrays(
        np.int32,
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=12),
        elements=st.sampled_from([0] * 12 + [1, 2, 3, 4, 7, 1 << 30]),
    ),
    st.sampled_from([0, 1, 2, 3, 6, 1 << 30]),
    st.integers(0, 4),
)
def test_growth_is_manhattan(mask, bits, radius):
    expected = naive.grow(mask, bits, radius)
    grow_plane(mask, bits, radius)
    np.testing.assert_array_equal(mask, expected)


def test_growth_of_one_pixel():
    mask = np.zeros((5, 5), np.int32)
    mask[2, 2] = 2
    mask[0, 0] = 4
    grow_plane(mask, 2, 2)
    y, x = np.mgrid[:5, :5]
    np.testing.assert_array_equal((mask & 2) != 0, abs(y - 2) + abs(x - 2) <= 2)
    assert np.count_nonzero(mask & 4) == 1


def test_growth_of_a_view():
    """A view of every second column grows into its own neighbours only."""
    mask = np.zeros((7, 14), np.int32)
    mask[3, 6] = 1
    grow_plane(mask[:, ::2], 1, 1)
    assert np.argwhere(mask).tolist() == [[2, 6], [3, 4], [3, 6], [3, 8], [4, 6]]
