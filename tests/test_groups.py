"""Tests that share servers stay in one process of pytest-xdist."""

from __future__ import annotations

import os

import pytest


@pytest.mark.xdist_group("groups")
def test_groups_are_kept_together(request: pytest.FixtureRequest) -> None:
    """pytest-xdist 3.8 marks them in the test's id; pytest 9.2 drops the mark, and all are torn apart."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        pytest.skip("needs several processes: pytest -n 2 --dist loadgroup, as in make test")
    assert request.node.nodeid.endswith("@groups")
