"""How our commands end: exit codes, and errors without a traceback."""

from __future__ import annotations

import logging
import signal
import sys

import click

from isr.errors import IsrError

__all__ = ["run_command"]

INTERRUPTED = "Interrupted; nothing is left half-written."


def run_command(
    command: click.Command, args: list[str] | None = None, interrupted: str = INTERRUPTED
) -> None:
    """Run a click command and leave the process with its exit code.

    0 done, 1 an error with a message or a failure that was reported, 2 wrong
    usage, 130 interrupted, 128 + n ended by SIGTERM or SIGHUP (after clearing up,
    as when interrupted). An `IsrError` is a user's mistake: one line, no
    traceback, unless ``--log-level DEBUG`` is given.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)
    try:
        code = command.main(args, standalone_mode=False)
    except click.exceptions.Abort:
        click.echo(interrupted, err=True)
        sys.exit(130)
    except KeyboardInterrupt:
        click.echo(interrupted, err=True)
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except IsrError as error:
        if logging.getLogger("pipeline").isEnabledFor(logging.DEBUG):
            logging.getLogger("pipeline").exception("%s", error)
        click.echo(f"Error: {error}", err=True)
        sys.exit(1)
    sys.exit(code or 0)


def _end(number: int, _: object) -> None:
    """Unwind, so that temporary files are removed; batch systems send SIGTERM."""
    sys.exit(128 + number)
