"""Loggers as a fresh process has them, for tests of commands that run in the process of the tests."""

from __future__ import annotations

import logging
import sys

NAMES = ("isr", "pipeline", "lsst", "backoff", "")
HANDLERS = (logging.StreamHandler, logging.FileHandler)  # not their subclasses: those are of pytest


def forget_logging() -> None:
    """Undo what a command did to loggers: levels, handlers, warnings that became messages."""
    if upstream := sys.modules.get("lsst.daf.butler.cli.cliLog"):  # importing it takes time
        upstream.CliLog.resetLog()  # to the levels before the command: maybe of one more command
        upstream.CliLog.configState.clear()
    logging.captureWarnings(False)
    for name in NAMES:
        logging.getLogger(name).setLevel(logging.NOTSET if name else logging.WARNING)
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if type(handler) in HANDLERS]:
        root.removeHandler(handler)
        if isinstance(handler, logging.FileHandler):
            handler.close()
