"""Imports what quanta need, for the process from which the workers of this machine are forked."""

from __future__ import annotations

from pipeline.overlay import activate

activate()  # before LSST's packages define their storage classes

import isr.fits.exposure  # noqa: E402
import isr.fits.raw  # noqa: E402
import isr.run  # noqa: E402, F401
import pipeline.execution.worker  # noqa: E402
import pipeline.formatters  # noqa: E402
import pipeline.task  # noqa: E402, F401
