"""Simulated exposures come back as they were put in."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits

from isr import hsc_config, load_calibs, read_raw, run_isr


@pytest.mark.parametrize(("detector", "raw"), [(22, "HSCA90333427.fits"), (100, "HSCA90333431.fits")])
def test_sky_noise_and_masks_are_recovered(night, detector, raw):
    with fits.open(night / "truth" / f"truth_903334_{detector}.fits") as hdus:
        image, sky = hdus["IMAGE"].data, hdus["SKY"].data
        bits, masks = hdus["MASK"].header, hdus["MASK"].data
    true = {name: (masks & 1 << bits[f"MP_{name}"]) != 0 for name in ("BAD", "SAT", "BLED")}

    frame = read_raw(night / "raw" / raw)
    assert frame.detector.id == detector
    config = hsc_config()
    exposure = run_isr(frame, load_calibs(night, frame, config), config).exposure

    for plane in ("SAT", "BAD"):
        found = (exposure.mask & exposure.planes.bitmask(plane)) != 0
        np.testing.assert_array_equal(found, true[plane], err_msg=plane)
    usable = (exposure.mask == 0) & ~true["BLED"]
    assert usable.mean() > 0.8
    residual = (exposure.image - image)[usable].astype(np.float64)
    assert abs(residual.mean()) <= 1e-4 * np.median(sky)
    chi2 = residual**2 / exposure.variance[usable]
    assert chi2.mean() == pytest.approx(1.0, abs=0.01)
