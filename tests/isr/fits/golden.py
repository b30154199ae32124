"""The sample files that real afw and ip_isr wrote or read, as far as they are beside the checkout."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).resolve().parents[4] / "shared" / "golden_fits"
NO_EXPOSURES = ("afw_camera", "afw_mask.", "ipisr_")
"""Beginnings of the names of files that are no exposures."""


def names() -> list[str]:
    """All FITS files; ``["none"]`` if there are none: the test that gets this name skips itself."""
    return sorted(path.name for path in FOLDER.glob("*.fits")) or ["none"]


def exposure_names() -> list[str]:
    """Files that are exposures, masked images or images."""
    return [name for name in names() if not name.startswith(NO_EXPOSURES)]
