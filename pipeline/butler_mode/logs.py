"""Log records of Butler mode: levels and files as in ``pipetask``, our lines on the terminal."""

from __future__ import annotations

import copy
import logging
import sys
from collections.abc import Mapping, Sequence

from lsst.daf.butler.cli.cliLog import CliLog

from pipeline.butler_mode.problems import explain
from pipeline.logs import LineFormatter

__all__ = ["set_up_logging"]


def _shows_tracebacks() -> bool:
    """Tell whether tracebacks of errors that a user can mend are wanted: at level DEBUG."""
    return logging.getLogger("pipeline").isEnabledFor(logging.DEBUG)


class _QuietFormatter(LineFormatter):
    """Leaves out what only developers need, such as tracebacks of errors that a user can mend."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the text of a record for the terminal."""
        text = super().format(record)
        if _shows_tracebacks():
            return text
        error = record.exc_info[1] if record.exc_info else None
        if error is not None and explain(error):
            record = copy.copy(record)  # files get the whole
            record.exc_info = None
            text = super().format(record)
        # Advice of the graph builder for debugging Butler's queries.
        return text.partition("\nTo reproduce this query for debugging purposes")[0]


def set_up_logging(
    levels: Mapping[str | None, str],
    *,
    long: bool = False,
    files: Sequence[str] = (),
    labels: Mapping[str, str] | None = None,
    terminal: bool = True,
) -> None:
    """Send log records to stderr and to files, here and in the processes of ``-j``.

    Parameters
    ----------
    levels : `~collections.abc.Mapping` [`str` or `None`, `str`]
        Levels of loggers; `None` stands for LSST's and ours.
    long : `bool`, optional
        Include the names of the loggers.
    files : `~collections.abc.Sequence` [`str`], optional
        Files to append to; JSON records if the name ends in ``.json``.
    labels : `~collections.abc.Mapping` [`str`, `str`], optional
        Put into JSON records.
    terminal : `bool`, optional
        Whether to write to stderr.
    """
    CliLog.initLog(long, log_tty=False, log_file=tuple(files), log_label=dict(labels or {}))
    if terminal:
        _log_to_terminal(long)
        CliLog.configState.append((_log_to_terminal, long))  # processes of -j repeat these calls
    CliLog.setLogLevels(list(levels.items()))


def _log_to_terminal(long: bool) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_QuietFormatter(long))
    logging.getLogger().addHandler(handler)
