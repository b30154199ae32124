"""Three golden cases that are always there: inputs, and digests of the reference's pixels.

Where ``../shared/golden`` exists, `tests.golden.test_golden` says more.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from isr.run import run_isr
from tests.data.make_golden_essentials import CASES, digests
from tests.golden.cases import config_of, inputs_of, load_case

DATA = Path(__file__).resolve().parents[1] / "data"


@pytest.mark.parametrize("name", CASES)
def test_pixels_have_the_digests_of_the_reference(name):
    case = load_case(DATA / f"golden_{name}.npz")
    expected = json.loads(str(case["out_digests"]))
    exposure = run_isr(*inputs_of(case), config_of(case)).exposure
    found = digests(exposure.image, exposure.variance, exposure.mask, exposure.planes)
    empty = digests(exposure.image, exposure.image, np.zeros_like(exposure.mask), {"X": 0})["mask X"]
    for plane in expected | found:  # a plane that only one side has must be empty
        assert found.get(plane, empty) == expected.get(plane, empty), plane


def test_digests_tell_changes_apart():
    """One bit, one ulp, one plane."""
    image, mask = np.ones((4, 5), np.float32), np.zeros((4, 5), np.int32)
    before = digests(image, image, mask, {"BAD": 0, "SAT": 1})
    other, flagged = image.copy(), mask.copy()
    other[1, 2], flagged[3, 4] = np.nextafter(np.float32(1), np.float32(2)), 2
    after = digests(other, image, flagged, {"BAD": 0, "SAT": 1})
    assert {key for key in before if before[key] != after[key]} == {"image", "mask SAT"}


def test_files_are_made_from_the_golden_cases(shared):
    """The committed inputs and digests are those of the golden data."""
    for name in CASES:
        full, kept = load_case(shared / "golden" / f"{name}.npz"), load_case(DATA / f"golden_{name}.npz")
        of_reference = digests(
            full["out_image"], full["out_variance"], full["out_mask"], json.loads(str(full["out_planes"]))
        )
        assert json.loads(str(kept.pop("out_digests"))) == of_reference
        assert kept.keys() == {key for key in full if not key.startswith("out_")}
        for key, value in kept.items():
            np.testing.assert_array_equal(value, full[key])
