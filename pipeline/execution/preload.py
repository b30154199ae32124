"""Imports what quanta need, for the process from which the workers of this machine are forked."""

from __future__ import annotations

import signal

# Ctrl-C reaches the workers, too: the command lets their quanta end, and then ends them.
signal.signal(signal.SIGINT, signal.SIG_IGN)

from pipeline.overlay import activate  # noqa: E402

activate()  # before LSST's packages define their storage classes

import isr.fits.exposure  # noqa: E402
import isr.fits.raw  # noqa: E402
import isr.run  # noqa: E402, F401
import pipeline.execution.worker  # noqa: E402
import pipeline.formatters  # noqa: E402
import pipeline.task  # noqa: E402, F401
