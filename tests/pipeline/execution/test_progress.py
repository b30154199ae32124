"""The view of a run: plain lines, on what is not a terminal."""

from __future__ import annotations

import io
import time
from uuid import UUID

import pytest
from rich.console import Console

from pipeline.execution.progress import Progress
from tests.pipeline.execution.progress_runs import WORKERS, outcome, plain, start


def test_plain_lines_of_a_run_of_99_quanta(clock):
    progress, file = plain({"isr": 33, "qa": 66}, clock, dashboard="http://h:8787/status")
    with progress:
        progress.workers(2)
        for number in range(12):
            start(progress, number, WORKERS[number % 2])
            clock.now += 12 / 1.9 / 12
            if number == 3:
                progress.retried(UUID(int=number), "its worker is dead\nmore")
                start(progress, number)
            if number == 11:
                start(progress, 98)
                start(progress, 99)
            nbytes = {"read_bytes": round(210e6 / 1.9), "written_bytes": round(55e6 / 1.9)}
            progress.finished(outcome(number, worker=WORKERS[number % 2], **nbytes))
            if number == 11:
                progress._state_line()
        progress.message("a word in between")
    assert file.getvalue().splitlines() == [
        "99 quanta to do (33 isr, 66 qa); dashboard of Dask: http://h:8787/status",
        "tried again: isr exposure 903334 detector 3: its worker is dead",
        "10 of 99 quanta done, 0 failed, 1 retried; 1.9 quanta/s, about 47 s left; 2 workers; "
        "210 MB/s read, 55 MB/s written",
        "12 of 99 quanta done, 2 running, 0 failed, 1 retried; 1.9 quanta/s, about 46 s left; 2 workers; "
        "210 MB/s read, 55 MB/s written",
        "a word in between",
        "12 of 99 quanta done, 2 running, 0 failed, 1 retried in 6 s; 1.9 quanta/s, "
        "210 MB/s read, 55 MB/s written",
    ]


def test_plain_line_at_each_tenth_only_once_and_not_before_the_last(clock):
    progress, file = plain(100, clock)
    with progress:
        for number in range(100):
            start(progress, number)
            clock.now += 1
            progress.finished(outcome(number))
    lines = file.getvalue().splitlines()
    assert lines[0] == "100 quanta to do"
    assert [line.partition(" of")[0] for line in lines[1:]] == [str(tenth) for tenth in range(10, 101, 10)]
    assert lines[-1].startswith("100 of 100 quanta done, 0 failed, 0 retried in 1 min 40 s; 1.0 quanta/s")


def test_failures_and_blocked_quanta_in_plain_lines(clock):
    progress, file = plain({"isr": 2, "qa": 2}, clock)
    with progress:
        start(progress, 1)
        progress.finished(outcome(1, "failed", error="  raw.fits: no data\nTraceback"))
        progress.blocked("qa", 1)
        progress.finished(outcome(2, "refused", error="other version"))
        progress.blocked("qa", 1)
    assert file.getvalue().splitlines() == [
        "4 quanta to do (2 isr, 2 qa)",
        "failed: isr exposure 903334 detector 1: raw.fits: no data",
        "0 of 4 quanta done, 1 failed, 0 retried; 1 worker",
        "0 of 4 quanta done, 1 failed, 1 blocked, 0 retried; 1 worker",
        "failed: isr exposure 903334 detector 2: other version",
        "0 of 4 quanta done, 2 failed, 1 blocked, 0 retried; 1 worker",
        "0 of 4 quanta done, 2 failed, 2 blocked, 0 retried in 0 s",
    ]


def test_a_plain_run_that_is_interrupted_says_how_far_it_came(clock):
    progress, file = plain(3, clock)

    def interrupted() -> None:
        with progress:
            start(progress, 1)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert file.getvalue().splitlines()[-1] == "0 of 3 quanta done, 1 running, 0 failed, 0 retried in 0 s"


def test_plain_lines_break_a_silence():
    file = io.StringIO()
    with Progress(5, console=Console(file=file), plain_interval=0.02) as progress:
        progress.workers(1)
        end = time.monotonic() + 30
        while file.getvalue().count("\n") < 4 and time.monotonic() < end:
            time.sleep(0.01)
    assert file.getvalue().count("0 of 5 quanta done, 0 failed, 0 retried; 1 worker\n") >= 3


def test_nothing_to_do(clock):
    progress, file = plain({}, clock)
    with progress:
        pass
    assert file.getvalue().splitlines() == [
        "0 quanta to do",
        "0 of 0 quanta done, 0 failed, 0 retried in 0 s",
    ]


def test_the_run_survives_a_reader_that_is_gone(clock):
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    with Progress(1, console=Console(file=Gone()), clock=clock) as progress:
        progress.finished(outcome(1, "failed", error="x"))


def test_no_live_view_on_stderr_that_is_not_a_terminal(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    with Progress(1):
        pass
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["1 quanta to do", "0 of 1 quanta done, 0 failed, 0 retried in 0 s"]
