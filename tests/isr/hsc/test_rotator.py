"""Rotator angle against ERFA's routines and the angles in real headers."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import datetime, timedelta

import erfa
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from isr.errors import ProcessingError
from isr.exposure import VisitInfo
from isr.hsc.header import translate_header
from isr.hsc.rotator import rotator_angles
from tests.isr.hsc.headers import real_header

LATITUDE, LONGITUDE = math.radians(19.82556), math.radians(-155.47611)

INFO = VisitInfo(
    visit=4242,
    exposure_time=200.0,
    date_avg="2015-03-20T10:00:00",
    boresight_ra=150.0,
    boresight_dec=2.2,
    rotation_angle=180.0,
)


def expected_angle(info, time):
    """INST-PA + parallactic angle: IAU 1976 precession and 1982 sidereal time by ERFA, no refraction."""
    mjd = (datetime.fromisoformat(time) - datetime(1858, 11, 17)) / timedelta(days=1)
    boresight = erfa.s2c(math.radians(info.boresight_ra), math.radians(info.boresight_dec))
    ra, dec = erfa.c2s(erfa.pmat76(2400000.5, mjd) @ boresight)
    hour_angle = erfa.gmst82(2400000.5, mjd) + LONGITUDE - ra
    _, altitude = erfa.hd2ae(hour_angle, dec, LATITUDE)
    parallactic = math.degrees(erfa.hd2pa(hour_angle, dec, LATITUDE))
    return 270.0 - info.rotation_angle + parallactic, math.degrees(altitude)


def apart(a, b):
    return abs((a - b + 180.0) % 360.0 - 180.0)


@given(st.floats(0, 360), st.floats(-30, 75), st.floats(0, 360), st.integers(0, 365 * 24))
def test_parallactic_angle_plus_position_angle(ra, dec, rotation, hours):
    date = (datetime(2014, 7, 1) + timedelta(hours=hours)).isoformat()
    info = replace(
        INFO, boresight_ra=ra, boresight_dec=dec, rotation_angle=rotation, date_avg=date, exposure_time=0.0
    )
    expected, altitude = expected_angle(info, date)
    assume(15 < altitude < 85)
    start, end = rotator_angles(info)
    assert start == end
    assert apart(start, expected) < 0.03, "refraction turns the field by no more"


def test_start_and_end_are_half_an_exposure_from_the_middle():
    start, end = rotator_angles(INFO)
    assert apart(start, expected_angle(INFO, "2015-03-20T09:58:20")[0]) < 0.01
    assert apart(end, expected_angle(INFO, "2015-03-20T10:01:40")[0]) < 0.01
    assert apart(start, end) > 0.3


@given(st.floats(0, 360), st.floats(-30, 60), st.floats(-360, 720), st.integers(0, 24))
def test_shorter_arc(ra, dec, rotation, hour):
    info = replace(
        INFO,
        boresight_ra=ra,
        boresight_dec=dec,
        rotation_angle=rotation,
        exposure_time=1200.0,
        date_avg=(datetime(2014, 7, 1) + timedelta(hours=hour)).isoformat(),
    )
    start, end = rotator_angles(info)
    assert abs(end - start) <= 180.0
    assert min(start, end) >= -270.0
    assert max(start, end) <= 270.0


@pytest.mark.parametrize("wrap", [179.9, -179.9])
def test_arc_across_the_wrap(wrap):
    """Turned so that the middle of the arc is near 180 degree."""
    start, end = rotator_angles(INFO)
    turned = replace(INFO, rotation_angle=INFO.rotation_angle + 0.5 * (start + end) - wrap)
    found = rotator_angles(turned)
    assert found[1] - found[0] == pytest.approx(end - start, abs=1e-9)
    assert apart(sum(found) / 2, wrap) < 1e-9


def test_refraction_is_that_of_the_recipe():
    """The star is lifted less than the boresight; R = 60 arcsec tan z within 1 %."""
    from isr.hsc.rotator import _refraction

    assert _refraction(45.0) * 3600 == pytest.approx(math.degrees(1.7347e-4) * 3600, rel=0.01)
    assert _refraction(90.0) == pytest.approx(0.0, abs=1e-15)
    assert _refraction(19.0) == _refraction(20.0) == _refraction(-5.0)
    assert np.diff([_refraction(a) for a in range(20, 90)]).max() < 0


@pytest.mark.parametrize("name", ["HSCA90402512_det050", "HSCA04090107_det037"])
def test_real_headers_state_the_angle_at_the_start(shared, name):
    """INR-STR was read some seconds before the shutter opened, and LSST takes TAI for UT."""
    header = real_header(shared, name)
    info, _ = translate_header(header)
    start, end = rotator_angles(info)
    rate = (end - start) / info.exposure_time
    early = (start - header["INR-STR"]) / rate
    assert 30.0 < early < 45.0, "35 s are TAI - UTC"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"rotation_angle": math.nan}, "INST-PA"),
        ({"boresight_ra": math.nan}, "RA2000, DEC2000"),
        ({"boresight_dec": math.nan}, "RA2000, DEC2000"),
        ({"exposure_time": math.nan}, "EXPTIME"),
        ({"date_avg": ""}, "DATE-OBS"),
    ],
)
def test_missing_information_is_named(changes, said):
    with pytest.raises(ProcessingError, match=rf"Visit 4242: the rotator angle .*{said}.*doStrayLight=False"):
        rotator_angles(replace(INFO, **changes))
