"""The clock of the views."""

from __future__ import annotations

import pytest

from tests.pipeline.execution.progress_runs import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()
