"""One number for a configuration."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from isr.config.isr import IsrConfig

__all__ = ["config_hash"]

_AS_THEY_ARE = {str, bool, int, type(None)}


def config_hash(config: IsrConfig) -> str:
    """Return a SHA-256 (hexadecimal) of all values of a configuration.

    Two configurations have the same hash exactly if all their fields are
    equal; the order in which they were set does not matter. Fields that a
    pipeline task adds (names of datasets, what becomes of its log) are left
    out: they say nothing of pixels, and file mode has none.
    """
    values = {name: value for name, value in config.toDict().items() if name in IsrConfig._fields}
    return hashlib.sha256(json.dumps(_plain(values), sort_keys=True).encode()).hexdigest()


def _plain(value: Any) -> Any:
    if type(value) in _AS_THEY_ARE:  # most of them
        return value
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value if isinstance(value, str | bool | int) else repr(value)
