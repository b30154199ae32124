"""LSST's ``bps`` on a repository of the test's own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from lsst.ctrl.bps import WmsRunReport, WmsStates

from pipeline.bps import DaskService
from pipeline.bps.driver import find_driver, stop_driver
from tests.pipeline.butler_mode_repository import commands, filled_repository

__all__ = ["commands", "filled_repository"]  # fixtures of others

ROOT = Path(__file__).parents[3]
PATIENCE = 300  # seconds, on a machine that is busy
PIPELINE = """
description: Two tasks that take no time
instrument: pipeline.instrument.HyperSuprimeCam
tasks:
  count: {class: tests.pipeline.count_task.CountTask}
  double: {class: tests.pipeline.bps.double_task.DoubleTask}
"""


class Bps:
    """Runs ``bps`` as a user does.

    Attributes
    ----------
    repository : `~pathlib.Path`
        The repository.
    orders : `~pathlib.Path`
        Folder with orders for the quanta, see `tests.pipeline.count_task`.
    folder : `~pathlib.Path`
        Working directory.
    service : `pipeline.bps.DaskService`
        What ``bps`` asks: without starting a command, which takes seconds.
    """

    def __init__(self, repository: Path, orders: Path, folder: Path) -> None:
        self.repository, self.orders, self.folder = repository, orders, folder
        self.service = DaskService({})
        self.out = self.err = ""

    def __call__(self, *arguments: object) -> int:
        """Run a command; return its exit code."""
        command = ["bps", *map(str, arguments)]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        self.out, self.err = result.stdout, result.stderr
        assert "Traceback" not in self.err, self.err
        return result.returncode

    def rows(self) -> dict[str, list[str]]:
        """Return the lines of the last output, by their first word."""
        lines = [line.split() for line in self.out.splitlines() if line.strip()]
        return {words[0]: words[1:] for words in lines}

    def options(self, **changes: str) -> list[str]:
        """Return arguments of ``bps submit``: the documented configuration, with two quanta for each task."""
        text = (ROOT / "docs" / "bps.yaml").read_text()
        (self.folder / "pipeline.yaml").write_text(PIPELINE)
        lines = [line for line in text.splitlines() if line.partition(":")[0] not in changes]
        lines += [f"{name}: {value}" for name, value in changes.items() if value]
        (self.folder / "bps.yaml").write_text("\n".join(lines) + "\n")
        return [
            *("bps.yaml", "-b", str(self.repository), "-p", "pipeline.yaml", "-d", "exposure < 903338"),
            *("-o", "u/me/count", "--extra-run-quantum-options", "--no-versions"),
        ]

    def report(self) -> WmsRunReport:
        """Return what ``bps report`` shows of the first submission."""
        ((report,), _) = self.service.report("1")
        return report

    def counts(self, label: str) -> dict[str, int]:
        """Return numbers of quanta by state, those that are not zero."""
        summary = self.report().job_summary
        assert summary is not None
        return {state.name: count for state, count in summary[label].items() if count}

    def wait(self, condition: Callable[[], Any]) -> None:
        """Wait until something is true."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, self.logs()
            time.sleep(0.1)

    def wait_for_end(self) -> str:
        """Wait until the driver has ended; return the state."""
        self.wait(lambda: self.report().state is not WmsStates.RUNNING)
        state = self.report().state
        assert state is not None
        return state.name

    def logs(self) -> str:
        """Return the logs of all drivers."""
        return "\n".join(path.read_text() for path in self.folder.rglob("driver.log"))

    def submit_folder(self) -> Path:
        """Return the submit folder; there must be one."""
        (path,) = self.folder.rglob("dask_submission.json")
        return path.parent


@pytest.fixture
def bps(commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bps]:
    """Commands; drivers that are still at work in the end are ended."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PWD", str(folder))  # bps asks for it
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("BPS_WMS_SERVICE_CLASS", "pipeline.bps.DaskService")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    yield Bps(commands.root, commands.orders, folder)
    end_drivers(folder)


def end_drivers(folder: Path) -> None:
    """End the drivers of all submit folders in a folder."""
    for path in folder.rglob("dask_driver.json"):
        driver = find_driver(path.parent)
        if driver and driver.is_alive():
            stop_driver(path.parent, driver, patience=0)
