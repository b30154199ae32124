"""Limits of AWS that need more machines than a test can have."""

from __future__ import annotations

import pytest

pytest.importorskip("moto")


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([], ""),
        ([40] * 25, ""),
        ([600, 400], ""),
        ([600, 401], "1001 instances in one request"),
        ([0] * 26, "26 instant fleets in one request"),
    ],
)
def test_what_can_be_deleted_at_once(sizes: list[int], expected: str):
    from tests.ec2.moto_fixes import too_many

    assert too_many(sizes).startswith(expected)
    assert bool(too_many(sizes)) == bool(expected)
