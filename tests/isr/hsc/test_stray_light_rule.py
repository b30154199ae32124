import pytest

from isr.exposure import VisitInfo
from isr.hsc.geometry import detector
from isr.hsc.stray_light_rule import needs_stray_light

OLD_Y = {"physical_filter": "HSC-Y", "band": "y", "date_avg": "2015-03-20T10:00:00"}


@pytest.mark.parametrize(
    ("changes", "detector_id", "expected"),
    [
        ({}, 0, True),
        ({}, 103, True),
        ({}, 104, False),
        ({"physical_filter": "HSC-Z", "band": "z"}, 0, False),
        ({"physical_filter": "HSC-Y-BARE"}, 0, False),
        ({"date_avg": "2017-12-31T23:59:59.999"}, 0, True),
        ({"date_avg": "2018-01-01T00:00:00.000"}, 0, False),
        ({"date_avg": "", "date_begin": "2015-03-20T10:00:00"}, 0, True),
        ({"date_avg": ""}, 0, False),
    ],
)
def test_filter_date_and_detector_decide(changes, detector_id, expected):
    assert needs_stray_light(VisitInfo(**OLD_Y | changes), detector(detector_id), ["HSC-Y"]) is expected


def test_a_band_is_accepted_in_place_of_the_filter():
    assert needs_stray_light(VisitInfo(**OLD_Y), detector(5), ["y"])
    assert not needs_stray_light(VisitInfo(**OLD_Y), detector(5), [])
