"""Several raws in file mode: stages overlap, results and their order are those of one after the other."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import Future

import pytest

from isr.config import IsrConfig
from isr.errors import ProcessingError
from pipeline.file_mode import FileJob

NAMES = [f"{i}.fits" for i in range(5)]


class Job(FileJob):
    """A job whose stages only write down what they do."""

    events: list[tuple[str, str]]
    interrupted_at = ""

    def __init__(self) -> None:
        super().__init__("calibs", "out", IsrConfig())
        self.events = []

    def _note(self, what: str, name: str) -> None:
        self.events.append((what, name))
        if name == f"bad-{what}":
            raise ProcessingError(f"{name}: cannot be done.")
        if name == f"odd-{what}":
            raise ZeroDivisionError

    def _read(self, work):
        self._note("read", work.name)

    def _compute(self, work):
        if work.name == self.interrupted_at:
            raise KeyboardInterrupt
        self._note("compute", work.name)

    def _write(self, work):
        time.sleep(0.05)
        self._note("write", work.name)
        work.written.append(work.name)


@pytest.fixture(params=[1, 2], ids=["one processor", "two"])
def processors(request, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(request.param)))
    return request.param


@pytest.mark.parametrize("count", range(6))
def test_all_in_order(processors, count):
    job = Job()
    outcomes = list(job.reduce_all(iter(NAMES[:count])))
    assert [outcome.output for outcome in outcomes] == NAMES[:count]
    assert sorted(job.events) == sorted(
        (what, name) for name in NAMES[:count] for what in ("read", "compute", "write")
    )


@pytest.mark.parametrize("what", ["read", "compute", "write"])
def test_a_failure_is_that_of_one_raw(processors, what):
    job = Job()
    names = ["0", f"bad-{what}", "2", f"odd-{what}", "4"]
    outcomes = list(job.reduce_all(names))
    assert [outcome.raw for outcome in outcomes] == names
    assert [bool(outcome.error) for outcome in outcomes] == [False, True, False, True, False]
    assert outcomes[1].error == f"bad-{what}: cannot be done."
    assert "unexpected ZeroDivisionError" in outcomes[3].error
    done = ["read", "compute", "write"]
    assert [w for w, name in job.events if name == names[1]] == done[: done.index(what) + 1]


def test_the_next_is_read_and_the_last_is_written_meanwhile(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    read, written = threading.Event(), threading.Event()

    class Waiting(Job):
        def _read(self, work):
            if work.name == "3.fits":
                read.set()

        def _compute(self, work):
            if work.name == "2.fits":
                assert read.wait(10)
                assert written.wait(10)

        def _write(self, work):
            if work.name == "1.fits":
                written.set()

    assert not any(outcome.error for outcome in Waiting().reduce_all(NAMES))


def test_few_are_on_their_way(monkeypatch):
    """While one is computed, nothing but the next one is in memory, and the last that is being written."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    lock, alive, most = threading.Lock(), set(), []

    class Counting(Job):
        def _read(self, work):
            with lock:
                alive.add(work.name)
                most.append(len(alive))

        def _write(self, work):
            time.sleep(0.02)
            with lock:
                alive.discard(work.name)

    list(Counting().reduce_all(str(i) for i in range(20)))
    assert max(most) <= 4  # read, read ahead, computed, written


def test_ctrl_c_while_waiting_for_a_file(monkeypatch):
    """The file is there in the end, so the report must know of it."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    job, waits = Job(), []

    def result(future, timeout=None, *, real=Future.result):
        if "2.fits" in str(job.events[-1:]) and not waits:
            waits.append(1)
            raise KeyboardInterrupt
        return real(future, timeout)

    monkeypatch.setattr(Future, "result", result)
    outcomes = []
    with pytest.raises(KeyboardInterrupt):
        outcomes.extend(job.reduce_all(NAMES))
    assert waits
    assert [outcome.output for outcome in outcomes] == [name for what, name in job.events if what == "write"]


def test_ctrl_c_tells_of_what_is_written(processors):
    job = Job()
    job.interrupted_at = "3.fits"
    outcomes = []
    with pytest.raises(KeyboardInterrupt):
        outcomes.extend(job.reduce_all(NAMES))
    assert [outcome.output for outcome in outcomes] == NAMES[:3]
    assert ("write", "4.fits") not in job.events
