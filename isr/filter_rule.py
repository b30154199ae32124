"""Whether a list of filters in the configuration holds that of an exposure."""

from __future__ import annotations

from collections.abc import Collection

from isr.exposure import VisitInfo

__all__ = ["filter_is_listed"]


def filter_is_listed(visit_info: VisitInfo, filters: Collection[str]) -> bool:
    """Tell whether the filter of an exposure is in a list, as LSST's ``checkFilter`` does.

    Parameters
    ----------
    visit_info : `isr.exposure.VisitInfo`
        Its physical filter, else its band, is looked up.
    filters : `~collections.abc.Collection` [`str`]
        Physical filters (``"HSC-Y"``) or bands (``"y"``).
    """
    names = {visit_info.physical_filter, visit_info.band} - {""}
    return not names.isdisjoint(filters)
