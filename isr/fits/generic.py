"""Headers of cameras other than HSC: the keywords that most of them have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from isr.camera import Camera
from isr.exposure import VisitInfo
from isr.fits.keywords import Keywords
from isr.fits.times import exposure_times

__all__ = ["translate_generic"]


def translate_generic(header: Mapping[str, Any], camera: Camera, name: str = "") -> tuple[VisitInfo, int]:
    """Read description of the exposure and detector from a header of any camera.

    Parameters
    ----------
    header : `~collections.abc.Mapping`
        Keyword to value. Used, if present: EXPTIME, DARKTIME, DATE-OBS with
        date and time (TIMESYS, else UTC), FILTER, OBJECT, OBSTYPE, AIRMASS.
    camera : `isr.camera.Camera`
        The camera.
    name : `str`
        Name of the file, for messages.

    Returns
    -------
    visit_info : `isr.exposure.VisitInfo`
        Description.
    detector_id : `int`
        DET-ID; without it, the only detector of the camera.

    Raises
    ------
    HeaderError
        If DET-ID is needed and missing, or a value makes no sense.
    """
    keywords = Keywords(header, name)
    only = camera.detectors[0].id if len(camera) == 1 else None
    if keywords.find("DET-ID") is None and only is not None:
        detector_id = only
    else:
        ids = ", ".join(str(detector.id) for detector in camera)
        detector_id = keywords.integer("DET-ID", f"the detector of camera {camera.name}, one of {ids}")
    exposure_time = keywords.optional_number("EXPTIME")
    dark_time = exposure_time if keywords.find("DARKTIME") is None else keywords.optional_number("DARKTIME")
    observation_type = keywords.text("OBSTYPE", "", default="").lower()
    info = VisitInfo(
        instrument=camera.name,
        exposure_time=exposure_time,
        dark_time=dark_time,
        physical_filter=keywords.text("FILTER", "", default=""),
        airmass=keywords.optional_number("AIRMASS"),
        observation_type="science" if observation_type == "object" else observation_type,
        object=keywords.text("OBJECT", "", default=""),
        **_times(keywords, exposure_time),
    )
    return info, detector_id


def _times(keywords: Keywords, exposure_time: float) -> dict[str, Any]:
    begin = keywords.text("DATE-OBS", "", default="")
    if not begin:
        return {}
    scale = "TAI" if keywords.find("TIMESYS") == "TAI" else "UTC"
    try:
        times = exposure_times(begin, exposure_time if exposure_time > 0 else 0.0, scale=scale)
    except (ValueError, OverflowError) as error:
        keywords.refuse("DATE-OBS", f"date and time of the begin, yyyy-mm-ddThh:mm:ss.sss ({error})")
    return {
        "date_begin": times.begin,
        "date_avg": times.middle,
        "date_end": times.end,
        "mjd_avg_ut1": times.mjd_ut1,
        "era": times.era,
    }
