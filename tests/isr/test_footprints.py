"""Disjoint boxes against the definition in the specification (5.4)."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from isr.footprints import normalize_boxes
from tests import naive

BOX = st.tuples(st.integers(-5, 14), st.integers(-5, 14), st.integers(0, 8), st.integers(0, 8))


def as_lists(boxes):
    return [tuple(box) for box in boxes.tolist()]


@given(st.lists(BOX, max_size=9))
def test_boxes_are_cut_as_specified(boxes):
    given_boxes = np.array(boxes, np.int32).reshape(-1, 4)
    before = given_boxes.copy()
    disjoint = normalize_boxes(given_boxes)
    assert disjoint.dtype == np.int32
    assert as_lists(disjoint) == naive.normalize(boxes)
    pixels = [naive.draw([box]) for box in as_lists(disjoint)]
    assert sum(map(len, pixels)) == len(set().union(*pixels))  # disjoint
    assert set().union(*pixels) == naive.draw(boxes)
    np.testing.assert_array_equal(given_boxes, before)


@given(st.lists(BOX, max_size=6), st.randoms(use_true_random=False))
def test_the_order_of_the_boxes_does_not_matter(boxes, random):
    expected = as_lists(normalize_boxes(np.array(boxes, np.int32).reshape(-1, 4)))
    random.shuffle(boxes)
    assert as_lists(normalize_boxes(np.array(boxes, np.int32).reshape(-1, 4))) == expected


@given(st.lists(BOX, max_size=6))
def test_what_is_disjoint_stays(boxes):
    once = normalize_boxes(np.array(boxes, np.int32).reshape(-1, 4))
    np.testing.assert_array_equal(normalize_boxes(once), once)


def test_no_boxes():
    assert normalize_boxes(np.zeros((0, 4), np.int32)).shape == (0, 4)
    assert normalize_boxes(np.array([[3, 3, 0, 5], [3, 3, 5, 0]], np.int32)).shape == (0, 4)


def test_a_bad_amplifier_is_cut_by_a_box_that_it_touches():
    """Spec 4.2: HSC's glowing box (996, 0, 56, 24) cuts a dead amplifier next to it in three."""
    boxes = np.array([[512, 0, 512, 4176], [996, 0, 56, 24]], np.int32)
    assert as_lists(normalize_boxes(boxes)) == [(512, 0, 540, 24), (512, 24, 512, 4152)]
    apart = np.array([[0, 0, 512, 4176], [996, 0, 56, 24]], np.int32)
    assert as_lists(normalize_boxes(apart)) == [(0, 0, 512, 4176), (996, 0, 56, 24)]
