"""Which exposures have stray light from the encoder LEDs (spec section 4.14)."""

from __future__ import annotations

from collections.abc import Collection

from isr.camera import Detector
from isr.exposure import VisitInfo

__all__ = ["STRAY_LIGHT_END", "needs_stray_light"]

STRAY_LIGHT_END = "2018-01-01"
"""Since this date the LEDs are off during exposures (lsst/obs_subaru, yStrayLight.py)."""


def needs_stray_light(visit_info: VisitInfo, detector: Detector, filters: Collection[str]) -> bool:
    """Tell whether the stray light of the encoder LEDs has to be subtracted.

    Parameters
    ----------
    visit_info : `isr.exposure.VisitInfo`
        Its filter and its date decide.
    detector : `isr.camera.Detector`
        Focus CCDs have no stray-light calibration.
    filters : `~collections.abc.Collection` [`str`]
        Filters with stray light, physical names or bands
        (``config.strayLight.filters``: HSC-Y).

    Returns
    -------
    needed : `bool`
        False for an exposure of no stated date: nothing says that it is old
        enough.
    """
    in_filters = visit_info.physical_filter in filters or visit_info.band in filters
    date = visit_info.date_avg or visit_info.date_begin
    return in_filters and detector.type != "FOCUS" and "" < date < STRAY_LIGHT_END
