"""Bad amplifiers and defects."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from isr.steps.defects import mask_bad_amplifier, mask_defects
from tests.builders import defects, exposure, frame_of, raw_frame, two_amplifiers

LEFT, RIGHT = two_amplifiers().amplifiers


def test_an_amplifier_inside_one_box_is_bad(caplog):
    frame = frame_of(raw_frame())
    before = frame.copy()
    with caplog.at_level(logging.WARNING):
        assert mask_bad_amplifier(frame, RIGHT, defects((12, 0, 12, 20), (1, 1, 2, 2)))
    assert "Amplifier R lies inside a defect" in caplog.text
    expected = np.zeros(frame.shape, np.int32)
    expected[RIGHT.raw_bbox.slices] = frame.planes.bitmask("BAD")  # prescan and overscan too
    np.testing.assert_array_equal(frame.mask, expected)
    np.testing.assert_array_equal(frame.image, before.image)


@pytest.mark.parametrize(
    "boxes",
    [
        [],
        [(12, 0, 12, 19)],
        [(13, 0, 11, 20)],
        [(0, 0, 12, 20)],
        [(12, 0, 12, 20), (10, 0, 2, 3)],  # normalisation cuts the box that another one touches
    ],
)
def test_an_amplifier_that_no_single_box_covers_is_not_bad(boxes):
    frame = frame_of(raw_frame())
    assert not mask_bad_amplifier(frame, RIGHT, defects(*boxes))
    assert not frame.mask.any()


@pytest.mark.parametrize(
    "boxes",
    [
        [(10, -3, 99, 99)],
        [(12, 0, 6, 20), (18, 0, 6, 20)],  # two boxes that the normalisation makes one
        [(12, 0, 12, 20), (2, 0, 3, 3)],  # another one that does not touch it
    ],
)
def test_boxes_that_cover_an_amplifier(boxes):
    assert mask_bad_amplifier(frame_of(raw_frame()), RIGHT, defects(*boxes))


def test_no_defects_no_bad_amplifier():
    assert not mask_bad_amplifier(frame_of(raw_frame()), LEFT, None)


def test_defects_are_clipped_to_the_detector(caplog):
    found = exposure()
    found.mask[0, 0] = found.planes.bitmask("SAT")
    boxes = [(-4, -4, 6, 5), (20, 17, 9, 9), (5, 5, 3, 1), (30, 30, 2, 2), (7, 7, 0, 4)]
    with caplog.at_level(logging.INFO):
        mask_defects(found, defects(*boxes))
    expected = np.zeros(found.shape, np.int32)
    for x0, y0, width, height in boxes[:3]:
        expected[max(y0, 0) : y0 + height, max(x0, 0) : x0 + width] = 1
    expected[0, 0] = 3
    np.testing.assert_array_equal(found.mask, expected)
    assert "Defects: 4 boxes masked as BAD" in caplog.text
