"""Angle of HSC's instrument rotator during an exposure (spec section 4.14).

The header's INR-STR is the angle at the start only; LSST computes start and
end from the boresight, with the constants and approximations used here
(lsst/obs_subaru, rotatorAngle.py), which are kept as they are because the
stray-light model was made with them.
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt

from isr.errors import ProcessingError
from isr.exposure import VisitInfo

__all__ = ["rotator_angles"]

LATITUDE, LONGITUDE = 19.82556, -155.47611  # of the dome, degree
NORTH_STEP = 0.75  # degree
REFRACTIVITY = 1.7347e-4  # n - 1 of air at 273.15 K, 600 hPa, 550 nm
SCALE_HEIGHT = 0.00130  # of the air, Earth radii
LARGEST_ZENITH_DISTANCE = 70.0  # degree, for the refraction

_MJD_EPOCH = datetime(1858, 11, 17)
_J2000 = 51544.5


def rotator_angles(visit_info: VisitInfo) -> tuple[float, float]:
    """Compute the rotator angle at start and end of an exposure.

    Parameters
    ----------
    visit_info : `isr.exposure.VisitInfo`
        Boresight (ICRS), ``rotation_angle`` (270 degree - INST-PA),
        ``date_avg`` and ``exposure_time`` are used.

    Returns
    -------
    start, end : `float`
        Degree, on the shorter arc, within -270 to 270.

    Raises
    ------
    ProcessingError
        If one of these is not known.
    """
    needed = {
        "boresight (RA2000, DEC2000)": visit_info.boresight_ra + visit_info.boresight_dec,
        "position angle (INST-PA)": visit_info.rotation_angle,
        "exposure time (EXPTIME)": visit_info.exposure_time,
    }
    missing = [name for name, value in needed.items() if not math.isfinite(value)]
    missing += [] if visit_info.date_avg else ["date (DATE-OBS, UT-STR)"]
    if missing:
        raise ProcessingError(
            f"Visit {visit_info.visit}: the rotator angle cannot be computed, the raw header does not state "
            f"{', '.join(missing)}; set strayLight.doRotatorAngleCorrection=False to use INR-STR, or "
            "doStrayLight=False."
        )
    half = timedelta(seconds=0.5 * visit_info.exposure_time)
    middle = datetime.fromisoformat(visit_info.date_avg)
    position_angle = 270.0 - visit_info.rotation_angle
    start, end = (
        position_angle + _direction_of_north(visit_info.boresight_ra, visit_info.boresight_dec, time)
        for time in (middle - half, middle + half)
    )
    return _shorter_arc(start, end)


def _direction_of_north(ra: float, dec: float, time: datetime) -> float:
    """Return the angle at the boresight from the zenith to the celestial north, degree.

    It is that of a star `NORTH_STEP` north of the boresight. The time is TAI
    but taken for UT, as LSST does: half a minute is 0.15 degree of the sky.
    """
    mjd = (time - _MJD_EPOCH) / timedelta(days=1)
    ra, dec = _precess(ra, dec, (mjd - _J2000) / 36525.0)
    hour_angle = _sidereal_time(mjd) + LONGITUDE - ra
    altitude, azimuth = _horizontal(hour_angle, dec)
    altitude_star, azimuth_star = _horizontal(hour_angle, dec + NORTH_STEP)
    zenith = math.radians(90.0 - altitude - _refraction(altitude))
    zenith_star = math.radians(90.0 - altitude_star - _refraction(altitude_star))
    turn = math.radians(azimuth_star - azimuth)
    cosine = math.cos(zenith) * math.cos(zenith_star)
    distance = math.acos(cosine + math.sin(zenith) * math.sin(zenith_star) * math.cos(turn))
    sine = math.sin(zenith_star) * math.sin(turn) / math.sin(distance)
    angle = math.degrees(math.asin(min(max(sine, -1.0), 1.0)))
    return 180.0 - angle if zenith < zenith_star else angle


def _precess(ra: float, dec: float, century: float) -> tuple[float, float]:
    """Precess from J2000 to the date (Lieske et al. 1977, the IAU 1976 angles)."""
    t = century
    zeta = math.radians((2306.2181 * t + 0.30188 * t**2 + 0.017998 * t**3) / 3600.0)
    z = math.radians((2306.2181 * t + 1.09468 * t**2 + 0.018203 * t**3) / 3600.0)
    theta = math.radians((2004.3109 * t - 0.42665 * t**2 - 0.041833 * t**3) / 3600.0)
    a, d = math.radians(ra), math.radians(dec)
    vector = np.array([math.cos(a) * math.cos(d), math.sin(a) * math.cos(d), math.sin(d)])
    x, y, z_axis = _about_z(z) @ _about_y(-theta) @ _about_z(zeta) @ vector
    return math.degrees(math.atan2(y, x)), math.degrees(math.asin(min(max(z_axis, -1.0), 1.0)))


def _about_z(angle: float) -> npt.NDArray[np.float64]:
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def _about_y(angle: float) -> npt.NDArray[np.float64]:
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]])


def _sidereal_time(mjd: float) -> float:
    """Return the mean sidereal time of Greenwich in degree (Aoki et al. 1982)."""
    t = (mjd - _J2000) / 36525.0
    seconds = 24110.54841 + 8640184.812866 * t + 0.093104 * t**2 - 6.2e-6 * t**3 + (mjd % 1.0) * 86400.0
    return seconds % 86400.0 / 240.0


def _horizontal(hour_angle: float, dec: float) -> tuple[float, float]:
    """Return altitude and azimuth (from south over west) in degree."""
    h, d, latitude = math.radians(hour_angle), math.radians(dec), math.radians(LATITUDE)
    sine = math.sin(latitude) * math.sin(d) + math.cos(latitude) * math.cos(d) * math.cos(h)
    north = math.sin(latitude) * math.cos(d) * math.cos(h) - math.cos(latitude) * math.sin(d)
    azimuth = math.atan2(math.cos(d) * math.sin(h), north)
    return 90.0 - math.degrees(math.acos(min(max(sine, -1.0), 1.0))), math.degrees(azimuth)


def _refraction(altitude: float) -> float:
    """Return the refraction in degree: a series in the tangent of the zenith distance."""
    tangent = math.tan(math.radians(min(90.0 - altitude, LARGEST_ZENITH_DISTANCE)))
    r, h = REFRACTIVITY, SCALE_HEIGHT
    first = (1.0 - h) * r - h * r**2 / 2.0 + 2.0 * h**2 * r
    third = r**2 / 2.0 + r**3 / 6.0 - h * r - 11.0 / 4.0 * h * r**2 + 5.0 * h**2 * r
    fifth = r**3 - 9.0 / 4.0 * h * r**2 + 3.0 * h**2 * r
    return math.degrees(first * tangent + third * tangent**3 + fifth * tangent**5)


def _shorter_arc(start: float, end: float) -> tuple[float, float]:
    """Unwrap two angles to less than 180 degree apart, within -270 to 270."""
    start, end = ((angle + 180.0) % 360.0 - 180.0 for angle in (start, end))
    if end - start > 180.0:
        end -= 360.0
    elif start - end > 180.0:
        start -= 360.0
    if min(start, end) < -270.0:
        start, end = start + 360.0, end + 360.0
    return start, end
