"""The view of a run: counts, plain lines, the live view on a real terminal."""

from __future__ import annotations

import gc
import io
import logging
import threading
import time
from uuid import UUID

import pytest
from rich.console import Console

from pipeline.execution.live_screen import LiveScreen
from pipeline.execution.outcome import Outcome
from pipeline.execution.progress import Progress
from pipeline.execution.progress_state import Snapshot, State, Tally, WorkerRow
from pipeline.execution.progress_text import duration, rate
from pipeline.execution.progress_view import view
from pipeline.execution.rates import Rates, RecentRates
from tests.pipeline.execution.screen import Screen, Terminal

WORKERS = ("tcp://10.0.0.1:4001", "tcp://10.0.0.2:4001")


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def outcome(number: int, status: str = "done", label: str = "isr", **more) -> Outcome:
    return Outcome(UUID(int=number), label, f"exposure 903334 detector {number}", status, **more)


def start(progress, number: int, worker: str = WORKERS[0], label: str = "isr") -> None:
    progress.started(UUID(int=number), label, f"exposure 903334 detector {number}", worker)


def plain(total, clock: Clock, **more) -> tuple[Progress, io.StringIO]:
    file = io.StringIO()
    return Progress(total, console=Console(file=file, width=20), clock=clock, **more), file


def drawn(snapshot: Snapshot, width: int = 100, **more) -> list[str]:
    console = Console(file=io.StringIO(), force_terminal=True, width=width, color_system=None)
    console.print(view(snapshot, **more))
    return Screen(console.file.getvalue(), width).lines[:-1]


# Plain lines


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


# Counts, rates, time left


def state_after(total, *numbers: int, seconds: float = 1.0, **more) -> State:
    state = State(total, 0.0)
    for i, number in enumerate(numbers):
        state.started(UUID(int=number), "isr", "d", WORKERS[0], i * seconds)
        state.finished(outcome(number, worker=WORKERS[0], **more), (i + 1) * seconds)
    return state


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


# Words


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


# The live view


def busy_state() -> State:
    state = State({"isr": 30, "qa": 30}, 0.0)
    state.set_workers(3)
    for number in range(12):
        state.started(UUID(int=number), "isr", f"detector {number}", WORKERS[number % 2], number * 0.5)
    for number in range(10):
        more = {"status": "failed", "error": f"error {number}\nmore"} if number < 7 else {}
        nbytes = {"read_bytes": 10_000_000, "written_bytes": 1_000_000}
        state.finished(outcome(number, worker=WORKERS[number % 2], **nbytes, **more), 1 + number * 0.5)
    state.retried(outcome(77), "its worker is dead")
    state.add_blocked("qa", 3)
    state.add_blocked("qa", 4)
    return state


def test_view():
    lines = drawn(busy_state().snapshot(10.0), dashboard="http://h:8787/status")
    words = [" ".join(line.replace("╸", " ").replace("╺", " ").replace("━", " ").split()) for line in lines]
    assert words == [
        "isr 3 of 30 done 2 running 7 failed 1 retried",
        "qa 0 of 30 done 0 running 0 failed 0 retried",
        "all 3 of 60 done 2 running 7 failed, 7 blocked 1 retried",
        "10 s so far, about 43 s left, 1.0 quanta/s, 10 MB/s read, 1.0 MB/s written",
        "3 workers; Dask dashboard: http://h:8787/status",
        *(f"failed: isr exposure 903334 detector {n}: error {n}" for n in range(2, 7)),
        "tried again: isr exposure 903334 detector 77: its worker is dead",
        "worker quanta per min for now",
        "10.0.0.1:4001 5 30 5 s isr detector 10",
        "10.0.0.2:4001 5 32 4 s isr detector 11",
        "... and 1 more worker",
    ]
    assert [line.count("━") + line.count("╸") for line in lines[:3]] == [13, 0, 11]


def test_view_at_the_end_leaves_out_what_has_no_meaning_any_more():
    text = "\n".join(drawn(busy_state().snapshot(20.0), dashboard="http://h", is_over=True))
    assert "20 s, 0.5 quanta/s" in text
    assert text.count("failed: ") == 5
    for word in ("worker", "left", "so far", "tried again", "http"):
        assert word not in text


def test_view_of_a_narrow_terminal_keeps_one_line_for_each_thing():
    snapshot = busy_state().snapshot(10.0)
    for width in (80, 100):
        lines = drawn(snapshot, width)
        assert len(lines) == 15
        assert max(map(len, lines)) <= width
    assert lines[-3].split()[1:] == ["5", "30", "5", "s", "isr", "detector", "10"]


def test_view_shows_the_tasks_that_are_not_complete_and_says_how_many_more():
    state = State({f"task{number}": 1 for number in range(20)}, 0.0)
    for number in range(3):
        state.finished(outcome(number, label=f"task{number}"), 1.0)
    lines = drawn(state.snapshot(2.0))
    assert [line.split()[0] for line in lines[:8]] == [f"task{number}" for number in range(3, 11)]
    assert lines[8] == "... and 12 more tasks"


def test_view_of_a_single_task_and_of_unknown_totals():
    lines = drawn(state_after({"isr": 4}, 1).snapshot(1.0))
    assert [line.split()[0] for line in lines[:2]] == ["isr", "1"]
    lines = drawn(state_after(4, 1).snapshot(1.0))
    assert "isr" in lines[0]
    assert "1 done" in lines[0]
    assert "━" not in lines[0]


def test_view_takes_text_as_it_is():
    state = State(2, 0.0)
    state.started(UUID(int=1), "isr", "[red]d[/]", "w[b]", 0.0)
    state.finished(outcome(2, "failed", error="[/nonsense] [bold]x"), 1.0)
    text = "\n".join(drawn(state.snapshot(1.0)))
    assert "[/nonsense] [bold]x" in text
    assert "isr [red]d[/]" in text
    assert "w[b]" in text


def test_view_of_very_many_workers_is_short():
    state = State(1000, 0.0)
    for number in range(500):
        state.started(UUID(int=number), "isr", "d", f"tcp://w:{number}", 0.0)
    state.set_workers(600)
    lines = drawn(state.snapshot(1.0))
    assert len(lines) < 20
    assert lines[-1] == "... and 592 more workers"


def live_console() -> Console:
    environment = {"TERM": "xterm-256color"}
    return Console(file=io.StringIO(), force_terminal=True, width=100, height=40, _environ=environment)


def test_log_lines_and_messages_stand_above_the_live_view(clock):
    console = live_console()
    log = logging.getLogger("tests.progress")
    handler = logging.StreamHandler(console.file)
    log.addHandler(handler)
    log.propagate = False
    try:
        with Progress({"isr": 2}, console=console, clock=clock) as progress:
            start(progress, 1)
            log.warning("a [b]long[/b] line " + "x" * 150)
            progress.message("a message")
            clock.now += 2
            progress.finished(outcome(1))
        assert handler.stream is console.file
        log.warning("after")
    finally:
        log.removeHandler(handler)
    screen = Screen(console.file.getvalue())
    long = "a [b]long[/b] line " + "x" * 150
    assert screen.lines[:3] == [long[:100], long[100:], "a message"]
    assert screen.lines[3].startswith("isr ")
    assert screen.lines[3].endswith("1 of 2 done  0 running  0 failed  0 retried")
    assert screen.lines[4] == "2 s, 0.5 quanta/s, 0.0 MB/s read, 0.0 MB/s written"
    assert screen.lines[5:] == ["after", ""]
    assert screen.cursor_is_visible


def test_streams_that_somebody_kept_work_after_the_view(capsys):
    console = live_console()
    handler = logging.StreamHandler(console.file)
    logging.getLogger("tests.kept").addHandler(handler)
    try:
        with LiveScreen(console, lambda: "view"):
            kept = handler.stream
            kept.write("not comp")
            assert "not comp" not in console.file.getvalue()
            kept.write("lete\nrest")
            kept.flush()
            assert Screen(console.file.getvalue()).lines[0] == "not complete"
        kept.write(" of it\n")
    finally:
        logging.getLogger("tests.kept").removeHandler(handler)
    assert Screen(console.file.getvalue()).lines == ["not complete", "view", "rest of it", ""]


def test_other_streams_are_left_alone():
    handler = logging.StreamHandler(io.StringIO())
    logging.getLogger("tests.other").addHandler(handler)
    stream = handler.stream
    try:
        with LiveScreen(live_console(), lambda: ""):
            assert handler.stream is stream
    finally:
        logging.getLogger("tests.other").removeHandler(handler)


def test_lines_of_threads_leave_nothing_of_views_of_other_heights():
    class View:
        """Higher or lower each time; lets other threads run while it is drawn."""

        count = 0
        is_last = False

        def __rich_console__(self, console, options):
            View.count += 1
            for number in range(3 if View.is_last else View.count % 4):
                yield f"view {number}"
                time.sleep(0.001)

    console = live_console()
    with LiveScreen(console, View) as screen:
        threads = [
            threading.Thread(target=lambda: [screen.print("line") for _ in range(25)]) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        View.is_last = True
    lines = [line for line in Screen(console.file.getvalue()).lines if line]
    assert lines == ["line"] * 100 + ["view 0", "view 1", "view 2"]


SCRIPT = """
import logging, sys, threading, time, uuid
from pipeline.execution.outcome import Outcome
from pipeline.execution.progress import Progress
from pipeline.logs import set_up_logging

set_up_logging([])
log = logging.getLogger("isr")

def chatter(name):
    for number in range(100):
        log.info("thread %s line %d %s", name, number, "x" * (2 * number % 130))
        time.sleep(0.002)

threads = [threading.Thread(target=chatter, args=(name,)) for name in "ab"]
try:
    with Progress({"isr": 300}, "http://127.0.0.1:8787/status") as progress:
        progress.workers(2)
        for thread in threads:
            thread.start()
        for number in range(INTERRUPTED and 10**9 or 300):
            id = uuid.UUID(int=number)
            progress.started(id, "isr", f"detector {number}", "tcp://10.0.0.1:4001")
            time.sleep(0.002)
            progress.finished(Outcome(id, "isr", f"detector {number}", "done", worker="tcp://10.0.0.1:4001"))
            if number % 100 == 0:
                print("stderr", number, file=sys.stderr)
                print("stdout", number)
        for thread in threads:
            thread.join()
except KeyboardInterrupt:
    print("interrupted", file=sys.stderr)
    for thread in threads:
        thread.join()
    sys.exit(130)
print("the end", file=sys.stderr)
"""


def records(screen: Screen, thread: str) -> list[str]:
    """Return the log lines of a thread, those joined that the terminal broke; none has 100 characters."""
    text = ""
    for line in screen.lines:
        text += line + ("" if len(line) == 100 else "\n")
    return [line.partition(": ")[2] for line in text.splitlines() if f": thread {thread} " in line]


def test_log_lines_and_view_do_not_tear_each_other_on_a_terminal():
    terminal = Terminal(SCRIPT.replace("INTERRUPTED", "False"))
    screen = terminal.screen
    assert terminal.status == 0, terminal.output
    expected = [f"line {number} {'x' * (2 * number % 130)}".rstrip() for number in range(100)]
    for thread in "ab":
        assert records(screen, thread) == [f"thread {thread} {line}" for line in expected]
    for number in range(0, 300, 100):
        assert {f"stderr {number}", f"stdout {number}"} <= set(screen.lines)
    bars = [line for line in screen.lines if "━" in line]
    assert len(bars) == 1, "old views are erased"
    assert bars[0].endswith("300 of 300 done  0 running  0 failed  0 retried")
    assert [line for line in screen.lines if line][-1] == "the end"
    assert terminal.output.count("\x1b[?25l") >= 1
    assert screen.cursor_is_visible
    assert terminal.is_restored


def test_ctrl_c_gives_the_terminal_back():
    terminal = Terminal(SCRIPT.replace("INTERRUPTED", "True"), interrupt_at="stdout 100")
    assert terminal.status == 130, terminal.output
    screen = terminal.screen
    assert screen.cursor_is_visible
    assert terminal.is_restored
    view_lines = [number for number, line in enumerate(screen.lines) if "━" in line]
    assert len(view_lines) == 1
    assert "interrupted" in screen.lines[view_lines[0] :]


def test_no_live_view_on_stderr_that_is_not_a_terminal(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    with Progress(1):
        pass
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["1 quanta to do", "0 of 1 quanta done, 0 failed, 0 retried in 0 s"]
