"""What tests of the view of a run share: a clock, quanta, what is drawn."""

from __future__ import annotations

import io
from uuid import UUID

from rich.console import Console

from pipeline.execution.outcome import Outcome
from pipeline.execution.progress import Progress
from pipeline.execution.progress_state import Snapshot, State
from pipeline.execution.progress_view import view
from tests.pipeline.execution.screen import Screen

WORKERS = ("tcp://10.0.0.1:4001", "tcp://10.0.0.2:4001")


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


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


def state_after(total, *numbers: int, seconds: float = 1.0, **more) -> State:
    state = State(total, 0.0)
    for i, number in enumerate(numbers):
        state.started(UUID(int=number), "isr", "d", WORKERS[0], i * seconds)
        state.finished(outcome(number, worker=WORKERS[0], **more), (i + 1) * seconds)
    return state
