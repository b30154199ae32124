"""Headers of simulated HSC raw frames, in the style of 2013.

Keywords, types and constant values come from ``isr/hsc/data/raw_header_2013.ecsv``;
what depends on visit and detector is computed here. Every header says SIMULATE = T.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from isr.camera import Box, Detector
from isr.errors import HeaderError
from isr.fits.cards import Card
from isr.hsc import ci_hsc_raws, exp_id, frame_id
from isr.hsc.tables import read_table

__all__ = ["SimulatedVisit", "raw_cards", "simulated_visit"]

TAI_MINUS_UTC = timedelta(seconds=35)  # from 2012-07-01 to 2015-06-30
LATITUDE, LONGITUDE = 19.82556, -155.47611  # degrees, spec section 4.14
RIGHT_ASCENSION, DECLINATION = 320.749925, 0.50002  # degrees, the field of the real header
PLATE_SCALE = 4.7222222222222e-05  # degree per pixel, as in the real header
OVERHEAD = timedelta(seconds=2.3)  # what UT-END exceeds UT-STR + EXPTIME by, typical for 2013


@dataclass(frozen=True, slots=True)
class SimulatedVisit:
    """An exposure to simulate.

    Attributes
    ----------
    visit : `int`
        Visit number, even.
    physical_filter : `str`
        e.g. ``"HSC-R"``.
    exposure_time : `float`
        Seconds.
    begin, end : `datetime.datetime`
        Shutter times, UTC, without zone.
    object : `str`
        Name of the field.
    right_ascension, declination : `float`
        Where the telescope points (J2000), degrees.
    """

    visit: int
    physical_filter: str
    exposure_time: float
    begin: datetime
    end: datetime
    object: str
    right_ascension: float = RIGHT_ASCENSION
    declination: float = DECLINATION


def simulated_visit(
    visit: int, physical_filter: str | None = None, exposure_time: float | None = None
) -> SimulatedVisit:
    """Return when and how a visit is (to be) taken.

    Visits of ci_hsc keep their real times, filter, exposure time and object
    where nothing else is asked for. Other visits get a plausible date that
    grows with the visit number, and a field that is high in the sky then.

    Parameters
    ----------
    visit : `int`
        Even visit number.
    physical_filter : `str`, optional
        Filter; by default that of ci_hsc, or HSC-R.
    exposure_time : `float`, optional
        Seconds; by default that of ci_hsc, or 30.

    Returns
    -------
    simulated : `SimulatedVisit`
        Facts for `raw_cards`.

    Raises
    ------
    HeaderError
        If there cannot be such a visit.
    """
    exp_id(visit)  # refuses impossible visits
    if exposure_time is not None and not 0.0 <= exposure_time < 86400.0:
        raise HeaderError(f"Visit {visit}: exposure time {exposure_time} s; expected 0 to 86400.")
    known = next((raw for raw in ci_hsc_raws() if raw.visit == visit), None)
    if known is not None:
        begin = datetime.fromisoformat(known.tai_begin) - TAI_MINUS_UTC
        end = datetime.fromisoformat(known.tai_end) - TAI_MINUS_UTC
        real_filter, real_time = known.physical_filter, known.exposure_time
        field, right_ascension = known.object, RIGHT_ASCENSION
    else:
        begin, real_filter, real_time = _plausible_begin(visit), "HSC-R", 30.0
        end = begin + timedelta(seconds=real_time) + OVERHEAD
        field, right_ascension = "SIMULATED", round(_local_sidereal_time(begin), 1)
    if exposure_time is not None and exposure_time != real_time:
        end = begin + timedelta(seconds=exposure_time) + OVERHEAD
    return SimulatedVisit(
        visit=visit,
        physical_filter=physical_filter or real_filter,
        exposure_time=real_time if exposure_time is None else exposure_time,
        begin=begin,
        end=end,
        object=field,
        right_ascension=right_ascension,
    )


def _plausible_begin(visit: int) -> datetime:
    """Numbers from 900000 on were used in 2013, those from 2 on since 2014."""
    if visit < 900_000:
        return datetime(2015, 10, 10, 8, 20, 6, 598000) + (visit - 40_900) // 2 * timedelta(minutes=40)
    known = {raw.visit: raw.tai_begin for raw in ci_hsc_raws()}
    anchor = max((other for other in known if other < visit), default=min(known))
    begin = datetime.fromisoformat(known[anchor]) - TAI_MINUS_UTC
    return begin + (visit - anchor) // 2 * timedelta(seconds=79)  # a little less than between real ones


def raw_cards(exposure: SimulatedVisit, detector: Detector) -> list[Card]:
    """Return the header of a simulated raw frame, without structural cards.

    Parameters
    ----------
    exposure : `SimulatedVisit`
        The exposure.
    detector : `isr.camera.Detector`
        A detector of HSC.

    Returns
    -------
    cards : `list` [`tuple` [`str`, `object`, `str`]]
        Keyword, value and comment.
    """
    computed = _identity(exposure, detector) | _times(exposure) | _pointing(exposure) | _wcs(detector)
    cards: list[Card] = []
    for key, kind, text, comment in zip(*read_table("raw_header_2013").values(), strict=True):
        cards.append((key, _TYPES[kind](text or computed[key]), comment))
    cards.append(("SIMULATE", True, "pixels were made by isr.simulate"))
    return cards + _channel_cards(detector)


_TYPES: dict[str, Any] = {"String": str, "Double": float, "Int": int, "Bool": lambda text: text == "True"}


def _identity(exposure: SimulatedVisit, detector: Detector) -> dict[str, Any]:
    bee, sdo = (int(part) for part in detector.name.split("_"))
    name = exposure.physical_filter
    return {
        "EXP-ID": exp_id(exposure.visit),
        "FRAMEID": frame_id(exposure.visit, detector.id),
        "EXPTIME": exposure.exposure_time,
        "OBJECT": exposure.object,
        "PROP-ID": "o13015",
        "FILTER01": name[:4] + name[4:].lower() if name.startswith("HSC-") else name,
        "DET-ID": detector.id,
        "T_BEEID": bee,
        "T_SDOID": sdo,
        "T_CCDSN": f"{detector.id:03d}",
    }


def _times(exposure: SimulatedVisit) -> dict[str, Any]:
    """Times of begin and end; the "typical" time is that of the begin, as in real headers."""
    cards: dict[str, Any] = {"DATE-OBS": exposure.begin.date().isoformat()}
    for time, suffixes in ((exposure.begin, ("-STR", "")), (exposure.end, ("-END",))):
        sidereal = _local_sidereal_time(time)
        altitude, azimuth = _horizontal(sidereal - exposure.right_ascension, exposure.declination)
        for suffix in suffixes:
            cards["UT" + suffix] = _clock(time)
            cards["HST" + suffix] = _clock(time - timedelta(hours=10))
            cards["LST" + suffix] = _clock(datetime(2000, 1, 1) + timedelta(hours=sidereal / 15.0))
            cards["MJD" + suffix] = _mjd(time)
            cards["ZD" + suffix] = round(90.0 - altitude, 8)
            cards["SECZ" + suffix] = f"{1.0 / math.sin(math.radians(altitude)):.3f}"
        if "" in suffixes:
            cards |= {"ALTITUDE": round(altitude, 8), "AZIMUTH": round(azimuth, 8)}
            cards["AIRMASS"] = 1.0 / math.sin(math.radians(altitude))
    cards["T_CCDTM"] = cards["HST-STR"][:8]
    return cards


def _pointing(exposure: SimulatedVisit) -> dict[str, Any]:
    right_ascension = _sexagesimal(exposure.right_ascension / 15.0, 3)
    declination = f"{'-' if exposure.declination < 0 else '+'}{_sexagesimal(abs(exposure.declination), 2)}"
    return {
        "RA": right_ascension,
        "DEC": declination,
        "RA2000": right_ascension,
        "DEC2000": declination,
        "CRVAL1": exposure.right_ascension,
        "CRVAL2": exposure.declination,
    }


def _wcs(detector: Detector) -> dict[str, float]:
    """Linear WCS of the unflipped, trimmed frame for position angle 0.

    North is towards -X, east towards -Y of the focal plane, as in the two
    real headers that are known.
    """
    yaw = math.radians(detector.yaw)
    rotation = np.array([[math.cos(yaw), -math.sin(yaw)], [math.sin(yaw), math.cos(yaw)]])
    position, reference = np.array(detector.focal_plane_position), np.array(detector.reference_pixel)
    centre = reference - rotation.T @ position / detector.pixel_size
    to_sky = PLATE_SCALE * np.array([[0.0, -1.0], [-1.0, 0.0]]) @ rotation
    axis = {"LR": 0, "TB": 1}.get(detector.raw_flip)
    if axis is not None:
        centre[axis] = detector.shape[1 - axis] - 1 - centre[axis]
        to_sky[:, axis] *= -1.0
    cards = {f"CRPIX{i + 1}": round(float(centre[i]) + 1.0, 3) for i in range(2)}
    return cards | {f"CD{i + 1}_{j + 1}": float(to_sky[i, j]) for i in range(2) for j in range(2)}


def _channel_cards(detector: Detector) -> list[Card]:
    """T_ cards of the readout channels: 1-based inclusive ranges in the unflipped frame."""
    amps = detector.amplifiers[:: -1 if detector.raw_flip == "LR" else 1]
    cards: list[Card] = []
    for n, amp in enumerate(amps, start=1):
        cards.append((f"T_GAIN{n}", round(amp.gain, 2), f"Gain for channel {n}"))
        boxes = {"EF": _unflipped(amp.raw_data_bbox, detector)}
        serial = _unflipped(amp.raw_serial_overscan_bbox, detector)
        parallel = _unflipped(amp.raw_parallel_overscan_bbox, detector)
        boxes["OS"] = Box(serial.x0, parallel.y0, serial.width, parallel.height)
        for kind, name in (("OS", "overscan region"), ("EF", "effective range")):
            box = boxes[kind]
            for axis, (low, high) in {1: (box.x0, box.x1), 2: (box.y0, box.y1)}.items():
                where = f"pixel of {'xy'[axis - 1]}-{name} for ch{n}"
                cards.append((f"T_{kind}MN{n}{axis}", low + 1, f"MIN {where}"))
                cards.append((f"T_{kind}MX{n}{axis}", high, f"MAX {where}"))
    return cards


def _unflipped(box: Box, detector: Detector) -> Box:
    ny, nx = detector.raw_shape
    if detector.raw_flip == "LR":
        return box._replace(x0=nx - box.x1)
    return box._replace(y0=ny - box.y1) if detector.raw_flip == "TB" else box


def _mjd(time: datetime) -> float:
    return (time - datetime(1858, 11, 17)) / timedelta(days=1)


def _local_sidereal_time(time: datetime) -> float:
    """Mean sidereal time in degrees (Meeus, Astronomical Algorithms, eq. 12.4, UT1 = UTC)."""
    days = _mjd(time) - 51544.5
    return (280.46061837 + 360.98564736629 * days + LONGITUDE) % 360.0


def _horizontal(hour_angle: float, declination: float) -> tuple[float, float]:
    """Altitude and azimuth (from north through east), degrees."""
    h, d, p = (math.radians(angle) for angle in (hour_angle, declination, LATITUDE))
    up = math.sin(p) * math.sin(d) + math.cos(p) * math.cos(d) * math.cos(h)
    north = math.cos(p) * math.sin(d) - math.sin(p) * math.cos(d) * math.cos(h)
    east = -math.cos(d) * math.sin(h)
    return math.degrees(math.asin(up)), math.degrees(math.atan2(east, north)) % 360.0


def _clock(time: datetime) -> str:
    return time.isoformat(timespec="milliseconds").partition("T")[2]


def _sexagesimal(value: float, decimals: int) -> str:
    scale = 10**decimals
    seconds, fraction = divmod(round(value * 3600 * scale), scale)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{fraction:0{decimals}d}"
