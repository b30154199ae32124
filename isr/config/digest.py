"""One number for a configuration."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import lsst.pex.config as pexConfig

__all__ = ["config_hash"]


def config_hash(config: pexConfig.Config) -> str:
    """Return a SHA-256 (hexadecimal) of all values of a configuration.

    Two configurations have the same hash exactly if all their fields are
    equal; the order in which they were set does not matter.
    """
    return hashlib.sha256(json.dumps(_plain(config.toDict()), sort_keys=True).encode()).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value if isinstance(value, str | bool | int | type(None)) else repr(value)
