"""Brighter-fatter: what surrounds the correction of the charge."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from isr.calibs import BrighterFatterKernel, CalibInfo
from isr.errors import ProcessingError
from isr.mask import MaskPlanes
from isr.steps.brighter_fatter import correct_brighter_fatter
from tests import naive, naive_later
from tests.builders import calib_image, exposure, only

BAD, SAT, EDGE = 1, 2, 16
KERNEL = -np.array([[1, 3, 1], [3, 7, 3], [1, 3, 1]]) * 4e-7
GAINS = {"L": 2.0, "R": 1.5}


def bright(bad=True):
    found = exposure()
    found.planes.add("UNMASKEDNAN")
    y, x = np.mgrid[:20, :24]
    found.image += (5000 * np.exp(-((y - 9) ** 2 + (x - 12) ** 2) / 10)).astype(np.float32)
    if bad:
        found.mask[9, 12:14] = BAD
        found.mask[4, 5:8] = SAT
        found.image[9, 12] = 1e6
    return found


def kernel(array=KERNEL, gains=None):
    return BrighterFatterKernel(CalibInfo("bfKernel", name="k.fits"), array, gains or {})


def correct(found, of, config=None, dark=None, flat=None):
    return correct_brighter_fatter(found, of, dark, flat, config or only())


def expected_image(before, gains, config, dark=None, flat=None, masks=0):
    """4.12 items 1 to 5, plainly."""
    scale = np.float32(30.5)
    work = before.image.copy()
    if dark is not None:
        work = work - scale * dark.image
    if flat is not None:
        work = work / flat.image
    mask = naive.grow(before.mask | masks, SAT, config.growSaturationFootprintSize) & (BAD | SAT)
    level, _ = naive.clipped(work.ravel())
    work = np.array([naive_later.interpolate_row(r, m != 0, level) for r, m in zip(work, mask, strict=True)])
    if flat is not None:
        work = work * flat.image
    if dark is not None:
        work = work + scale * dark.image
    gain = np.empty(before.shape, np.float32)
    for amp in before.detector.amplifiers:
        gain[amp.bbox.slices] = gains[amp.name]
    correction, last, _ = naive_later.coulton(
        work * gain, KERNEL, config.brighterFatterMaxIter, config.brighterFatterThreshold
    )
    return before.image + correction / gain, last


@pytest.mark.parametrize("cleaned", [False, True])
@pytest.mark.parametrize("gains", [None, GAINS])
def test_same_as_naive(cleaned, gains):
    found, before = bright(), bright()
    dark = calib_image("dark") if cleaned else None
    flat = calib_image("flat") if cleaned else None
    config = only()
    iteration = correct(found, kernel(gains=gains), config, dark, flat)
    image, last = expected_image(before, gains or {"L": 3.59, "R": 2.7}, config, dark, flat)
    assert iteration == last
    assert np.abs(image - before.image).max() > 20
    np.testing.assert_allclose(found.image, image, rtol=1e-5, atol=2e-3)
    np.testing.assert_array_equal(found.variance, before.variance)


def test_without_gains():
    found, before = bright(), bright()
    config = only(brighterFatterApplyGain=False)
    correct(found, kernel(gains=GAINS), config)
    image, _ = expected_image(before, {"L": 1.0, "R": 1.0}, config)
    np.testing.assert_allclose(found.image, image, rtol=1e-5, atol=2e-3)


def test_masks_of_dark_and_flat_count_but_are_not_given_to_the_exposure():
    found, before = bright(), bright()
    extra = np.zeros(found.shape, np.int32)
    extra[9, 9:11] = 1 << 12
    flat = replace(calib_image("flat"), mask=extra, planes=MaskPlanes({"BAD": 12}))
    config = only()
    correct(found, kernel(), config, None, flat)
    masks = np.where(extra, BAD, 0).astype(np.int32)
    image, _ = expected_image(before, {"L": 3.59, "R": 2.7}, config, None, flat, masks)
    other, _ = expected_image(before, {"L": 3.59, "R": 2.7}, config, None, flat)
    assert np.abs(image - other).max() > 1
    np.testing.assert_allclose(found.image, image, rtol=1e-5, atol=2e-3)
    assert not (found.mask[9, 9:11] & BAD).any()


@pytest.mark.parametrize("growth", [0, 1, 2])
def test_masks(growth):
    found, before = bright(), bright()
    correct(found, kernel(np.zeros((7, 7))), only(brighterFatterMaskGrowSize=growth))
    expected = naive.grow(before.mask, BAD | SAT, growth)
    edge = np.ones(found.shape, bool)
    edge[3:-3, 3:-3] = False
    np.testing.assert_array_equal(found.mask, expected | np.where(edge, EDGE, 0))


def test_planes_to_grow():
    found, before = bright(), bright()
    config = only(brighterFatterMaskGrowSize=1)
    config.brighterFatterMaskListToInterpolate = ["BAD", "NOT_THERE"]
    correct(found, kernel(), config)
    np.testing.assert_array_equal(found.mask & SAT, before.mask & SAT)
    np.testing.assert_array_equal(found.mask & BAD, naive.grow(before.mask, BAD, 1) & BAD)


def test_warning_if_it_does_not_converge(caplog):
    assert correct(bright(), kernel(), only(brighterFatterMaxIter=2)) == 1
    assert "not converged after 2 iterations" in caplog.text
    caplog.clear()
    assert correct(bright(), kernel(), only(brighterFatterThreshold=1e5)) < 9
    assert "not converged" not in caplog.text


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # from scalars of NumPy, without compilation
def test_divergence_is_an_error():
    with pytest.raises(ProcessingError, match=r"k\.fits: .* diverges"):
        correct(bright(), kernel(KERNEL * 1e9))


def test_flux_conserving_variant():
    found, before = bright(bad=False), bright(bad=False)
    one = {"L": 1.0, "R": 1.0}
    correct(found, kernel(gains=one), only(doFluxConservingBrighterFatterCorrection=True))
    into = naive_later.flows(before.image.astype(np.float64), KERNEL, 10)
    np.testing.assert_allclose(found.image, before.image + into, rtol=1e-5, atol=2e-3)
    difference = found.image.astype(np.float64) - before.image
    assert np.abs(difference).sum() > 100
    assert abs(difference.sum()) < 1e-4 * np.abs(difference).sum()
