"""The file by which a node tells its host that the lease has changed."""

from __future__ import annotations

from pathlib import Path

__all__ = ["FOLDER", "write_lease"]

FOLDER = Path("/run/isr")
"""Shared with the host, which sets its timer by what is in ``lease-until``."""


def write_lease(lease_until: float, folder: Path | None = None) -> None:
    """Write until when the lease is, in seconds since 1970; as a whole, and only where a host reads it."""
    folder = folder or FOLDER
    if not folder.is_dir():
        return
    path, text = folder / "lease-until", f"{int(lease_until)}\n"
    if path.exists() and path.read_text() == text:
        return
    new = folder / "lease-until.new"
    new.write_text(text)
    new.replace(path)
