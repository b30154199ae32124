"""Errors of the middleware that a user can cause and mend."""

from __future__ import annotations

from isr.errors import IsrError

__all__ = ["CloudError", "RepositoryError"]


class RepositoryError(IsrError):
    """A Butler repository is not there, not what it should be, or refuses a change."""


class CloudError(IsrError):
    """AWS refuses a request, a cluster is not what it should be, or a limit would be passed."""
