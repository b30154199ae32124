"""Thresholds on raw ADU."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import pytest

from isr.steps.saturation import mask_saturation
from tests.builders import frame_of, only, raw_frame, two_amplifiers

NAN = float("nan")


def frame_with(amplifier, values):
    """A frame of 1000 ADU with some values in the first row of the amplifier's strip."""
    detector = two_amplifiers()
    frame = frame_of(raw_frame(detector, pixels=np.full(detector.raw_shape, 1000, np.uint16)))
    strip = frame.view(amplifier.raw_bbox).image
    strip[0, : len(values)] = values
    return frame


@pytest.mark.parametrize("amplifier", two_amplifiers().amplifiers, ids=["L", "R"])
def test_pixels_at_a_level_are_over_it(amplifier):
    sat, suspect = amplifier.saturation, amplifier.suspect_level
    frame = frame_with(amplifier, [sat - 1, sat, sat + 1, suspect - 1, suspect, suspect + 1, 65535])
    assert not mask_saturation(frame, amplifier, only(doSaturation=True, doSuspect=True))
    values = frame.image
    expected = np.where(values >= sat, 2, 0) | np.where(values >= suspect, 1 << 7, 0)
    np.testing.assert_array_equal(frame.mask, expected)
    lower_alone = 1 << 7 if suspect < sat else 2
    assert sorted(set(frame.mask.ravel().tolist())) == sorted({0, lower_alone, 2 | 1 << 7})


def test_only_the_strip_of_the_amplifier_is_looked_at():
    left, right = two_amplifiers().amplifiers
    frame = frame_with(left, [])
    frame.image[...] = 65535
    assert mask_saturation(frame, left, only(doSaturation=True))
    assert (frame.view(left.raw_bbox).mask != 0).all()
    assert not frame.view(right.raw_bbox).mask.any()


@pytest.mark.parametrize(
    ("switches", "planes"),
    [
        ({"doSaturation": True}, {"SAT"}),
        ({"doSuspect": True}, {"SUSPECT"}),
        ({}, set()),
        ({"doSaturation": True, "doSuspect": True}, {"SAT", "SUSPECT"}),
    ],
)
def test_switches(switches, planes):
    left = two_amplifiers().amplifiers[0]
    frame = frame_with(left, [65535])
    mask_saturation(frame, left, only(**switches))
    assert frame.mask[0, 0] == frame.planes.bitmask(*planes)


def test_planes_of_other_names():
    left = two_amplifiers().amplifiers[0]
    frame = frame_with(left, [65535])
    config = only(doSaturation=True, doSuspect=True)
    config.saturatedMaskName, config.suspectMaskName = "FULL", "CR"
    mask_saturation(frame, left, config)
    assert frame.planes["FULL"] == 11
    assert frame.mask[0, 0] == frame.planes.bitmask("FULL", "CR")


def test_a_nan_level_masks_nothing():
    left = replace(two_amplifiers().amplifiers[0], saturation=NAN, suspect_level=NAN)
    frame = frame_with(left, [65535])
    assert not mask_saturation(frame, left, only(doSaturation=True, doSuspect=True))
    assert not frame.mask.any()


@pytest.mark.parametrize(("level", "used"), [(2000.0, 2000.0), (NAN, 40000.0), (float("inf"), 40000.0)])
def test_the_level_of_the_configuration_overrides_the_camera(level, used, caplog):
    left = two_amplifiers().amplifiers[0]
    frame = frame_with(left, [1999, 2000, 39999, 40000])
    config = only(doSaturation=True)
    config.saturation = level
    with caplog.at_level(logging.INFO):
        mask_saturation(frame, left, config)
    count = 3 if used == 2000 else 1
    assert np.count_nonzero(frame.mask) == count
    assert f"SAT amplifier L: {count} pixels at or above {used:g} adu" in caplog.text


def test_the_level_of_the_configuration_does_not_change_the_suspect_level():
    left = two_amplifiers().amplifiers[0]
    frame = frame_with(left, [34999, 35000])
    config = only(doSaturation=True, doSuspect=True)
    config.saturation = 50000.0
    mask_saturation(frame, left, config)
    assert frame.mask[0, :2].tolist() == [0, 1 << 7]


def test_an_amplifier_saturated_in_all_its_data_is_bad(caplog):
    """Saturated and suspect pixels count together; the overscan does not matter."""
    left = two_amplifiers().amplifiers[0]
    frame = frame_with(left, [])
    data = frame.view(left.raw_data_bbox)
    data.image[...] = 36000.0
    data.image[3:7] = 45000.0
    with caplog.at_level(logging.WARNING):
        assert mask_saturation(frame, left, only(doSaturation=True, doSuspect=True))
    assert "Amplifier L is saturated or suspect in every pixel: made BAD" in caplog.text
    expected = np.zeros(frame.shape, np.int32)
    expected[left.raw_data_bbox.slices] = 1 | 1 << 7
    expected[5:9, 3:15] |= 2
    np.testing.assert_array_equal(frame.mask, expected)


def test_other_planes_do_not_make_an_amplifier_bad():
    left = two_amplifiers().amplifiers[0]
    frame = frame_with(left, [])
    frame.mask |= frame.planes.bitmask("CR")
    for switches in ({}, {"doSaturation": True, "doSuspect": True}):
        assert not mask_saturation(frame, left, only(**switches))


def test_one_good_pixel_saves_an_amplifier():
    left = two_amplifiers().amplifiers[0]
    frame = frame_with(left, [])
    data = frame.view(left.raw_data_bbox)
    data.image[...] = 65535.0
    data.image[-1, -1] = 39999.0
    assert not mask_saturation(frame, left, only(doSaturation=True))
    assert np.count_nonzero(data.mask) == data.mask.size - 1
    assert not (frame.mask & frame.planes.bitmask("BAD")).any()
    assert mask_saturation(frame, left, only(doSaturation=True, doSuspect=True))
