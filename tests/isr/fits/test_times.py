"""Times against astropy's."""

import math
import warnings

import pytest
from astropy.time import Time
from astropy.utils import iers

from isr.fits.times import exposure_times


@pytest.mark.parametrize(
    "begin",
    [
        "2013-06-17T13:28:36.039",
        "2012-06-30T23:59:59.250",  # the leap second of 2012: UT1-UTC jumps by one second within the day
        "2012-06-30T12:00:00",
        "2012-07-01T00:00:00",
        "1999-01-01T06:07:08.9",
        "2016-12-31T18:00:00",
        "2023-03-04T05:06:07.123456",
    ],
)
def test_against_astropy(begin):
    times = exposure_times(begin, 0.0)
    with iers.conf.set_temp("auto_download", False):
        utc = Time(begin, scale="utc", precision=9)
        utc.delta_ut1_utc = iers.IERS_B.open().ut1_utc(utc.jd1, utc.jd2)
        assert abs((Time(times.begin, scale="tai") - utc.tai).sec) < 1e-9
        assert times.mjd_ut1 == pytest.approx(utc.ut1.mjd, abs=1e-10)  # 10 microseconds
        assert times.era == pytest.approx(utc.ut1.earth_rotation_angle("tio").deg, abs=1e-7)


def test_begin_middle_end():
    times = exposure_times("2013-06-17T13:28:36.039", 30.0, "2013-06-17T13:29:08.495")
    assert times[:3] == ("2013-06-17T13:29:11.039", "2013-06-17T13:29:27.267", "2013-06-17T13:29:43.495")
    odd = exposure_times("2013-11-02T05:18:27.876", 30.0, "2013-11-02T05:19:00.683")
    assert odd.middle == "2013-11-02T05:19:19.279500"


def test_leap_second_between_begin_and_end():
    times = exposure_times("2012-06-30T23:59:50", 10.0, "2012-07-01T00:00:10")
    assert (times.begin, times.end) == ("2012-07-01T00:00:24.000", "2012-07-01T00:00:45.000")


def test_tai():
    times = exposure_times("2013-06-17T13:28:36.039", 30.0, scale="TAI")
    assert times[:3] == ("2013-06-17T13:28:36.039", "2013-06-17T13:28:51.039", "2013-06-17T13:29:06.039")


@pytest.mark.parametrize("begin", ["2099-01-01T00:00:00", "1950-01-01T00:00:00"])
def test_outside_of_the_earth_orientation_table(begin):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        times = exposure_times(begin, 30.0)
    assert math.isnan(times.mjd_ut1)
    assert math.isnan(times.era)
    assert times.begin


@pytest.mark.parametrize("begin", ["", "yesterday", "2013-02-30T00:00:00", "2013-06-17T13:28:36Z"])
def test_unreadable(begin):
    with pytest.raises(ValueError):
        exposure_times(begin, 30.0)
