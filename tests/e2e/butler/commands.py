"""Commands as a user types them, and the repositories that they work on."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.s3server import forget_clients

BIN = Path(sys.executable).parent
TIMEOUT = 300  # seconds; a command needs about 5, or 15 where two work at once
FOREIGN = ("AWS_", "S3_", "LSST_", "DAF_BUTLER_", "BPS_", "PG")
"""Beginnings of variables that could lead a command to another place."""

VISIT = 903334
DETECTORS = {22: "0_27", 100: "0_31"}
"""Detectors that are simulated, with their names; one is turned by 180 degrees, one by 90."""

RAWS = {22: "HSCA90333427.fits", 100: "HSCA90333431.fits"}
INPUTS = "HSC/defaults"
TASK = "pipeline.task.IsrTask:isr"
QUICK = {"doBrighterFatter": False, "doInterpolate": False, "overscan.fitType": "MEAN"}
"""Configuration with which a detector takes less time."""

QUICK_TASK = ("-t", TASK, *(word for name, value in QUICK.items() for word in ("-c", f"isr:{name}={value}")))
PER_DETECTOR = ("postISRCCD", "isr_metadata", "isr_log")
PER_RUN = ("isr_config", "packages")
UPSTREAM_LOSES = r"already exists|does not include the same sequence|ConflictingDefinitionError"
"""What the slower of two ``pipetask run`` says, according to how far behind it is."""


@dataclass(frozen=True)
class Result:
    """What a command said."""

    code: int
    out: str
    err: str
    seconds: float

    @property
    def said(self) -> str:
        """Everything that it said, on one line."""
        return " ".join(f"{self.out} {self.err}".split())

    @property
    def errors(self) -> str:
        """What stands in stderr, on one line."""
        return " ".join(self.err.split())


@dataclass
class Commands:
    """Runs commands of this Python's environment in a folder of their own.

    No secret may appear in what any command says: this is checked each time.
    One that takes longer than ``timeout`` seconds is killed, and fails.
    """

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    timeout: float = TIMEOUT

    def with_environment(self, **variables: str) -> Commands:
        """Return the same with other variables."""
        return Commands(self.folder, self.environment | variables, self.secrets, self.timeout)

    def all_variables(self) -> dict[str, str]:
        """Return the environment of the commands."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
        home = {"HOME": str(self.folder), "USER": "me", "COLUMNS": "200"}
        path = {"PATH": os.pathsep.join([str(BIN), os.environ.get("PATH", "")])}
        return kept | home | path | self.environment

    def start(self, *command: object, **options: Any) -> subprocess.Popen[str]:
        """Start a command and do not wait for it."""
        return subprocess.Popen(
            [str(BIN / str(command[0])), *map(str, command[1:])],
            **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options,
            env=self.all_variables(),
            cwd=self.folder,
            text=True,
        )

    def finish(self, process: subprocess.Popen[str], code: int | None = 0) -> Result:
        """Wait for a command and check its exit code; `None` accepts any."""
        start = time.monotonic()
        try:
            out, err = process.communicate(timeout=self.timeout)
        except BaseException:
            process.kill()
            process.communicate()
            raise
        result = Result(process.returncode, out or "", err or "", time.monotonic() - start)
        for secret in self.secrets:
            assert secret not in result.out + result.err, f"a secret in what {process.args} said"
        if code is not None and result.code != code:
            pytest.fail(
                f"{process.args}\nexit code {result.code}, expected {code}\n{result.out}\n{result.err}"
            )
        return result

    def __call__(self, *command: object, code: int | None = 0, **options: Any) -> Result:
        """Run a command to its end."""
        return self.finish(self.start(*command, **options), code)


@dataclass
class Repository:
    """A Butler repository for HSC, and how to reach it."""

    kind: str
    uri: str
    run: Commands
    data: Path
    built: dict[str, Result] = field(default_factory=dict)

    @contextmanager
    def environment(self) -> Iterator[None]:
        """Let this process reach the repository, too."""
        with pytest.MonkeyPatch.context() as patch:
            for name in os.environ:
                if name.startswith(FOREIGN) and name != "DAF_BUTLER_CONFIG_PATH":
                    patch.delenv(name)
            for name, value in self.run.environment.items():
                patch.setenv(name, value)
            forget_clients()
            yield

    @contextmanager
    def butler(self, collections: object = None, *, writeable: bool = False) -> Iterator[Any]:
        """Open the repository in this process."""
        with self.environment():
            from pipeline import Butler

            with Butler.from_config(
                self.uri, collections=collections, instrument="HSC", writeable=writeable
            ) as butler:
                yield butler

    def has_collection(self, name: str) -> bool:
        """Tell whether there is a collection of that name."""
        with self.butler() as butler:
            return name in butler.collections.query("*", include_chains=True)

    def detectors(self, dataset_type: str, collection: str) -> list[int]:
        """Return the detectors of which a collection has a dataset."""
        with self.butler() as butler:
            refs = butler.query_datasets(dataset_type, collection, explain=False)
            return sorted(ref.dataId["detector"] for ref in refs)

    def isr_run(self, *options: object, code: int | None = 0) -> Result:
        """Run ``isr-run -b``."""
        return self.run("isr-run", "-b", self.uri, *options, code=code)

    def pipetask(self, command: str, *options: object, code: int | None = 0) -> Result:
        """Run a command of ``pipetask`` that takes ``-b``."""
        return self.run("pipetask", command, "-b", self.uri, *options, code=code)
