"""Helpers for tests of the configuration."""

from __future__ import annotations

import lsst.pex.config as pexConfig


def leaves(config, prefix=""):
    """Dotted name, field and value of all fields that hold a value."""
    for name, field in config._fields.items():
        value = getattr(config, name)
        if isinstance(field, pexConfig.ConfigField):
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", field, value


def set_leaf(config, dotted, value):
    """Set a field by its dotted name."""
    *parents, name = dotted.split(".")
    for parent in parents:
        config = getattr(config, parent)
    setattr(config, name, value)
