"""Rough zero point."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest

from isr.errors import ConfigError
from isr.hsc.config import hsc_config
from isr.steps.photo_calib import set_rough_zero_point
from tests.builders import VISIT_INFO, exposure


def exposed(**changes):
    return replace(exposure(), visit_info=replace(VISIT_INFO, **changes))


@pytest.mark.parametrize(
    ("physical_filter", "seconds", "mean"),
    [  # nJy/ADU of the reference (golden cases 08, 22, 24, 25, 28)
        ("HSC-R", 30.0, 0.30400361311863466),
        ("HSC-Y", 30.0, 1.327023901844984),
        ("HSC-I", 240.0, 0.054927364106516635),
        ("HSC-Z", 200.0, 0.15099758602010033),
        ("HSC-R", 60.0, 0.15200180655931733),
    ],
)
def test_reference_values(physical_filter, seconds, mean, caplog):
    found = exposed(physical_filter=physical_filter, exposure_time=seconds)
    config = hsc_config()
    with caplog.at_level(logging.INFO):
        assert set_rough_zero_point(found, config) == pytest.approx(mean, rel=1e-15)
    assert found.metadata["FLUXMAG0"] == config.fluxMag0T1[physical_filter] * seconds
    assert [record.levelname for record in caplog.records] == ["INFO"]


def test_magnitude_is_logged(caplog):
    config = hsc_config()
    config.fluxMag0T1 = {"HSC-R": 1e10}
    with caplog.at_level(logging.INFO):
        set_rough_zero_point(exposed(exposure_time=100.0), config)
    assert caplog.messages == ["Rough zero point 30.0000 mag for filter HSC-R"]


@pytest.mark.parametrize("physical_filter", ["FOO", ""])
def test_other_filters_get_the_default(physical_filter, caplog):
    config = hsc_config()
    config.fluxMag0T1 = {"HSC-R": 1e10}
    config.defaultFluxMag0T1 = 7e9
    found = exposed(physical_filter=physical_filter, exposure_time=10.0)
    set_rough_zero_point(found, config)
    assert found.metadata["FLUXMAG0"] == 7e10
    name = physical_filter or "Unknown"
    assert caplog.messages == [f"No rough zero point for filter {name}: default taken"]


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), float("inf")])
def test_without_exposure_time_nothing_is_set(seconds, caplog):
    found = exposed(exposure_time=seconds)
    assert set_rough_zero_point(found, hsc_config()) is None
    assert "FLUXMAG0" not in found.metadata
    assert caplog.messages == [f"Exposure time is {seconds} s: no rough zero point set"]


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_zero_points_that_make_no_sense_are_refused(value):
    config = hsc_config()
    config.fluxMag0T1 = {"HSC-R": value}
    with pytest.raises(ConfigError, match=r"Zero point of filter 'HSC-R' .* is .*, expected a positive"):
        set_rough_zero_point(exposed(), config)
