"""Rubin's Butler and PipelineTasks in a process without the LSST stack.

Repositories keep LSST's names: storage classes such as ``ExposureF``, formatters
such as ``FitsExposureFormatter``, the instrument ``lsst.obs.subaru.HyperSuprimeCam``.
Where the stack is not installed `activate` gives these names a meaning in this
process: storage classes become our Python types (through a directory in
``DAF_BUTLER_CONFIG_PATH``), names of classes of obs_base and obs_subaru our
classes. Nothing of this is written into a repository.
"""

from __future__ import annotations

import logging
import os
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from pipeline.overlay.standins import StandInFinder

__all__ = ["CONFIG_DIRECTORY", "activate", "has_stack"]

CONFIG_DIRECTORY = Path(__file__).parent / "butler_config"
"""Overrides of daf_butler's default configuration."""

_CONFIG_PATH = "DAF_BUTLER_CONFIG_PATH"
_OUR_LOGGERS = ("isr", "pipeline")


def has_stack() -> bool:
    """Tell whether the LSST stack (afw) is installed."""
    try:
        return find_spec("lsst.afw.image") is not None
    except ModuleNotFoundError:
        return False


@cache
def activate() -> bool:
    """Make the names in LSST's repositories resolve to our types in this process.

    The work is done at the first call; where the stack is installed nothing
    is changed but that our log messages go where LSST's go.

    Returns
    -------
    is_active : `bool`
        False if the LSST stack is installed.
    """
    _join_loggers()
    if has_stack():
        return False
    sys.meta_path.append(StandInFinder())  # last: what is really installed comes first
    others = [path for path in os.environ.get(_CONFIG_PATH, "").split(os.pathsep) if path]
    if str(CONFIG_DIRECTORY) not in others:
        # The path is searched from the front: what a user has set there beats ours.
        os.environ[_CONFIG_PATH] = os.pathsep.join((*others, str(CONFIG_DIRECTORY)))
    _reload_storage_classes()
    logging.getLogger("lsst.daf.butler._storage_class").addFilter(_is_worth_saying)
    return True


def _join_loggers() -> None:
    """Let our messages follow the levels of the ``lsst`` logger.

    LSST's commands show and store only messages below that logger, at the
    level that ``--log-level`` asks for.
    """
    for name in _OUR_LOGGERS:
        logging.getLogger(name).parent = logging.getLogger("lsst")


def _is_worth_saying(record: logging.LogRecord) -> bool:
    """Refuse warnings that types of afw cannot be converted: there are none to convert."""
    return "Unable to import type lsst.afw." not in record.getMessage()


def _reload_storage_classes() -> None:
    """Redefine the storage classes if daf_butler has defined them before it could know of ours."""
    module = sys.modules.get("lsst.daf.butler")
    if module is None:
        return
    factory = module.StorageClassFactory
    if factory in type(factory)._instances:  # made already
        factory().reset()
