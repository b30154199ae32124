"""Hypothesis: the same examples in every run, no time limits (numba compiles in the first one)."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("project", deadline=None, derandomize=True, database=None, max_examples=60)
settings.load_profile("project")
