"""Times of an exposure: UTC to TAI and UT1.

ERFA and the Earth-orientation table that come with astropy are used directly:
`astropy.time` takes a second for its first conversion, and may ask the network
for newer leap seconds.
"""

from __future__ import annotations

import math
import warnings
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import NamedTuple

__all__ = ["ExposureTimes", "exposure_times"]

_MJD_EPOCH = datetime(1858, 11, 17)
_JD_OF_MJD_0 = 2400000.5


class ExposureTimes(NamedTuple):
    """Times of an exposure.

    Attributes
    ----------
    begin, middle, end : `str`
        TAI, ISO 8601 without zone, e.g. ``"2013-06-17T13:29:27.267"``.
    mjd_ut1, era : `float`
        UT1 (MJD) and Earth rotation angle (degree) at the middle; NaN outside
        the Earth-orientation table (IERS 20 C04).
    """

    begin: str
    middle: str
    end: str
    mjd_ut1: float
    era: float


def exposure_times(begin: str, exposure_time: float, end: str = "", *, scale: str = "UTC") -> ExposureTimes:
    """Compute the times of an exposure.

    Parameters
    ----------
    begin, end : `str`
        Begin and end, ISO 8601 without zone. The end is never taken earlier
        than ``begin + exposure_time``.
    exposure_time : `float`
        Seconds.
    scale : `str`
        ``"UTC"`` or ``"TAI"``: scale of ``begin`` and ``end``.

    Raises
    ------
    ValueError
        If a time cannot be read.
    """
    start = _tai(begin, scale)
    stop = start + timedelta(seconds=exposure_time)
    if end:
        stop = max(stop, _tai(end, scale))
    middle = start + (stop - start) / 2
    return ExposureTimes(_iso(start), _iso(middle), _iso(stop), *_earth_rotation(middle))


def _tai(text: str, scale: str) -> datetime:
    time = datetime.fromisoformat(text)
    if time.tzinfo is not None:
        raise ValueError(f"{text!r} has a time zone")
    return time if scale == "TAI" else time + _tai_minus_utc(time)


def _tai_minus_utc(utc: datetime) -> timedelta:
    import erfa

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", erfa.ErfaWarning)  # years after the last known leap second
        return timedelta(seconds=float(erfa.dat(utc.year, utc.month, utc.day, 0.0)))


def _iso(time: datetime) -> str:
    """Format with milliseconds, or microseconds if there are any."""
    return time.isoformat(timespec="milliseconds" if time.microsecond % 1000 == 0 else "microseconds")


def _earth_rotation(tai: datetime) -> tuple[float, float]:
    """Return UT1 (MJD) and Earth rotation angle (degree)."""
    import erfa

    utc = tai - _tai_minus_utc(tai - _tai_minus_utc(tai))  # the offset of the UTC day, not the TAI day
    elapsed = utc - _MJD_EPOCH
    day, fraction = elapsed.days, (elapsed - timedelta(days=elapsed.days)) / timedelta(days=1)
    rows = _earth_orientation()
    index = day - _day_and_ut1(rows[0])[0]
    if not 0 <= index < len(rows) - 1:
        return math.nan, math.nan
    ut1_minus_utc, tomorrow = (_day_and_ut1(row)[1] for row in rows[index : index + 2])
    step = tomorrow - ut1_minus_utc
    step -= round(step)  # a leap second at the end of the day
    fraction += (ut1_minus_utc + fraction * step) / 86400.0
    return day + fraction, math.degrees(erfa.era00(_JD_OF_MJD_0 + day, fraction))


@cache
def _earth_orientation() -> list[str]:
    """Return the rows of the Earth-orientation table, one for 0h UTC of each day."""
    import astropy_iers_data

    with Path(astropy_iers_data.IERS_B_FILE).open(encoding="utf-8") as stream:
        return [line for line in stream if not line.startswith("#")]


def _day_and_ut1(row: str) -> tuple[int, float]:
    """Return the day (MJD) and UT1-UTC in seconds of a row."""
    columns = row.split(None, 8)
    return int(float(columns[4])), float(columns[7])
