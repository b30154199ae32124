"""The live view of a run, and what it does to a real terminal."""

from __future__ import annotations

import io
import logging
import threading
import time
from uuid import UUID

from rich.console import Console

from pipeline.execution.live_screen import LiveScreen
from pipeline.execution.progress import Progress
from pipeline.execution.progress_state import State
from tests.pipeline.execution.progress_runs import WORKERS, drawn, outcome, start, state_after
from tests.pipeline.execution.screen import Screen, Terminal


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
    sys.stderr.write("interrupted\\n")  # in one piece, between the lines of the threads
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
