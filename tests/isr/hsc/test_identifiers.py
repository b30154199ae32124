"""Visits, frames and file names."""

import pytest

from isr import hsc
from isr.errors import CameraError, HeaderError

RAWS = hsc.ci_hsc_raws()


def test_all_33_raws_of_ci_hsc():
    assert len(RAWS) == 33
    assert len({(raw.visit, raw.detector) for raw in RAWS}) == 33


@pytest.mark.parametrize("raw", RAWS, ids=lambda raw: raw.file)
def test_ci_hsc_names(raw):
    assert hsc.archive_file_name(raw.visit, raw.detector) == raw.file
    assert hsc.frame_id(raw.visit, raw.detector) == raw.frame_id
    assert hsc.exp_id(raw.visit) == raw.exp_id
    assert hsc.visit_number(raw.exp_id, raw.frame_id) == raw.visit


def test_example_of_the_archive():
    assert hsc.archive_file_name(903334, 22) == "HSCA90333427.fits"
    assert hsc.archive_file_name(903334, "0_27") == "HSCA90333427.fits"
    assert hsc.archive_file_name(903344, 0) == "HSCA90334553.fits"
    assert hsc.exposure_id(903334, 22) == 180666822


@pytest.mark.parametrize(
    ("exp_id", "frame_id", "visit"),
    [
        ("HSCA90333400", "", 903334),
        ("HSCC00012400", "", 2000124),
        ("HSCE00123456", "", 123456),  # the scheme since June 2016: all 8 digits
        ("HSCE12345600", "", 12345600),
        ("HSCA00000000", "HSCA00042427", 424),  # EXP-ID was not filled in
        ("HSCA00000000", "HSCB00042553", 1000424),  # the frames of board 1 have odd numbers
        ("HSCA00000000", "", None),
        ("HSCA00000000", "SUPA00042427", None),
        ("HSCA90333412", "", None),
        ("HSCA9033340", "", None),
        ("SUPA90333400", "HSCA90333427", None),
        ("", "", None),
    ],
)
def test_visit_number(exp_id, frame_id, visit):
    assert hsc.visit_number(exp_id, frame_id) == visit


@pytest.mark.parametrize("visit", [2, 903334, 1000000, 25999998])
def test_round_trip(visit):
    for detector in (0, 22, 100, 111):
        assert hsc.visit_number(hsc.exp_id(visit), hsc.frame_id(visit, detector)) == visit


@pytest.mark.parametrize("visit", [903335, 0, -2, 26000000])
def test_impossible_visits(visit):
    with pytest.raises(HeaderError, match=f"visit {visit}: .* even number"):
        hsc.frame_id(visit, 22)


def test_unknown_detector():
    with pytest.raises(CameraError, match="no detector 200"):
        hsc.archive_file_name(903334, 200)
