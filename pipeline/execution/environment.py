"""What must be the same on all machines of a run: the versions of what makes the pixels."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping
from functools import cache
from importlib.metadata import distributions
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from distributed import Worker

__all__ = ["differences", "refusal", "unfitness", "versions"]

_PACKAGES = ("hsc-isr", "numba", "llvmlite", "numpy", "astropy", "distributed")
_OURS = ("isr", "pipeline")
_SHOWN = 3


@cache
def versions() -> dict[str, str]:
    """Return the versions of this process: Python, our code, and the packages that results depend on.

    Returns
    -------
    versions : `dict` [`str`, `str`]
        Name of a package: version. ``"code"`` is the SHA-256 (12 digits) of our
        modules: an editable installation changes without its version.
    """
    found = {"python": "{}.{}".format(*sys.version_info)}
    for distribution in distributions():
        name = (distribution.metadata["Name"] or "").lower()
        if name in _PACKAGES or name.startswith("lsst-"):
            found.setdefault(name, distribution.version)
    return {**dict(sorted(found.items())), "code": _digest()}


def _digest() -> str:
    """Return a hash of our modules."""
    digest = hashlib.sha256()
    for name in _OURS:
        spec = find_spec(name)
        assert spec is not None
        assert spec.submodule_search_locations is not None
        root = Path(spec.submodule_search_locations[0])
        for path in sorted(root.rglob("*.py")):
            digest.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def differences(here: Mapping[str, str], there: Mapping[str, str]) -> list[str]:
    """Say in what two environments differ.

    Parameters
    ----------
    here, there : `~collections.abc.Mapping` [`str`, `str`]
        What `versions` returns in the two processes.

    Returns
    -------
    differences : `list` [`str`]
        E.g. ``"numba is 0.62 there, 0.63 here"``; empty if they are the same.
    """
    return [
        f"{name} is {there.get(name, 'missing')} there, {here.get(name, 'missing')} here"
        for name in sorted(here.keys() | there.keys())
        if here.get(name) != there.get(name)
    ]


def unfitness(expected: Mapping[str, str], dask_worker: Worker | None = None) -> list[str]:
    """Say why this process, a Dask worker, cannot execute quanta of a run.

    Parameters
    ----------
    expected : `~collections.abc.Mapping` [`str`, `str`]
        The `versions` of the command.
    dask_worker : `distributed.Worker`
        The worker; Dask sets it.

    Returns
    -------
    reasons : `list` [`str`]
        Empty if it can.
    """
    assert dask_worker is not None
    reasons = differences(expected, versions())
    threads = dask_worker.state.nthreads
    if threads > 1:  # the log of a quantum is what the process logs meanwhile
        reasons.append(f"it has {threads} threads, which would mix the logs of quanta: --nthreads 1")
    return reasons


def refusal(reasons: Mapping[str, str]) -> str:
    """Return a message about workers that are not fit for a run."""
    shown = "; ".join(f"{worker}: {reason}" for worker, reason in list(reasons.items())[:_SHOWN])
    return (
        f"No worker is fit for this command: {shown}. Other versions could change pixels. "
        "Install the same versions everywhere (one image, or one environment), and start workers with "
        "one thread (--nthreads 1)."
    )
