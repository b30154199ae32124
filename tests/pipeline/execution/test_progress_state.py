"""The view of a run: counts, rates, time left, and their words."""

from __future__ import annotations

import gc
from uuid import UUID

import pytest

from pipeline.execution.outcome import Outcome
from pipeline.execution.progress_state import State, Tally, WorkerRow
from pipeline.execution.progress_text import duration, rate
from pipeline.execution.rates import Rates, RecentRates
from tests.pipeline.execution.progress_runs import WORKERS, outcome, plain, start, state_after


def test_statuses_are_counted():
    state = State({"isr": 9}, 0.0)
    for number, status in enumerate(("done", "skipped", "idle", "failed", "refused")):
        state.finished(outcome(number, status, error="e"), 1.0)
    snapshot = state.snapshot(1.0)
    assert snapshot.tallies == (Tally("isr", 9, done=3, failed=2),)
    assert snapshot.all == Tally("all", 9, done=3, failed=2)
    assert len(snapshot.failures) == 2


def test_retries_take_a_quantum_out_of_the_running_ones():
    state = State(2, 0.0)
    state.started(UUID(int=1), "isr", "exposure 1", WORKERS[0], 0.0)
    assert state.retried(UUID(int=1), "dead\nx") == ("isr exposure 1", "dead")
    assert state.snapshot(1.0).tallies == (Tally("isr", None, retried=1),)
    state.retried(outcome(2, label="qa"), "r")  # had not started, as far as we know
    state.retried(UUID(int=3), "r")  # nothing is known of it
    snapshot = state.snapshot(1.0)
    assert [tally.retried for tally in snapshot.tallies] == [1, 1]
    assert snapshot.all.retried == 3
    assert snapshot.last_retry == (str(UUID(int=3)), "r")


def test_a_quantum_that_is_started_twice_runs_once():
    state = State(2, 0.0)
    for worker in WORKERS:
        state.started(UUID(int=1), "isr", "d", worker, 0.0)
    snapshot = state.snapshot(0.0)
    assert (snapshot.all.running, snapshot.tallies[0].running) == (1, 1)
    assert [row.now for row in snapshot.workers] == ["isr d", ""]


def test_time_left_comes_from_the_rate_of_late():
    state = state_after(1000, *range(100))
    assert state.snapshot(100.0).left == pytest.approx(900)
    for number in range(100, 400):  # ten times as fast from now on
        state.finished(outcome(number), 100 + (number - 99) / 10)
    assert state.snapshot(130.0).left == pytest.approx(60, rel=0.3)
    for number in range(400, 500):
        state.finished(outcome(number), 130 + (number - 399) / 10)
    assert state.snapshot(140.0).left == pytest.approx(50, rel=0.05)


def test_no_time_left_before_each_worker_has_ended_a_quantum():
    state = State(100, 0.0)
    state.set_workers(4)
    for number in range(4):
        state.started(UUID(int=number), "isr", "d", f"w{number}", 0.0)
    for number in range(3):
        state.finished(outcome(number), 60.0)
    assert state.snapshot(61.0).left is None
    state.finished(outcome(3), 61.0)
    assert state.snapshot(64.0).left == pytest.approx(96 * 16)


def test_quanta_that_were_done_before_do_not_make_the_rest_look_fast():
    state = State(100, 0.0)
    for number in range(50):
        state.finished(outcome(number, "skipped"), 0.5)
    assert state.snapshot(1.0).rates is None
    state.started(UUID(int=50), "isr", "d", WORKERS[0], 0.0)
    for number in range(50, 54):
        state.finished(outcome(number), 2.0 * (number - 49))
    assert state.snapshot(8.0).left == pytest.approx(46 * 2)


def test_rates_of_quanta_that_take_longer_than_the_window():
    rates = RecentRates()
    rates.start(0.0)
    for batch in range(1, 6):  # ten workers that end together every five minutes
        for _ in range(10):
            rates.add(300.0 * batch, 3_000_000, 0)
    for now in (1501.0, 1790.0):
        found = rates.rates(now, least=30)
        assert found.quanta == pytest.approx(30 / (now - 600))
        assert found.read == pytest.approx(3_000_000 * found.quanta)


def test_rates_forget_what_is_older_than_the_window():
    rates = RecentRates()
    rates.start(0.0)
    for second in range(100):
        rates.add(float(second), 100, 10)
    assert rates.rates(99.5, least=5).quanta == pytest.approx(1, rel=0.05)
    for i in range(1000):
        rates.add(100 + i / 10, 0, 0)
    found = rates.rates(200.0, least=5)
    assert found.quanta == pytest.approx(10, rel=0.05)
    assert (found.read, found.written) == (0, 0)


def test_rates_of_nothing():
    rates = RecentRates()
    assert rates.rates(5.0, least=1) is None
    rates.start(1.0)
    assert rates.rates(5.0, least=1) is None


def test_workers_that_run_nothing_drop_out_when_others_have_come():
    state = State(9, 0.0)
    state.set_workers(2)
    for number, worker in enumerate(("tcp://dead:1", "tcp://a:1", "tcp://b:1")):
        state.started(UUID(int=number), "isr", f"d{number}", worker, 0.0)
    state.retried(UUID(int=0), "dead")
    snapshot = state.snapshot(1.0)
    assert [row.address for row in snapshot.workers] == ["tcp://a:1", "tcp://b:1"]
    assert snapshot.worker_count == 2


def test_row_of_a_worker():
    state = State(9, 0.0)
    state.started(UUID(int=1), "isr", "d1", "w", 0.0)
    state.started(UUID(int=2), "isr", "d2", "w", 0.0)  # waits for the first
    assert state.snapshot(5.0).workers == (WorkerRow("w", 0, None, "isr d1", 5.0),)
    state.finished(outcome(1, worker="w"), 10.0)
    assert state.snapshot(30.0).workers == (WorkerRow("w", 1, 2.0, "isr d2", 20.0),)
    state.finished(outcome(2), 31.0)  # an outcome that does not know its worker
    assert state.snapshot(40.0).workers == (WorkerRow("w", 2, 3.0, "", 9.0),)


def test_a_short_quantum_of_which_nobody_heard_that_it_began():
    state = State(9, 100.0)
    state.finished(outcome(1, worker="w", seconds={"read": 1.0, "compute": 2.0}), 110.0)
    snapshot = state.snapshot(113.0)
    assert snapshot.workers == (WorkerRow("w", 1, 10.0, "", 3.0),)
    assert snapshot.rates.quanta == pytest.approx(1 / 6)


def test_nothing_is_kept_of_quanta_that_have_ended(clock):
    def outcomes() -> int:
        gc.collect()
        return sum(isinstance(thing, Outcome) for thing in gc.get_objects())

    before = outcomes()
    progress, _ = plain(5_000, clock)
    with progress:
        for number in range(5_000):
            start(progress, number)
            progress.finished(outcome(number, "failed" if number % 2 else "done", error="x"))
        assert outcomes() == before
    assert not progress._state._running
    assert len(progress._state._failures) == 5


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0 s"),
        (0.4, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (200, "3 min 20 s"),
        (7500, "2 h 5 min"),
        (7200, "2 h"),
        (90_000, "1 d 1 h"),
        (30 * 86400, "30 d"),
    ],
)
def test_duration(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (123.4, "123 quanta/s"),
        (1.94, "1.9 quanta/s"),
        (0.5, "0.5 quanta/s"),
        (0.1, "6.0 quanta/min"),
        (1 / 600, "6.0 quanta/h"),
        (1 / 36000, "0.1 quanta/h"),
    ],
)
def test_rate(number, text):
    assert rate(Rates(number, 0, 0)) == text
