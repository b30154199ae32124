"""Simulated exposures come back as they were put in."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits

from isr import load_calibs, read_raw, run_isr
from pipeline.cli.config_options import build_config

DETECTORS = [(22, "HSCA90333427.fits"), (100, "HSCA90333431.fits")]
BASIC = (
    "doLinearize=False",
    "doNanMasking=False",
    "doNanInterpolation=False",
    "doWidenSaturationTrails=False",
    "doCrosstalk=False",
    "doBrighterFatter=False",
    "doStrayLight=False",
    "doFringe=False",
    "doVignette=False",
    "doSetBadRegions=False",
    "doInterpolate=False",
    "doAmpOffset=False",
    "ampOffset.doApplyAmpOffset=False",
)
"""Everything off that comes on top of saturation, overscan, bias, variance, defects, dark, flat."""


def reduce(night, detector, raw, *overrides):
    """The exposure, and the planes of the truth."""
    with fits.open(night / "truth" / f"truth_903334_{detector}.fits") as hdus:
        bits, masks = hdus["MASK"].header, hdus["MASK"].data
        true = {"IMAGE": hdus["IMAGE"].data, "SKY": hdus["SKY"].data}
    true |= {name: (masks & 1 << bits[f"MP_{name}"]) != 0 for name in ("BAD", "SAT", "BLED")}
    frame = read_raw(night / "raw" / raw)
    assert frame.detector.id == detector
    config = build_config(values=overrides)
    return run_isr(frame, load_calibs(night, frame, config), config).exposure, true


def plane(exposure, name):
    return (exposure.mask & exposure.planes.bitmask(name)) != 0


@pytest.mark.parametrize(("detector", "raw"), DETECTORS)
def test_basic_effects_and_basic_steps(night, detector, raw):
    exposure, true = reduce(night, detector, raw, *BASIC)
    for name in ("SAT", "BAD"):
        np.testing.assert_array_equal(plane(exposure, name), true[name], err_msg=name)
    usable = (exposure.mask == 0) & ~true["BLED"]
    assert usable.mean() > 0.8
    residual = (exposure.image - true["IMAGE"])[usable].astype(np.float64)
    assert abs(residual.mean()) <= 1e-4 * np.median(true["SKY"])
    chi2 = residual**2 / exposure.variance[usable]
    assert chi2.mean() == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize(("detector", "raw"), DETECTORS)
def test_all_effects_and_all_steps(full_night, detector, raw):
    """Linearity, crosstalk, brighter-fatter and amplifier offsets, in and out again: HSC's configuration."""
    exposure, true = reduce(full_night, detector, raw)
    assert (plane(exposure, "SAT") >= true["SAT"]).all()  # grown
    assert (plane(exposure, "BAD") >= true["BAD"]).all()
    for name in ("image", "variance"):
        assert np.isfinite(getattr(exposure, name)).all(), name
    interpolated = plane(exposure, "INTRP")
    assert (interpolated >= true["SAT"] | true["BAD"]).all()
    planes = exposure.planes
    spoiled = planes.bitmask("SAT", "BAD", "INTRP", "SUSPECT", "UNMASKEDNAN", "EDGE")
    usable = ((exposure.mask & spoiled) == 0) & ~true["BLED"]
    assert usable.mean() > 0.95
    sky = np.median(true["SKY"])  # 417 ADU
    residual = exposure.image - true["IMAGE"]
    assert abs(np.mean(residual[usable], dtype=np.float64)) <= 2e-4 * sky
    for amp in exposure.detector.amplifiers:  # the background model of the offsets leaves a seventh of a step
        inside = amp.bbox.slices
        assert abs(np.mean(residual[inside][usable[inside]], dtype=np.float64)) <= 2e-3 * sky, amp.name
    chi2 = residual[usable].astype(np.float64) ** 2 / exposure.variance[usable]
    assert chi2.mean() == pytest.approx(1.0, abs=0.01)
