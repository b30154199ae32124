"""Header of an HSC raw to visit, detector and description of the exposure.

The rules (spec sections 1.4 and 1.5) are those of lsst/astro_metadata_translator
77d8a893a47a, without its corrections of the headers of 27 exposures.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from isr.exposure import VisitInfo
from isr.fits.keywords import Keywords
from isr.fits.times import ExposureTimes, exposure_times
from isr.hsc.facts import filters
from isr.hsc.identifiers import visit_number

__all__ = ["is_hsc", "translate_header"]

# Subaru telescope: degree, degree, metre.
LONGITUDE, LATITUDE, ELEVATION = -155.476667, 19.825556, 4139.0

# Days (MJD) of commissioning run 2, whose files number the focus CCDs wrongly.
_RUN_2 = range(55927 + 391, 55927 + 405)
_RUN_2_DETECTORS = {112: 106, 107: 105, 113: 107, 115: 109, 108: 110, 114: 108}

_UNKNOWN_FILTERS = {"UNRECOGNIZED", "UNRECOGNISED", "NOTSET", "UNKNOWN"}


def is_hsc(header: Mapping[str, Any]) -> bool:
    """Tell whether a header is of an HSC raw.

    Files of 2013 have no INSTRUME; they are known by EXP-ID or FRAMEID.
    """
    keywords = Keywords(header)
    instrument = keywords.find("INSTRUME")
    if instrument is not None:
        return instrument == "Hyper Suprime-Cam"
    return any(str(keywords.find(key)).startswith("HSC") for key in ("EXP-ID", "FRAMEID"))


def translate_header(header: Mapping[str, Any], name: str = "") -> tuple[VisitInfo, int]:
    """Read visit, detector and description of the exposure from a header.

    Parameters
    ----------
    header : `~collections.abc.Mapping`
        Keyword to value; numbers may be strings.
    name : `str`
        Name of the file, for messages.

    Returns
    -------
    visit_info : `isr.exposure.VisitInfo`
        Description. Weather, focus, pointing and azimuth are NaN if the header
        lacks them. Dark time is the exposure time.
    detector_id : `int`
        Detector.

    Raises
    ------
    HeaderError
        If a necessary keyword is missing or makes no sense.
    """
    keywords = Keywords(header, name)
    exposure_time = keywords.number("EXPTIME", "the exposure time in seconds")
    if exposure_time < 0:
        keywords.refuse("EXPTIME", "the exposure time in seconds, not negative")
    physical_filter = _physical_filter(keywords)
    observation_type = _observation_type(keywords)
    times = _times(keywords, exposure_time)
    visit_info = VisitInfo(
        instrument="HSC",
        visit=_visit(keywords),
        obs_id=keywords.text("EXP-ID", "the exposure"),
        exposure_time=exposure_time,
        dark_time=exposure_time,
        date_begin=times.begin,
        date_avg=times.middle,
        date_end=times.end,
        mjd_avg_ut1=times.mjd_ut1,
        era=times.era,
        physical_filter=physical_filter,
        band=filters()[physical_filter].band,
        boresight_ra=_sexagesimal(keywords, "RA2000", 15.0),
        boresight_dec=_sexagesimal(keywords, "DEC2000", 1.0),
        boresight_az=keywords.optional_number("AZIMUTH"),  # from north, whatever its comment says
        boresight_alt=keywords.optional_number("ALTITUDE"),
        airmass=keywords.optional_number("AIRMASS"),
        rotation_angle=(270.0 - keywords.optional_number("INST-PA")) % 360.0,
        rotation_type="SKY",
        longitude=LONGITUDE,
        latitude=LATITUDE,
        elevation=ELEVATION,
        air_temperature=keywords.optional_number("OUT-TMP") - 273.15,
        air_pressure=keywords.optional_number("OUT-PRS") * 100.0,
        humidity=keywords.optional_number("OUT-HUM"),
        focus_z=keywords.optional_number("FOC-VAL"),
        observation_type=observation_type,
        science_program=keywords.text("PROP-ID", "the proposal", default=""),
        observation_reason="science" if observation_type == "science" else "unknown",
        object=keywords.text("OBJECT", "the target", default=""),
        has_simulated_content=keywords.find("SIMULATE") is True,
    )
    return visit_info, _detector_id(keywords)


def _visit(keywords: Keywords) -> int:
    expected = "HSCE and 8 digits, or HSC, a letter, 6 digits and 00"
    exp_id = keywords.text("EXP-ID", expected)
    frame_id = keywords.text("FRAMEID", "", default="")
    visit = visit_number(exp_id, frame_id)
    if visit is None:
        keywords.refuse("EXP-ID", f"{expected} (with FRAMEID = {frame_id!r} if the 6 digits are 0)")
    return visit


def _detector_id(keywords: Keywords) -> int:
    detector_id = keywords.integer("DET-ID", "the number of the detector, 0 to 111")
    mjd = keywords.optional_number("MJD")
    if math.isfinite(mjd) and int(mjd) in _RUN_2:
        return _RUN_2_DETECTORS.get(detector_id, detector_id)
    return detector_id


def _physical_filter(keywords: Keywords) -> str:
    name = keywords.text("FILTER01", "the filter, e.g. 'HSC-r'").upper()
    if name in _UNKNOWN_FILTERS:
        return "unknown"
    if name == "NONE":
        return "empty"
    if name not in filters():
        keywords.refuse("FILTER01", f"one of {', '.join(filters())}")
    return name


def _observation_type(keywords: Keywords) -> str:
    name = keywords.text("DATA-TYP", "the type of the observation, e.g. 'OBJECT'").lower()
    return "science" if name == "object" else name


def _times(keywords: Keywords, exposure_time: float) -> ExposureTimes:
    date = keywords.text("DATE-OBS", "the UTC date of the exposure, yyyy-mm-dd")[:10]
    begin, end = keywords.text("UT-STR", "the UTC time of the begin, hh:mm:ss.sss"), keywords.find("UT-END")
    try:
        return exposure_times(f"{date}T{begin}", exposure_time, f"{date}T{end}" if end else "")
    except (ValueError, OverflowError) as error:
        times = f"UT-STR (= {begin!r}) and UT-END (= {end!r})"
        keywords.refuse("DATE-OBS", f"yyyy-mm-dd, with times hh:mm:ss.sss in {times}: {error}")


def _sexagesimal(keywords: Keywords, key: str, factor: float) -> float:
    """Return an angle in degree from hours (or degrees), minutes and seconds."""
    value = keywords.find(key)
    if value is None:
        return math.nan
    whole, *parts = str(value).split(":")
    try:
        size = sum(abs(float(part)) / 60.0**i for i, part in enumerate((whole, *parts)))
    except ValueError:
        size = math.nan
    if len(parts) != 2 or not math.isfinite(size):
        keywords.refuse(key, "an angle as hh:mm:ss.sss or dd:mm:ss.ss")
    return math.copysign(size * factor, -1.0 if whole.strip().startswith("-") else 1.0)
