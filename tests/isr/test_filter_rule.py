import pytest

from isr.exposure import VisitInfo
from isr.filter_rule import filter_is_listed


@pytest.mark.parametrize(
    ("physical_filter", "band", "filters", "expected"),
    [
        ("HSC-Y", "y", ["HSC-Z", "HSC-Y"], True),
        ("HSC-Y", "y", ["y"], True),
        ("HSC-Y", "y", ["HSC-YY", "HSC", "Y"], False),
        ("HSC-Y", "y", [], False),
        ("", "", ["", "y"], False),
    ],
)
def test_physical_filter_or_band(physical_filter, band, filters, expected):
    info = VisitInfo(physical_filter=physical_filter, band=band)
    assert filter_is_listed(info, filters) is expected
