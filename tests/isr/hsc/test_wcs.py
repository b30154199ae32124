"""Approximate sky coordinates."""

import math
from dataclasses import replace

import numpy as np
import pytest

from isr import hsc
from isr.exposure import VisitInfo
from isr.hsc.header import translate_header
from isr.hsc.wcs import tan_wcs
from tests.isr.hsc.headers import real_header

POINTING = VisitInfo(boresight_ra=150.0, boresight_dec=2.0, rotation_angle=0.0, rotation_type="SKY")


def sky(cards, x, y):
    """East and north offsets of pixel (x, y) from the boresight, in arcsec (on the tangent plane)."""
    dx, dy = x + 1 - cards["CRPIX1"], y + 1 - cards["CRPIX2"]
    east = cards["CD1_1"] * dx + cards["CD1_2"] * dy
    north = cards["CD2_1"] * dx + cards["CD2_2"] * dy
    return 3600.0 * np.array([east, north])


def focal_plane(detector, x, y):
    """Focal-plane position of a pixel in mm (spec section 2)."""
    yaw = math.radians(detector.yaw)
    dx, dy = x - 1023.5, y - 2087.5
    turned = (
        math.cos(yaw) * dx - math.sin(yaw) * dy,
        math.sin(yaw) * dx + math.cos(yaw) * dy,
    )
    return np.array(detector.focal_plane_position) + 0.015 * np.array(turned)


@pytest.mark.parametrize("number", [22, 49, 50, 100, 103, 0])
@pytest.mark.parametrize(
    ("angle", "x_is", "y_is"),
    [
        (0.0, (-1, 0), (0, 1)),  # +X west, +Y north
        (90.0, (0, 1), (1, 0)),  # +X north, +Y east
        (270.0, (0, -1), (-1, 0)),  # +X south, +Y west
    ],
)
def test_orientation(number, angle, x_is, y_is):
    detector = hsc.detector(number)
    cards = tan_wcs(detector, replace(POINTING, rotation_angle=angle))
    for x, y in ((0, 0), (2047, 0), (700, 4175)):
        plane = focal_plane(detector, x, y) / 0.015 * 0.168
        expected = plane[0] * np.array(x_is) + plane[1] * np.array(y_is)
        np.testing.assert_allclose(sky(cards, x, y), expected, atol=1e-6)


def test_astropy_reads_the_cards():
    from astropy.wcs import WCS

    cards = tan_wcs(hsc.detector(22), POINTING)
    wcs = WCS(cards)
    assert wcs.wcs.ctype[0] == "RA---TAN"
    ra, dec = wcs.wcs_pix2world(cards["CRPIX1"], cards["CRPIX2"], 1)
    assert (float(ra), float(dec)) == pytest.approx((150.0, 2.0))


@pytest.mark.parametrize("unknown", ["boresight_ra", "boresight_dec", "rotation_angle"])
def test_unknown_pointing(unknown):
    assert tan_wcs(hsc.detector(22), replace(POINTING, **{unknown: math.nan})) == {}


@pytest.mark.parametrize(
    ("name", "tolerance"),
    [
        ("HSCA90402512_det050", 10.0),  # in the middle of the field
        ("HSCA04090107_det037", 40.0),  # 0.75 degree away: 0.168 and 0.17 arcsec per pixel differ
    ],
)
def test_rough_wcs_of_real_headers(shared, name, tolerance):
    """The raw's own WCS belongs to the unflipped data area: x there is 2047 - x here."""
    header = real_header(shared, name)
    info, number = translate_header(header)
    cards = tan_wcs(hsc.detector(number), info)
    assert (header["CRVAL1"], header["CRVAL2"]) == pytest.approx((info.boresight_ra, info.boresight_dec))
    for x, y in ((1023.5, 2087.5), (0, 0), (2047, 0), (0, 4175), (2047, 4175)):
        theirs = sky(header, 2047 - x, y)
        assert np.hypot(*(sky(cards, x, y) - theirs)) < tolerance
    unflipped = sky(header, 0, 0) - sky(cards, 0, 0)
    assert np.hypot(*unflipped) > 300
