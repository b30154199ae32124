"""Bias subtraction."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from isr.mask import MaskPlanes
from isr.steps.bias import subtract_bias
from tests.builders import calib_image, exposure


def test_image_mask_and_variance():
    found, before = exposure(), exposure()
    random = np.random.default_rng(2)
    mask = random.integers(0, 4, found.shape).astype(np.int32)
    variance = random.uniform(0, 3, found.shape).astype(np.float32)
    found.mask[3] = before.mask[3] = 8
    bias = calib_image("bias", mask=mask, variance=variance)
    subtract_bias(found, bias)
    np.testing.assert_array_equal(found.image, before.image - bias.image)
    np.testing.assert_array_equal(found.mask, before.mask | mask)
    np.testing.assert_array_equal(found.variance, before.variance + variance)


def test_without_mask_and_variance():
    found, before = exposure(), exposure()
    subtract_bias(found, calib_image("bias"))
    assert not np.array_equal(found.image, before.image)
    np.testing.assert_array_equal(found.mask, before.mask)
    np.testing.assert_array_equal(found.variance, before.variance)


def test_the_planes_of_the_bias_are_translated():
    found = exposure()
    found.mask[0, 0] = found.planes.bitmask("SAT")
    mask = np.zeros(found.shape, np.int32)
    mask[0, :3] = 1 << 4, 1 << 20, (1 << 4) | (1 << 20)
    bias = calib_image("bias", mask=mask, planes=MaskPlanes({"BAD": 4, "SAT": 7, "GHOST": 20, "UNUSED": 21}))
    subtract_bias(found, bias)
    bad, sat, ghost = (found.planes.bitmask(name) for name in ("BAD", "SAT", "GHOST"))
    assert found.mask[0, :4].tolist() == [sat | bad, ghost, bad | ghost, 0]
    assert found.planes["GHOST"] == 11
    assert "UNUSED" not in found.planes


def test_the_bias_is_not_changed():
    mask, variance = np.ones((20, 24), np.int32), np.ones((20, 24), np.float32)
    bias = calib_image("bias", mask=mask, variance=variance, planes=MaskPlanes({"BAD": 3, "SAT": 0}))
    before = replace(bias, image=bias.image.copy(), mask=mask.copy(), variance=variance.copy())
    subtract_bias(exposure(), bias)
    for plane in ("image", "mask", "variance"):
        np.testing.assert_array_equal(getattr(bias, plane), getattr(before, plane))
    assert bias.planes == {"BAD": 3, "SAT": 0}
