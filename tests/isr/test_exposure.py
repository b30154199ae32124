"""Raw frames and exposures as containers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from isr.camera import Box
from isr.errors import ProcessingError
from isr.exposure import Exposure, VisitInfo
from tests.builders import exposure, four_amplifiers, raw_frame, two_amplifiers


@pytest.mark.parametrize(
    ("pixels", "found"),
    [
        (np.zeros((23, 42), np.int16), r"int16 \(23, 42\)"),
        (np.zeros((42, 23), np.uint16), r"uint16 \(42, 23\)"),
        (np.zeros(23 * 42, np.uint16), r"uint16 \(966,\)"),
    ],
)
def test_raw_frame_refuses_other_pixels(pixels, found):
    with pytest.raises(ProcessingError, match=rf"raw\.fits: pixels are {found}, expected uint16 \(23, 42\)"):
        raw_frame(pixels=pixels)


@pytest.mark.parametrize(
    ("plane", "pixels", "expected"),
    [
        ("image", np.zeros((20, 24)), "image is float64"),
        ("mask", np.zeros((20, 24), np.int16), "mask is int16"),
        ("mask", np.zeros((20, 23), np.int32), r"mask is int32 \(20, 23\), expected int32 \(20, 24\)"),
        ("variance", np.zeros((1, 24), np.float32), r"variance is float32 \(1, 24\)"),
    ],
)
def test_exposure_refuses_other_planes(plane, pixels, expected):
    with pytest.raises(ProcessingError, match=expected):
        replace(exposure(), **{plane: pixels})


def test_views_share_their_pixels():
    of_amps = exposure(four_amplifiers())
    assert of_amps.shape == (20, 24)
    for i, (amp, view) in enumerate(of_amps.amplifiers()):
        assert amp is of_amps.detector.amplifiers[i]
        view.image[...] = i
        view.mask[...] = 10 + i
        view.variance[...] = 20 + i
    quadrants = np.kron([[0, 1], [2, 3]], np.ones((10, 12)))
    np.testing.assert_array_equal(of_amps.image, quadrants)
    np.testing.assert_array_equal(of_amps.mask, quadrants + 10)
    np.testing.assert_array_equal(of_amps.variance, quadrants + 20)


@pytest.mark.parametrize("polygon", [np.zeros((3, 2), np.float32), np.zeros((2, 3)), np.zeros(6)])
def test_exposure_refuses_what_is_no_polygon(polygon):
    with pytest.raises(ProcessingError, match=r"valid_polygon is float\d\d .*, expected float64 \(n, 2\)"):
        replace(exposure(), valid_polygon=polygon)


def test_a_part_has_its_pixels_of_each_amplifier():
    whole = exposure(four_amplifiers())
    whole.image[...] = np.arange(480).reshape(20, 24)
    box = Box(10, 9, 5, 1)  # one row of the lower amplifiers
    planes = {name: getattr(whole, name)[box.slices] for name in ("image", "mask", "variance")}
    part = replace(whole, **planes, origin=(10, 9))
    assert part.bbox == box
    found = {amp.name: view.image.tolist() for amp, view in part.amplifiers()}
    first = 9 * 24 + 10
    assert found == {"C0": [[first, first + 1]], "C1": [[first + 2, first + 3, first + 4]]}


def test_copies_share_nothing():
    original = replace(exposure(), metadata={"A": 1}, wcs={"CRPIX1": 1.0}, valid_polygon=np.ones((3, 2)))
    copied = original.copy()
    copied.valid_polygon[0] = 5.0
    assert (original.valid_polygon == 1.0).all()
    copied.image += 1
    copied.mask |= 1
    copied.variance *= 2
    copied.planes.add("NEW")
    copied.metadata["A"] = 2
    copied.wcs.clear()
    fresh = exposure()
    for plane in ("image", "mask", "variance"):
        np.testing.assert_array_equal(getattr(original, plane), getattr(fresh, plane))
    assert "NEW" not in original.planes
    assert (original.metadata, original.wcs) == ({"A": 1}, {"CRPIX1": 1.0})
    assert copied.detector is original.detector


def test_exposures_do_not_share_their_planes_by_default():
    planes = (np.zeros((20, 24), np.float32), np.zeros((20, 24), np.int32), np.zeros((20, 24), np.float32))
    one, other = (Exposure(*planes, two_amplifiers()) for _ in range(2))
    one.planes.add("NEW")
    one.metadata["A"] = 1
    assert "NEW" not in other.planes
    assert other.metadata == {}


def test_what_a_notebook_shows():
    """One line, not all pixels and cards."""
    of = "visit 4242 detector 7 (1_07), HSC-R 30 s, 2020-02-03T04:05:06.789"
    assert repr(raw_frame()) == f"<RawFrame: {of}, 42 x 23 uint16 pixels>"
    assert repr(exposure()) == f"<Exposure: {of}, 24 x 20 float32 pixels>"
    assert repr(replace(exposure(), origin=(3, 5))).endswith(", 24 x 20 float32 pixels, from x = 3, y = 5>")
    assert repr(replace(exposure(), visit_info=VisitInfo())) == (
        "<Exposure: visit 0 detector 7 (1_07), 24 x 20 float32 pixels>"
    )
