"""Which calibrations are refused, and what the messages say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from isr.calib_rules import check_calibs, is_valid_at, needed_kinds, used_kinds
from isr.calibs import Calibs
from isr.errors import CalibMismatchError, CalibMissingError
from tests.builders import VISIT_INFO, calib_image, calibs, defects, four_amplifiers, only, raw_frame

SWITCHES = {"bias": "doBias", "dark": "doDark", "flat": "doFlat", "defects": "doDefect"}
KINDS = tuple(SWITCHES)


def with_info(kind: str, **changes) -> Calibs:
    """All calibrations, one of which says something else of itself."""
    good = calibs()
    calib = getattr(good, kind)
    return replace(good, **{kind: replace(calib, info=replace(calib.info, **changes))})


def all_on():
    return only(**dict.fromkeys(SWITCHES.values(), True))


def test_needed_kinds():
    assert needed_kinds(raw_frame(), all_on()) == KINDS
    assert needed_kinds(raw_frame(), only()) == ()
    for kind, switch in SWITCHES.items():
        assert needed_kinds(raw_frame(), only(**{switch: True})) == (kind,)
        assert used_kinds(raw_frame(), calibs(), only(**{switch: True})) == (kind,)


def test_matching_calibrations_pass():
    assert check_calibs(raw_frame(), calibs(), all_on()) == {}
    assert check_calibs(raw_frame(), calibs(forced=KINDS), all_on()) == {}


def test_items():
    some = Calibs(bias=calib_image("bias"), defects=defects())
    assert list(some.items()) == [("bias", some.bias), ("defects", some.defects)]
    assert list(Calibs().items()) == []


@pytest.mark.parametrize("kind", KINDS)
def test_missing_calibration(kind):
    some = calibs(**{kind: None})
    switch = SWITCHES[kind]
    with pytest.raises(
        CalibMissingError, match=rf"no {kind} given, and {switch} is on.*set {switch}=False"
    ) as e:
        check_calibs(raw_frame(), some, all_on())
    for of_raw in ("raw.fits", "visit 4242", "detector 7", "filter HSC-R", "2020-02-03T04:05:06.789"):
        assert of_raw in str(e.value)
    others = dict.fromkeys(SWITCHES.values(), True) | {switch: False}
    assert check_calibs(raw_frame(), some, only(**others)) == {}


# What does not match, and both sides of it as the message has to name them.
MISMATCHES = {
    "detector": ({"detector": 8}, "it is of detector 8, the raw of detector 7"),
    "filter": ({"physical_filter": "HSC-I"}, "it is of filter HSC-I, the raw of filter HSC-R"),
    "unit": ({"unit": "electron"}, "its pixels are in electron, the raw's in adu"),
    "too late": (
        {"valid_from": "2020-02-04", "valid_until": "2021-01-01"},
        "it is valid from 2020-02-04 until 2021-01-01, the raw is of 2020-02-03T04:05:06.789",
    ),
    "too early": (
        {"valid_until": "2020-02-03T04:05:06.789"},
        "it is valid from ever until 2020-02-03T04:05:06.789, the raw is of 2020-02-03T04:05:06.789",
    ),
    "not yet": (
        {"valid_from": "2020-02-03T04:05:06.790"},
        "it is valid from 2020-02-03T04:05:06.790 until ever, the raw is of 2020-02-03T04:05:06.789",
    ),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mismatch", MISMATCHES)
def test_mismatches_are_refused(kind, mismatch):
    changes, problem = MISMATCHES[mismatch]
    with pytest.raises(CalibMismatchError) as error:
        check_calibs(raw_frame(), with_info(kind, **changes), all_on())
    message = str(error.value)
    assert message.startswith(f"{kind} {kind}.fits does not belong to raw.fits (visit 4242, detector 7,")
    assert f": {problem}. " in message
    assert f"--force-calib {kind}" in message


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mismatch", MISMATCHES)
def test_forced_mismatches_pass_and_are_reported(kind, mismatch):
    changes, problem = MISMATCHES[mismatch]
    wrong = with_info(kind, **changes)
    assert check_calibs(raw_frame(), replace(wrong, forced=(kind,)), all_on()) == {kind: problem}
    others = tuple(other for other in KINDS if other != kind)
    with pytest.raises(CalibMismatchError):
        check_calibs(raw_frame(), replace(wrong, forced=others), all_on())


@pytest.mark.parametrize("kind", KINDS)
def test_calibrations_of_switched_off_steps_are_not_looked_at(kind):
    switches = dict.fromkeys(SWITCHES.values(), True) | {SWITCHES[kind]: False}
    assert check_calibs(raw_frame(), with_info(kind, detector=99), only(**switches)) == {}


def test_all_mismatches_are_named_at_once():
    wrong = with_info("flat", detector=8, physical_filter="HSC-I", unit="electron", valid_until="2019-01-01")
    with pytest.raises(CalibMismatchError, match=r"detector 8.*; .*HSC-I.*; .*electron.*; .*2019-01-01"):
        check_calibs(raw_frame(), wrong, all_on())
    forced = check_calibs(raw_frame(), replace(wrong, forced=("flat",)), all_on())
    assert forced["flat"].count("; ") == 3


@pytest.mark.parametrize("kind", ["bias", "dark", "flat"])
@pytest.mark.parametrize("shape", [(19, 24), (24, 20), (1, 24)])
def test_another_shape_is_refused_even_if_forced(kind, shape):
    calib = replace(calib_image(kind), image=np.ones(shape, np.float32))
    for forced in ((), (kind,)):
        with pytest.raises(CalibMismatchError, match=r"not even with --force-calib") as error:
            check_calibs(raw_frame(), replace(calibs(), **{kind: calib}, forced=forced), all_on())
        assert f"{kind} {kind}.fits: shape {shape}" in str(error.value)
        assert "detector 7 (1_07) of raw.fits is (20, 24)" in str(error.value)


def test_calibrations_of_another_detector_of_the_same_shape_are_noticed():
    with pytest.raises(CalibMismatchError, match=r"bias\.fits.*detector 3, the raw of detector 7"):
        check_calibs(raw_frame(), calibs(four_amplifiers()), all_on())


def test_what_is_not_stated_matches():
    unstated = {"detector": None, "physical_filter": "", "unit": "", "valid_from": "", "valid_until": ""}
    for kind in KINDS:
        assert check_calibs(raw_frame(), with_info(kind, **unstated), all_on()) == {}
    of_unknown = raw_frame(visit_info=replace(VISIT_INFO, physical_filter="", date_begin=""), name="")
    assert check_calibs(of_unknown, with_info("flat", valid_until="1999-01-01"), all_on()) == {}
    with pytest.raises(CalibMissingError, match=r"raw \(visit 4242, detector 7, filter unknown, no date\)"):
        check_calibs(of_unknown, Calibs(), all_on())


@pytest.mark.parametrize(
    ("date", "valid_from", "valid_until", "valid"),
    [
        ("2013-06-17T13:29:27.267", "", "", True),
        ("", "2013-01-01", "2013-01-02", True),
        ("2013-06-17T13:29:27.267", "2013-06-17", "2013-06-18", True),
        ("2013-06-17T13:29:27.267", "2013-06-18", "", False),
        ("2013-06-17T13:29:27.267", "", "2013-06-17", False),
        ("2013-06-17T00:00:00.000", "2013-06-17", "", True),
        ("2013-06-17T00:00:00.000", "", "2013-06-17", False),
        ("2013-06-17T00:00:00", "2013-06-17T00:00:00", "2013-06-17T00:00:00", False),
        ("2012-12-31T23:59:59.999", "2013-01-01T00:00:00", "", False),
    ],
)
def test_validity_begins_inclusive_and_ends_exclusive(date, valid_from, valid_until, valid):
    assert is_valid_at(date, valid_from, valid_until) is valid


def test_defects_are_normalized_once():
    two = defects((0, 0, 4, 4), (2, 2, 4, 4))
    assert two.normalized is two.normalized
    assert two.normalized.tolist() == [[0, 0, 4, 4], [4, 2, 2, 4], [2, 4, 2, 2]]
    assert two.boxes.tolist() == [[0, 0, 4, 4], [2, 2, 4, 4]]
