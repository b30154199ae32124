"""The checks as lines on the screen, and as a file."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["CheckError", "Report", "call"]


class CheckError(Exception):
    """Something is not as it should be; the message says what was found and what was expected."""


@dataclass
class Report:
    """What was found.

    Attributes
    ----------
    checks : `list` [`dict`]
        Name, result and seconds of each check.
    figures : `dict`
        What was measured.
    """

    checks: list[dict[str, object]] = field(default_factory=list)
    figures: dict[str, object] = field(default_factory=dict)

    def run(self, name: str, check: Callable[[], str]) -> bool:
        """Run one check and print its line; tell whether all is well."""
        start = time.monotonic()
        try:
            passed, text = True, check()
        except CheckError as error:
            passed, text = False, str(error)
        except (OSError, subprocess.SubprocessError, LookupError, ValueError, RuntimeError) as error:
            passed, text = False, f"{type(error).__name__}: {error}"
        seconds = round(time.monotonic() - start, 1)
        self.checks.append({"name": name, "passed": passed, "text": text, "seconds": seconds})
        print(f"{'ok    ' if passed else 'FAILED'} {name} ({seconds} s): {text}", flush=True)
        return passed

    @property
    def passed(self) -> bool:
        """Whether every check has passed."""
        return bool(self.checks) and all(check["passed"] for check in self.checks)

    def write(self, path: Path) -> None:
        """Write the report as JSON."""
        content = {"passed": self.passed, "figures": self.figures, "checks": self.checks}
        path.write_text(json.dumps(content, indent=1) + "\n")


def call(
    command: Sequence[object],
    *,
    code: int | None = 0,
    timeout: float = 900,
    environment: dict[str, str] | None = None,
    log: Path | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a program and return what it said.

    Parameters
    ----------
    command : `~collections.abc.Sequence`
        Program and arguments.
    code : `int`, optional
        Exit code that is expected; `None` accepts any.
    timeout : `float`, optional
        Seconds after which it is killed.
    environment : `dict`, optional
        All variables of the program; those of this process if not given.
    log : `pathlib.Path`, optional
        File for what it says, for long programs.

    Raises
    ------
    CheckError
        If it ends with another exit code.
    """
    words = list(map(str, command))
    done = subprocess.run(  # noqa: S603 (our own commands)
        words, capture_output=True, text=True, timeout=timeout, env=environment, check=False
    )
    if log is not None:
        log.write_text(done.stdout + done.stderr)
    if code is not None and done.returncode != code:
        end = (done.stdout + done.stderr)[-3000:]
        raise CheckError(
            f"{' '.join(words)[:400]}: exit code {done.returncode}, expected {code}; it ended:\n{end}"
        )
    return done
