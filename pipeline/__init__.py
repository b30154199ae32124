"""The middleware and the machines around the ISR engine.

.. code-block:: python

    from pipeline import Butler

    butler = Butler("repo", collections="u/me/isr", instrument="HSC")
    butler.get("postISRCCD", exposure=903334, detector=22).show()

``Butler`` is Rubin's own ``lsst.daf.butler.Butler``, in a process that knows what
LSST's storage classes are without the stack (`pipeline.overlay.activate`); it also
takes ``visit=`` for an exposure (`pipeline.butler.Butler`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.butler import Butler

__all__ = ["Butler"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from pipeline.butler import Butler

    return Butler
