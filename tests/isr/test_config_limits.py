"""What the engine does not implement is refused, with the field's name and the reason."""

from __future__ import annotations

import math
from fnmatch import filter as filter_names
from fnmatch import fnmatchcase

import lsst.pex.config as pexConfig
import pytest

from isr.config import IsrConfig
from isr.config.limits import (
    LIMITS,
    NO_EFFECT,
    SWITCHES,
    no_effect_reason,
    refusals,
    value_of,
)
from isr.errors import ConfigError
from isr.hsc.config import hsc_config
from tests.isr.config_tools import leaves, set_leaf

ALL = {name: field for name, field, _ in leaves(IsrConfig())}


def all_on() -> IsrConfig:
    """HSC's configuration: every step that has limits is on."""
    return hsc_config()


def another_value(name):
    field, (accepted, *_) = ALL[name], LIMITS[name].values
    match accepted:
        case bool():
            return not accepted
        case int() | float():
            return accepted + 1
        case str():
            return next(v for v in field.allowed if v not in (accepted, None))
        case _:
            return [*accepted, "CR"]


def test_the_switches_of_all_limits_exist_and_are_on():
    config = all_on()
    for switch in SWITCHES.values():
        assert value_of(config, switch) is True, switch


@pytest.mark.parametrize("name", LIMITS)
def test_a_field_is_refused_with_its_name_and_the_reason(name):
    config = all_on()
    assert refusals(config) == []
    value = another_value(name)
    set_leaf(config, name, value)
    (problem,) = refusals(config)
    assert problem == (
        f"{name} = {value!r}: only {LIMITS[name].values[0]!r} is accepted here ({LIMITS[name].reason})."
    )


def test_all_problems_are_told_at_once():
    config = IsrConfig()
    config.doTweakFlat = config.doDeferredCharge = True
    with pytest.raises(ConfigError, match=r"^doDeferredCharge = True: .* doTweakFlat = True: "):
        config.validate()


@pytest.mark.parametrize(
    ("name", "switch"),
    [(n, switch) for n in LIMITS for pattern, switch in SWITCHES.items() if fnmatchcase(n, pattern)],
)
def test_a_field_of_a_step_that_is_off_does_not_matter(name, switch):
    config = all_on()
    set_leaf(config, name, another_value(name))
    assert refusals(config) != []
    set_leaf(config, switch, False)
    assert refusals(config) == []


def test_the_tables_name_fields_that_exist():
    assert LIMITS.keys() <= ALL.keys()
    for pattern in [*NO_EFFECT, *SWITCHES]:
        assert filter_names(ALL, pattern), pattern
    assert not [n for n in LIMITS if no_effect_reason(n)]


def test_lsst_defaults_and_hscs_values_are_accepted():
    assert refusals(IsrConfig()) == refusals(hsc_config()) == []


@pytest.mark.parametrize("name", [n for n, field in ALL.items() if no_effect_reason(n)])
def test_fields_without_effect_are_accepted_at_any_value(name):
    config, field = all_on(), ALL[name]
    if isinstance(field, pexConfig.ListField):
        set_leaf(config, name, [])
    elif isinstance(field, pexConfig.ChoiceField):
        for value in field.allowed:
            set_leaf(config, name, value)
    else:
        set_leaf(config, name, {bool: True, int: 5, float: 0.5, str: "X"}[field.dtype])
    assert refusals(config) == []


# LSST's own rules.


@pytest.mark.parametrize(
    ("saturated", "nan", "given", "expected"),
    [
        (True, True, ["SAT", "BAD"], ["SAT", "BAD", "UNMASKEDNAN"]),
        (True, True, ["BAD"], ["BAD", "SAT", "UNMASKEDNAN"]),
        (False, True, ["SAT", "BAD"], ["BAD", "UNMASKEDNAN"]),
        (True, False, ["SAT", "BAD"], ["SAT", "BAD"]),
        (False, False, ["BAD", "UNMASKEDNAN"], ["BAD", "UNMASKEDNAN"]),  # not symmetric: as in LSST
        (True, True, ["SAT", "BAD", "UNMASKEDNAN"], ["SAT", "BAD", "UNMASKEDNAN"]),
    ],
)
def test_planes_to_interpolate_follow_the_switches(saturated, nan, given, expected):
    config = IsrConfig()
    config.doSaturationInterpolation, config.doNanInterpolation = saturated, nan
    config.maskListToInterpolate = given
    config.validate()
    config.validate()
    assert list(config.maskListToInterpolate) == expected
    config.freeze()
    config.validate()


def test_the_name_of_the_saturated_plane_counts():
    config = IsrConfig()
    config.saturatedMaskName = "FULL"
    config.validate()
    assert list(config.maskListToInterpolate) == ["SAT", "BAD", "FULL", "UNMASKEDNAN"]


def test_offsets_that_are_applied_must_be_measured():
    config = IsrConfig()
    config.ampOffset.doApplyAmpOffset = True
    with pytest.raises(ConfigError, match=r"^ampOffset\.doApplyAmpOffset = True: needs doAmpOffset"):
        config.validate()


@pytest.mark.parametrize("fraction", [0.0, 1.5, -1.0, math.nan])
def test_the_window_is_a_fraction(fraction):
    with pytest.raises(pexConfig.FieldValidationError):
        IsrConfig().ampOffset.ampEdgeWindowFrac = fraction
