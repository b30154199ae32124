"""Assembly against an index ramp: where does each raw pixel go?"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from isr.camera import Amplifier, Box, Detector
from isr.errors import CameraError
from isr.steps.assemble import assemble, convert_to_float
from tests.builders import VISIT_INFO, four_amplifiers, frame_of, raw_frame, two_amplifiers


def index_ramp(detector):
    """A raw frame each pixel of which tells its place: x + 1000 y."""
    ny, nx = detector.raw_shape
    assert nx < 1000
    assert 1000 * ny < 2**16
    pixels = (np.arange(nx) + 1000 * np.arange(ny)[:, np.newaxis]).astype(np.uint16)
    return raw_frame(detector, pixels=pixels)


def test_float_conversion_is_exact():
    raw = raw_frame()
    raw.pixels[0, :4] = 0, 1, 32768, 65535
    frame = convert_to_float(raw)
    assert (frame.image.dtype, frame.mask.dtype, frame.variance.dtype) == (np.float32, np.int32, np.float32)
    np.testing.assert_array_equal(frame.image, raw.pixels.astype(np.float64))
    assert not frame.mask.any()
    assert (frame.variance == 1).all()
    assert frame.metadata == raw.header
    assert frame.metadata is not raw.header
    assert (frame.detector, frame.visit_info) == (raw.detector, VISIT_INFO)
    assert frame.exposure_id == raw.exposure_id


def test_two_amplifiers_without_flips():
    image = assemble(frame_of(index_ramp(two_amplifiers()))).image
    x, y = np.meshgrid(np.arange(24), np.arange(20))
    expected = np.where(x < 12, x + 3, x - 12 + 27) + 1000 * (y + 2)
    np.testing.assert_array_equal(image, expected)


def test_quadrants_are_flipped():
    image = assemble(frame_of(index_ramp(four_amplifiers()))).image
    for i in range(4):
        for y in range(10):
            for x in range(12):
                raw_x = 17 * i + (11 - x if i % 2 else x)
                raw_y = 9 - y if i >= 2 else y
                assert image[y + 10 * (i // 2), x + 12 * (i % 2)] == raw_x + 1000 * raw_y


def test_hsc_geometry():
    """Spec section 12: pixel (0, 0) of amplifier a is raw pixel (8 | 552 | 1080 | 1624, 49)."""
    ny = 60
    amplifiers = tuple(
        Amplifier(
            name=str(a),
            bbox=Box(512 * a, 0, 512, ny - 49),
            raw_bbox=Box(536 * a, 0, 536, ny),
            raw_data_bbox=Box(536 * a + (16 if a % 2 else 8), 49, 512, ny - 49),
            raw_serial_overscan_bbox=Box(536 * a + (0 if a % 2 else 520), 49, 16, ny - 49),
        )
        for a in range(4)
    )
    detector = Detector(22, "0_27", "22", "SCIENCE", Box(0, 0, 2048, ny - 49), (ny, 2144), amplifiers)
    columns = np.broadcast_to(np.arange(2144, dtype=np.uint16), (ny, 2144))
    rows = np.broadcast_to(np.arange(ny, dtype=np.uint16)[:, np.newaxis], (ny, 2144))
    x = assemble(frame_of(raw_frame(detector, pixels=columns.copy()))).image
    y = assemble(frame_of(raw_frame(detector, pixels=rows.copy()))).image
    assert x[0, ::512].tolist() == [8, 552, 1080, 1624]
    assert (y[0] == 49).all()
    assert (np.diff(x[0]).astype(int) == 1).sum() == 2048 - 4


@pytest.mark.parametrize("detector", [two_amplifiers(), four_amplifiers()], ids=["two", "four"])
def test_all_planes_go_together(detector):
    frame = frame_of(index_ramp(detector))
    frame.mask[...] = frame.image
    frame.variance[...] = frame.image
    frame.planes.add("NEW")
    exposure = assemble(frame)
    np.testing.assert_array_equal(exposure.mask, exposure.image)
    np.testing.assert_array_equal(exposure.variance, exposure.image)
    assert exposure.planes == frame.planes
    assert exposure.planes is not frame.planes
    assert exposure.metadata is frame.metadata
    assert (exposure.exposure_id, exposure.wcs) == (frame.exposure_id, frame.wcs)


def test_pixels_of_no_amplifier_have_no_data():
    detector = two_amplifiers()
    half = replace(detector, amplifiers=detector.amplifiers[1:])
    exposure = assemble(frame_of(raw_frame(half)))
    assert not exposure.image[:, :12].any()
    assert not exposure.variance[:, :12].any()
    assert (exposure.mask[:, :12] == exposure.planes.bitmask("NO_DATA")).all()
    assert not exposure.mask[:, 12:].any()


def test_the_frame_keeps_its_pixels():
    frame = frame_of(raw_frame())
    before = frame.copy()
    exposure = assemble(frame)
    exposure.image += 1
    exposure.mask |= 1
    np.testing.assert_array_equal(frame.image, before.image)
    np.testing.assert_array_equal(frame.mask, before.mask)


def test_a_detector_that_begins_elsewhere_is_refused():
    frame = convert_to_float(raw_frame(two_amplifiers(bbox=Box(0, -1, 24, 21))))
    with pytest.raises(CameraError, match=r"Detector 7 .*Box\(x0=0, y0=-1.* does not begin at \(0, 0\)"):
        assemble(frame)
