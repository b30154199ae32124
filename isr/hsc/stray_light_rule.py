"""Which exposures have stray light from the encoder LEDs (spec section 4.14)."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from isr.camera import Detector
from isr.exposure import VisitInfo
from isr.filter_rule import filter_is_listed

__all__ = ["AMPLIFIERS_WITHOUT_MODEL", "STRAY_LIGHT_END", "needs_stray_light"]

STRAY_LIGHT_END = "2018-01-01"
"""Since this date the LEDs are off during exposures (lsst/obs_subaru, yStrayLight.py)."""

AMPLIFIERS_WITHOUT_MODEL: Mapping[int, tuple[int, ...]] = {9: (0, 1, 2, 3), 33: (0, 1), 43: (0,)}
"""Detector to indices of amplifiers that were dead when the model was made (same source)."""


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
    date = visit_info.date_avg or visit_info.date_begin
    return filter_is_listed(visit_info, filters) and detector.type != "FOCUS" and "" < date < STRAY_LIGHT_END
