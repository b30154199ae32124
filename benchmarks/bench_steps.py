"""What each step of the full HSC configuration costs, on a full-size detector.

The exposure that a step gets is the one that the steps before it have left.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import isr.run
from benchmarks.measure import cpu_seconds, race
from isr.hsc.config import hsc_config

STEPS = [
    name
    for name, value in vars(isr.run).items()
    if callable(value) and getattr(value, "__module__", "").startswith("isr.steps.") and name[0].islower()
]


@contextmanager
def timed_steps(seconds: dict[str, float]) -> Iterator[None]:
    """Add up the CPU seconds of each step that `isr.run.run_isr` calls."""

    def timed(name: str, step: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            start = cpu_seconds()
            try:
                return step(*args, **kwargs)
            finally:
                seconds[name] += cpu_seconds() - start

        return call

    with patch.multiple(isr.run, **{name: timed(name, getattr(isr.run, name)) for name in STEPS}):
        yield


def test_steps(benchmark, inputs):
    """All of them; ``extra_info["steps"]``: name -> seconds, one a round."""
    rounds: list[dict[str, float]] = []

    def reduce() -> object:
        rounds.append(defaultdict(float))
        with timed_steps(rounds[-1]):
            return isr.run.run_isr(inputs.raw, inputs.calibs, hsc_config())

    race(benchmark, {"hsc-isr": reduce}, rounds=7)
    names = [name for name in STEPS if any(seconds[name] for seconds in rounds)]
    benchmark.extra_info["steps"] = {name: [seconds[name] for seconds in rounds[1:]] for name in names}
