"""Configuration: what is refused, what a hash means, files of overrides."""

from __future__ import annotations

import math
from collections.abc import Mapping

import lsst.pex.config as pexConfig
import pytest

from isr.config import OVERSCAN_FITS, IsrConfig, config_hash
from isr.errors import ConfigError
from tests.isr.config_tools import leaves, set_leaf


def another_value(field, value):
    match value:
        case None:
            return {str: "HSC-R", float: 1.5}[field.dtype]
        case bool():
            return not value
        case int():
            return (value + 2) | 1  # some must be odd
        case float():
            return 1.5 if math.isnan(value) else 0.5 * value + 0.0625
        case str():
            return next(v for v in getattr(field, "allowed", {"X": ""}) if v not in (value, None))
        case Mapping():
            return {**value, "HSC-Z": 1e11}
        case _:
            return [*value, {str: "CR", int: 7, float: 0.5}[field.itemtype]]


ALL = {name: (field, value) for name, field, value in leaves(IsrConfig())}


@pytest.mark.parametrize("fit", [fit for fit in OVERSCAN_FITS if fit.endswith("SPLINE")])
def test_a_spline_needs_knots(fit):
    config = IsrConfig()
    config.overscan.fitType = fit
    config.overscan.order = 0
    with pytest.raises(ConfigError, match=rf"overscan\.order = 0 with overscan\.fitType = '{fit}'"):
        config.validate()
    config.doOverscan = False
    config.validate()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("overscan.fitType", "AKIMA"),
        ("overscan.order", -1),
        ("overscan.numSigmaClip", 0.0),
        ("overscan.maxDeviation", -5.0),
        ("overscan.maxDeviation", math.nan),
        ("doFlat", "yes"),
        ("saturation", "high"),
    ],
)
def test_values_out_of_range_are_refused(field, value):
    with pytest.raises((pexConfig.FieldValidationError, TypeError)):
        set_leaf(IsrConfig(), field, value)


def test_unknown_fields_are_refused():
    with pytest.raises(AttributeError, match="doFlatt"):
        IsrConfig().doFlatt = True


@pytest.mark.parametrize("name", ALL)
def test_the_hash_depends_on_every_field(name):
    config = IsrConfig()
    before = config_hash(config)
    field, value = ALL[name]
    set_leaf(config, name, another_value(field, value))
    assert config_hash(config) != before
    set_leaf(config, name, value)
    assert config_hash(config) == before


def test_the_hash_does_not_depend_on_the_order_of_setting():
    settings = {"doFlat": False, "overscan.order": 7, "saturation": 4e4, "overscan.maskPlanes": ["SAT"]}
    one, other = IsrConfig(), IsrConfig()
    for name, value in settings.items():
        set_leaf(one, name, value)
    for name, value in reversed(settings.items()):
        set_leaf(other, name, value)
    assert config_hash(one) == config_hash(other) != config_hash(IsrConfig())
    assert len(config_hash(one)) == 64


def test_the_hash_tells_close_numbers_apart():
    one, other = IsrConfig(), IsrConfig()
    one.saturation, other.saturation = 40000.0, math.nextafter(40000.0, 50000.0)
    assert config_hash(one) != config_hash(other)
    one.saturation, other.saturation = 40000, 40000.0  # an integer is stored as a float
    assert config_hash(one) == config_hash(other)


def test_override_file(tmp_path):
    path = tmp_path / "overrides.py"
    path.write_text(
        "config.doDark = False\n"
        "config.overscan.fitType = 'AKIMA_SPLINE'\n"
        "config.overscan.order = 12\n"
        "config.saturation = float('nan')\n",
        encoding="utf-8",
    )
    config = IsrConfig()
    config.load(str(path))
    config.validate()
    assert (config.doDark, config.overscan.fitType, config.overscan.order) == (False, "AKIMA_SPLINE", 12)

    path.write_text("config.doDrak = False\n", encoding="utf-8")
    with pytest.raises(AttributeError, match="doDrak"):
        config.load(str(path))


def test_a_saved_configuration_is_read_back(tmp_path):
    config = IsrConfig()
    config.doBias, config.overscan.maskPlanes, config.saturation = False, ["SAT", "CR"], 12345.678
    config.save(str(tmp_path / "config.py"))
    again = IsrConfig()
    again.load(str(tmp_path / "config.py"))
    assert config_hash(again) == config_hash(config)
