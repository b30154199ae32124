"""What must be the same on all machines of a run: the versions of what makes the pixels."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping
from functools import cache
from importlib.metadata import distributions
from importlib.util import find_spec
from pathlib import Path

__all__ = ["differences", "refusal", "versions"]

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


def refusal(reasons: Mapping[str, str]) -> str:
    """Return a message about workers that are not fit for a run."""
    shown = "; ".join(f"{worker}: {reason}" for worker, reason in list(reasons.items())[:_SHOWN])
    return (
        f"The workers run other versions than this command, which could change pixels: {shown}. "
        "Install the same versions everywhere (one image, or one environment)."
    )
