"""Dimension records of raw frames, from their headers, as LSST's obs_base makes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from astro_metadata_translator import ObservationInfo
from astro_metadata_translator.translators import HscTranslator
from lsst.daf.butler import DimensionRecord, DimensionUniverse, Timespan

from isr.errors import HeaderError
from isr.hsc import camera, filters
from isr.hsc.header import is_hsc
from pipeline.instrument import NAME

__all__ = ["Observation", "dependency_records", "exposure_record", "observation_info"]

Observation = Any
"""An `ObservationInfo` with all `REQUIRED` fields, which type checkers think may be `None`."""

REQUIRED = {
    "datetime_begin",
    "datetime_end",
    "detector_num",
    "exposure_group",
    "exposure_id",
    "exposure_time",
    "exposure_time_requested",
    "group_counter_end",
    "group_counter_start",
    "has_simulated_content",
    "instrument",
    "observation_id",
    "observation_type",
    "observing_day",
    "physical_filter",
}
OPTIONAL = {
    "altaz_begin",
    "boresight_rotation_angle",
    "boresight_rotation_coord",
    "can_see_sky",
    "dark_time",
    "object",
    "observation_counter",
    "observation_reason",
    "observing_day_offset",
    "science_program",
    "tracking_radec",
}


def observation_info(header: Mapping[str, Any], name: str) -> Observation:
    """Translate the header of a raw frame, with LSST's corrections of known bad headers.

    Parameters
    ----------
    header : `~collections.abc.Mapping`
        Keyword to value.
    name : `str`
        Name of the file, for messages.

    Raises
    ------
    HeaderError
        If it is not HSC's, or a keyword is missing or makes no sense.
    """
    if not is_hsc(header):
        raise HeaderError(
            f"{name}: is not a raw frame of HSC: INSTRUME is {header.get('INSTRUME')!r} and EXP-ID "
            f"{header.get('EXP-ID')!r}, expected 'Hyper Suprime-Cam' or an EXP-ID that begins with HSC."
        )
    try:
        info: Observation = ObservationInfo(
            dict(header),
            filename=name,
            translator_class=HscTranslator,
            required=REQUIRED,
            subset=REQUIRED | OPTIONAL,
        )
    except Exception as error:  # whatever the translator stumbles over
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        text = f"no {cause}" if isinstance(cause, KeyError) else str(cause)
        raise HeaderError(f"{name}: the header cannot be translated: {text}; correct it.") from error
    if info.physical_filter not in filters():
        raise HeaderError(
            f"{name}: FILTER01 = {header.get('FILTER01')!r}, expected one of {', '.join(filters())}."
        )
    if info.detector_num not in range(len(camera().detectors)):
        raise HeaderError(f"{name}: DET-ID = {header.get('DET-ID')!r}, expected 0 to 111.")
    return info


def exposure_record(
    info: Observation, universe: DimensionUniverse, *, is_simulated: bool = False
) -> DimensionRecord:
    """Return the record of an exposure.

    Parameters
    ----------
    info : `astro_metadata_translator.ObservationInfo`
        The translated header of one of its files, from `observation_info`.
    universe : `lsst.daf.butler.DimensionUniverse`
        Dimensions of the repository.
    is_simulated : `bool`, optional
        Whether the header says so where the translator does not look.
    """
    ra = dec = sky_angle = azimuth = zenith_angle = None
    if info.tracking_radec is not None:
        icrs = info.tracking_radec.icrs
        ra, dec = float(icrs.ra.degree), float(icrs.dec.degree)
        if info.boresight_rotation_angle is not None and info.boresight_rotation_coord == "sky":
            sky_angle = float(info.boresight_rotation_angle.degree)
    if info.altaz_begin is not None:
        azimuth, zenith_angle = float(info.altaz_begin.az.degree), float(info.altaz_begin.zen.degree)
    return universe["exposure"].RecordClass(
        instrument=NAME,
        id=info.exposure_id,
        obs_id=info.observation_id,
        physical_filter=info.physical_filter,
        group=info.exposure_group,
        day_obs=info.observing_day,
        # An end before the begin would make an empty timespan.
        timespan=Timespan(info.datetime_begin, max(info.datetime_begin, info.datetime_end)),
        exposure_time=float(info.exposure_time_requested.to_value("s")),
        dark_time=None if info.dark_time is None else float(info.dark_time.to_value("s")),
        observation_type=info.observation_type,
        observation_reason=info.observation_reason,
        seq_num=info.observation_counter,
        seq_start=info.group_counter_start,
        seq_end=info.group_counter_end,
        target_name=info.object,
        science_program=info.science_program,
        tracking_ra=ra,
        tracking_dec=dec,
        sky_angle=sky_angle,
        azimuth=azimuth,
        zenith_angle=zenith_angle,
        has_simulated=bool(info.has_simulated_content) or is_simulated,
        can_see_sky=info.can_see_sky,
    )


def dependency_records(info: Observation, universe: DimensionUniverse) -> dict[str, DimensionRecord]:
    """Return the records that an exposure's record refers to, by dimension."""
    offset = info.observing_day_offset
    timespan = None
    if offset is not None:
        timespan = Timespan.from_day_obs(info.observing_day, round(offset.to_value("s")))
    return {
        "group": universe["group"].RecordClass(instrument=NAME, name=info.exposure_group),
        "day_obs": universe["day_obs"].RecordClass(instrument=NAME, id=info.observing_day, timespan=timespan),
    }
