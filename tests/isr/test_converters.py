"""Exposures as CCDData and as lsst.images.MaskedImage."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from isr.converters import to_ccddata, to_masked_image
from isr.exposure import Exposure
from isr.mask import MaskPlanes
from tests.builders import four_amplifiers


@pytest.fixture
def exposure():
    detector = four_amplifiers()
    shape = detector.shape
    rng = np.random.default_rng(1)
    planes = MaskPlanes()
    planes.add("CROSSTALK")
    mask = np.zeros(shape, np.int32)
    mask[2, 3] = planes.bitmask("SAT")
    mask[4, 5] = planes.bitmask("CROSSTALK", "SUSPECT")
    return Exposure(
        image=rng.normal(1000.0, 10.0, shape).astype(np.float32),
        mask=mask,
        variance=np.full(shape, 300.0, np.float32),
        detector=detector,
        planes=planes,
        metadata={"LSST ISR UNITS": "adu", "SKYLEVEL": 1000.25},
        wcs={
            "CTYPE1": "RA---TAN",
            "CTYPE2": "DEC--TAN",
            "CRPIX1": 10.0,
            "CRPIX2": 20.0,
            "CRVAL1": 320.7,
            "CRVAL2": 0.5,
            "CD1_1": 4.7e-5,
            "CD1_2": 0.0,
            "CD2_1": 0.0,
            "CD2_2": 4.7e-5,
        },
    )


def test_ccddata_has_pixels_variance_mask_flags_wcs_and_metadata(exposure):
    ccd = to_ccddata(exposure)
    assert np.shares_memory(ccd.data, exposure.image)
    assert (str(ccd.unit), str(ccd.uncertainty.unit)) == ("adu", "adu2")
    np.testing.assert_array_equal(ccd.uncertainty.array, exposure.variance)
    assert np.argwhere(ccd.mask).tolist() == [[2, 3]]
    assert ccd.flags[4, 5] == exposure.planes.bitmask("CROSSTALK", "SUSPECT")
    assert ccd.wcs.wcs.crval.tolist() == [320.7, 0.5]
    assert (ccd.meta["SKYLEVEL"], ccd.meta["MASK PLANES"]["SAT"]) == (1000.25, 1)


def test_bad_planes_can_be_chosen(exposure):
    assert np.argwhere(to_ccddata(exposure, ("SUSPECT", "NOT_THERE")).mask).tolist() == [[4, 5]]


def test_masked_image_has_the_same_pixels_and_planes(exposure):
    pytest.importorskip("lsst.images", reason="needs the extra 'images'")
    converted = to_masked_image(exposure)
    np.testing.assert_array_equal(converted.image.array, exposure.image)
    np.testing.assert_array_equal(converted.variance.array, exposure.variance)
    assert np.argwhere(converted.mask.get("SATURATED")).tolist() == [[2, 3]]
    assert np.argwhere(converted.mask.get("CROSSTALK")).tolist() == [[4, 5]]
    assert str(converted.unit) == "adu"


def test_without_lsst_images_the_error_says_what_to_install(exposure, monkeypatch):
    monkeypatch.setitem(sys.modules, "lsst.images", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'hsc-isr\[images\]'"):
        to_masked_image(exposure)
