"""HSC's configuration (spec section 3); all values are in tests/isr/test_config_defaults.py."""

from __future__ import annotations

import math

from isr.config import IsrConfig, config_hash
from isr.hsc.config import hsc_config


def test_values_of_hsc():
    config = hsc_config()
    config.validate()
    assert config.doSaturation
    assert config.doSuspect
    assert math.isnan(config.saturation)
    overscan = config.overscan
    assert (overscan.fitType, overscan.order, overscan.numSigmaClip) == ("AKIMA_SPLINE", 30, 3.0)
    assert list(overscan.maskPlanes) == ["BAD", "SAT"]
    assert overscan.maxDeviation == 1000.0
    for step in (
        "doOverscan",
        "doBias",
        "doVariance",
        "doDefect",
        "doDark",
        "doFlat",
        "maskNegativeVariance",
    ):
        assert getattr(config, step), step
    assert config.negativeVarianceMaskName == "BAD"


def test_each_call_gives_a_configuration_of_its_own():
    config = hsc_config()
    config.doFlat = False
    assert hsc_config().doFlat
    assert config_hash(hsc_config()) == config_hash(hsc_config()) != config_hash(IsrConfig())
