"""The live view of a run on a terminal."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from pipeline.execution.progress_state import Failure, Snapshot, Tally, WorkerRow
from pipeline.execution.progress_text import (
    digits,
    duration,
    number_of,
    rate,
    short_address,
    time_left,
    traffic,
)

__all__ = ["SHOWN_TASKS", "SHOWN_WORKERS", "view"]

SHOWN_WORKERS = 8
SHOWN_TASKS = 8


def view(snapshot: Snapshot, dashboard: str = "", is_over: bool = False) -> RenderableType:
    """Draw a run: bars, rates, failures, workers.

    Parameters
    ----------
    snapshot : `~pipeline.execution.progress_state.Snapshot`
        The run.
    dashboard : `str`, optional
        URL of the Dask dashboard.
    is_over : `bool`, optional
        Leave out what is of interest only while it runs: workers and retries.

    Returns
    -------
    view : `rich.console.RenderableType`
        What to draw.
    """
    parts: list[RenderableType] = [_bars(snapshot), _numbers(snapshot, dashboard, is_over)]
    parts += [_problem("failed", failure, "red") for failure in snapshot.failures]
    if not is_over:
        if snapshot.last_retry:
            parts.append(_problem("tried again", snapshot.last_retry, "yellow"))
        if snapshot.workers:
            parts += [_workers(snapshot.workers[:SHOWN_WORKERS])]
        parts += _more(snapshot.worker_count - min(len(snapshot.workers), SHOWN_WORKERS), "worker")
    return Group(*parts)


def _bars(snapshot: Snapshot) -> Table:
    """Draw one bar for each task, and one for all."""
    table = Table.grid(padding=(0, 2), expand=True)
    table.add_column(no_wrap=True, max_width=24)
    table.add_column(ratio=1)
    for _ in range(4):
        table.add_column(justify="right", no_wrap=True)
    tallies = sorted(snapshot.tallies, key=lambda tally: tally.done + tally.failed == tally.total)
    for tally in tallies[:SHOWN_TASKS]:
        table.add_row(*_bar(tally))
    for text in _more(len(tallies) - SHOWN_TASKS, "task"):
        table.add_row(text)
    if len(tallies) != 1:
        table.add_row(*_bar(snapshot.all, snapshot.blocked))
    return table


def _bar(tally: Tally, blocked: int = 0) -> list[RenderableType]:
    ended = tally.done + tally.failed + blocked
    bar = ProgressBar(total=tally.total, completed=ended) if tally.total else Text()
    of = "" if tally.total is None else f" of {tally.total}"
    failed = f"{tally.failed} failed" + (f", {blocked} blocked" if blocked else "")
    return [
        Text(tally.label, overflow="ellipsis"),
        bar,
        Text(f"{tally.done}{of} done", style="green"),
        Text(f"{tally.running} running", style="cyan" if tally.running else "dim"),
        Text(failed, style="bold red" if tally.failed else "dim"),
        Text(f"{tally.retried} retried", style="yellow" if tally.retried else "dim"),
    ]


def _numbers(snapshot: Snapshot, dashboard: str, is_over: bool) -> Text:
    rates = snapshot.mean if is_over else snapshot.rates
    words = [duration(snapshot.elapsed) + ("" if is_over else " so far")]
    if not is_over:
        words += [time_left(snapshot)] if snapshot.left else []
    words += [rate(rates), traffic(rates)] if rates else []
    text = Text(", ".join(words))
    if not is_over:
        text.append(f"\n{number_of(snapshot.worker_count, 'worker')}")
        if dashboard:
            text.append("; Dask dashboard: ").append(dashboard, style=f"underline link {dashboard}")
    return text


def _problem(what: str, failure: Failure, style: str) -> Text:
    line = Text(no_wrap=True, overflow="ellipsis")
    return line.append(f"{what}: ", style).append(f"{failure.name}: {failure.reason}")


def _workers(rows: tuple[WorkerRow, ...]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("worker", no_wrap=True)
    table.add_column("quanta", justify="right", no_wrap=True)
    table.add_column("per min", justify="right", no_wrap=True)
    table.add_column("for", justify="right", no_wrap=True)
    table.add_column("now")  # the only one that is cut if there is no room
    for row in rows:
        table.add_row(
            Text(short_address(row.address)),
            str(row.done),
            "" if row.per_minute is None else digits(row.per_minute),
            duration(row.seconds),
            Text(row.now or "waits", style="" if row.now else "dim", no_wrap=True, overflow="ellipsis"),
        )
    return table


def _more(count: int, what: str) -> list[Text]:
    return [Text(f"... and {number_of(count, 'more ' + what)}", style="dim")] if count > 0 else []
