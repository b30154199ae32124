"""Errors of the middleware that a user can cause and mend."""

from __future__ import annotations

from isr.errors import IsrError

__all__ = ["RepositoryError"]


class RepositoryError(IsrError):
    """A Butler repository is not there, not what it should be, or refuses a change."""
