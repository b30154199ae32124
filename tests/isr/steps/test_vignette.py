"""Vignette polygon and the pixels outside it."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from isr.config import IsrConfig
from isr.errors import CameraError, ConfigError
from isr.hsc.config import hsc_config
from isr.hsc.geometry import camera
from isr.hsc.tables import read_table
from isr.steps.vignette import mask_vignetted, unvignetted_polygon
from tests.builders import exposure, two_amplifiers


def vignette(x=0.0, y=0.0, radius=10.0, points=100, **changes) -> IsrConfig:
    config = IsrConfig()
    config.vignette.xCenter, config.vignette.yCenter = x, y
    config.vignette.radius, config.vignette.numPolygonPoints = radius, points
    config.update(**changes)
    return config


def placed(position=(0.0, 0.0), yaw=0.0):
    """24 x 20 pixels of 1 mm."""
    place = {"focal_plane_position": position, "reference_pixel": (11.5, 9.5)}
    return two_amplifiers(**place, yaw=yaw, pixel_size=1.0)


def depth_inside(detector, config):
    """Distance (mm) of each pixel centre from the nearest side of the whole polygon, positive inside."""
    wanted = config.vignette
    y, x = np.mgrid[: detector.shape[0], : detector.shape[1]]
    dx, dy = x - detector.reference_pixel[0], y - detector.reference_pixel[1]
    c, s = math.cos(math.radians(detector.yaw)), math.sin(math.radians(detector.yaw))
    fx = detector.focal_plane_position[0] + detector.pixel_size * (c * dx - s * dy) - wanted.xCenter
    fy = detector.focal_plane_position[1] + detector.pixel_size * (s * dx + c * dy) - wanted.yCenter
    apothem = wanted.radius * math.cos(math.pi / wanted.numPolygonPoints)
    sides = (np.arange(wanted.numPolygonPoints) + 0.5) * 2 * math.pi / wanted.numPolygonPoints
    return apothem - np.max([fx * math.cos(a) + fy * math.sin(a) for a in sides], axis=0)


def area(polygon):
    x, y = polygon.T
    return 0.5 * float((np.roll(x, 1) * y - x * np.roll(y, 1)).sum())


@given(
    st.tuples(st.floats(-30, 30), st.floats(-30, 30)),
    st.floats(-360, 360),
    st.floats(0.1, 40),
    st.integers(3, 12),
)
def test_pixels_whose_centre_is_outside_are_masked(position, yaw, radius, points):
    detector, config = placed(position, yaw), vignette(1.5, -2.5, radius, points)
    depth = depth_inside(detector, config)
    found = exposure(detector)
    found.mask[:] = 1
    polygon = mask_vignetted(found, config)
    assume(polygon is not None)
    no_data = (found.mask & found.planes.bitmask("NO_DATA")) != 0
    certain = np.abs(depth) > 1e-9
    np.testing.assert_array_equal(no_data[certain], (depth <= 0)[certain])
    assert (found.mask & 1).all()


@given(st.floats(-30, 30), st.floats(-360, 360), st.floats(0.1, 40), st.integers(3, 12))
def test_polygon_is_convex_and_inside_both(x, yaw, radius, points):
    detector = placed((x, 3.0), yaw)
    polygon = unvignetted_polygon(detector, vignette(0.0, 0.0, radius, points).vignette)
    assume(polygon is not None)
    assert polygon.min() > -0.5 - 1e-9
    assert polygon[:, 0].max() < 23.5 + 1e-9
    assert polygon[:, 1].max() < 19.5 + 1e-9
    assert 0.0 <= area(polygon) <= min(24 * 20, math.pi * radius**2) * (1 + 1e-9)
    sides = np.roll(polygon, -1, axis=0) - polygon
    nexts = np.roll(sides, -1, axis=0)
    assert (sides[:, 0] * nexts[:, 1] - sides[:, 1] * nexts[:, 0] > -1e-9).all()


def test_detector_inside_keeps_its_outline():
    found = exposure(placed())
    polygon = mask_vignetted(found, vignette(radius=40.0))
    corners = [(-0.5, -0.5), (-0.5, 19.5), (23.5, -0.5), (23.5, 19.5)]
    np.testing.assert_allclose(sorted(map(tuple, polygon.round(9))), corners)
    assert not found.mask.any()


def test_circle_inside_the_detector():
    polygon = unvignetted_polygon(placed(), vignette(radius=4.0, points=8).vignette)
    assert len(polygon) == 8
    np.testing.assert_allclose(np.hypot(*(polygon - (11.5, 9.5)).T), 4.0)


def test_without_overlap_nothing_is_masked(caplog):
    found = exposure(placed((100.0, 0.0)))
    with caplog.at_level("INFO"):
        assert mask_vignetted(found, vignette()) is None
    assert not found.mask.any()
    assert caplog.messages == ["Detector 1_07 is wholly outside the vignette polygon"]


def test_pixels_on_the_border_are_not_inside():
    # A square with its corners on the axes, through pixel centres.
    detector = replace(placed(), reference_pixel=(12.0, 10.0))
    found = exposure(detector)
    mask_vignetted(found, vignette(radius=3.0, points=4))
    y, x = np.mgrid[:20, :24]
    inside = abs(x - 12) + abs(y - 10) < 3
    assert ((found.mask != 0) == ~inside)[abs(abs(x - 12) + abs(y - 10) - 3) > 0].all()
    assert (found.mask[[7, 13], 12] != 0).all()


def test_value_of_vignetted_pixels(caplog):
    found, before = exposure(placed()), exposure(placed())
    with caplog.at_level("INFO"):
        mask_vignetted(found, vignette(radius=8.0, vignetteValue=-5.0))
    no_data = found.mask != 0
    assert (found.image[no_data] == -5.0).all()
    np.testing.assert_array_equal(found.image[~no_data], before.image[~no_data])
    np.testing.assert_array_equal(found.variance, before.variance)
    assert caplog.messages == [f"Vignetted pixels masked: {no_data.sum()}"]
    assert 0 < no_data.sum() < no_data.size


def test_polygon_alone():
    found, before = exposure(placed()), exposure(placed())
    config = vignette(radius=8.0, vignetteValue=-5.0, doMaskVignettePolygon=False)
    assert len(mask_vignetted(found, config)) > 4
    assert not found.mask.any()
    np.testing.assert_array_equal(found.image, before.image)


def test_values_are_kept_by_default():
    found, before = exposure(placed()), exposure(placed())
    mask_vignetted(found, vignette(radius=8.0))
    np.testing.assert_array_equal(found.image, before.image)


@pytest.mark.parametrize(
    "unknown",
    [
        {"focal_plane_position": (0.0, math.nan)},
        {"reference_pixel": (math.nan, 0.0)},
        {"pixel_size": math.nan},
    ],
)
def test_detector_of_unknown_place(unknown):
    with pytest.raises(CameraError, match=r"Detector 7 \(1_07\): focal_plane_position.*doVignette=False"):
        mask_vignetted(exposure(replace(placed(), **unknown)), vignette())


def test_polygon_of_too_few_points():
    with pytest.raises(ConfigError, match=r"numPolygonPoints is 2, expected 3 or more"):
        mask_vignetted(exposure(placed()), vignette(points=2))


def test_hsc_detectors_lose_what_the_fact_table_says(shared):
    """Shares of area computed apart from this code (hsc_facts, vignetted_fraction)."""
    lines = (shared / "hsc_facts" / "hsc_detectors.ecsv").read_text().splitlines()
    names, *rows = (line.split() for line in lines if not line.startswith("#"))
    column = names.index("vignetted_fraction")
    assert len(rows) == len(read_table("detectors")["detector"]) == 112
    config = hsc_config().vignette
    for row, detector in zip(rows, camera(), strict=True):
        polygon = unvignetted_polygon(detector, config)
        assert 1.0 - area(polygon) / (2048 * 4176) == pytest.approx(float(row[column]), abs=1e-6), detector
