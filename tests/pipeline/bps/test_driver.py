"""Processes that outlive the command that started them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import click
import psutil
import pytest

from pipeline.bps.driver import Driver, find_driver, last_error, start_driver, stop_driver
from pipeline.bps.submission import Submission
from tests.pipeline.bps.upstream import end_drivers

ENDS = "print('Error: no luck'); print('bye')"
GENTLE = (
    "import signal, sys; signal.signal(15, lambda *_: sys.exit()); print('up', flush=True); signal.pause()"
)
STUBBORN = (
    "import signal; signal.signal(15, signal.SIG_IGN); print('up', flush=True)\nwhile 1: signal.pause()"
)


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Return a function that starts Python code as a driver, and waits until it says something."""
    monkeypatch.setattr("pipeline.bps.driver._isr_run", lambda: sys.executable)

    def run(code: str) -> Driver:
        begin = len(log(tmp_path))
        driver = start_driver(tmp_path, Submission("u_me", {}, {}, ["-c", code], str(tmp_path)))
        while len(log(tmp_path)) == begin:
            time.sleep(0.01)
        return driver

    yield run
    end_drivers(tmp_path)


def log(path: Path) -> str:
    file = path / "driver.log"
    return file.read_text() if file.exists() else ""


def wait(driver: Driver) -> None:
    while driver.is_alive():
        time.sleep(0.01)


def test_start_and_stop(start, tmp_path):
    driver = start(GENTLE)
    assert driver.is_alive()
    assert find_driver(tmp_path) == driver
    assert os.getsid(driver.pid) == driver.pid != os.getsid(0)
    with pytest.raises(click.ClickException, match=f"is at work, process {driver.pid} on "):
        start(GENTLE)
    assert stop_driver(tmp_path, driver, patience=60)
    assert not driver.is_alive()
    assert find_driver(tmp_path) == replace(driver, is_canceled=True)
    again = start(GENTLE)
    assert (again.is_canceled, again.log_begin) == (False, len("up\n"))


def test_a_driver_that_does_not_end_is_killed_with_its_children(start, tmp_path):
    driver = start(f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'input()'])\n{STUBBORN}")
    (child,) = psutil.Process(driver.pid).children()
    assert not stop_driver(tmp_path, driver, patience=0.1)
    assert not driver.is_alive()
    assert psutil.wait_procs([child], timeout=60)[1] == []


def test_the_number_of_another_process(tmp_path):
    """It is neither taken for the driver nor ended."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        started = psutil.Process(process.pid).create_time()
        here = Driver(os.uname().nodename, process.pid, started, log_begin=0)
        assert here.is_alive()
        assert not replace(here, started=started - 3600).is_alive()
        assert replace(here, host="elsewhere").is_alive() is None
        process.communicate(b"\n")
    assert not here.is_alive()
    assert find_driver(tmp_path) is None


def test_last_words(start, tmp_path):
    first = start(ENDS)
    wait(first)
    assert last_error(tmp_path, first) == "Error: no luck"
    second = start("print('fine')")
    wait(second)
    assert last_error(tmp_path, second) == "fine"
    assert log(tmp_path) == "Error: no luck\nbye\nfine\n"
    (tmp_path / "driver.log").unlink()
    assert last_error(tmp_path, second) == ""
