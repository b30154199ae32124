"""What a command says at its end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from lsst.daf.butler import DataCoordinate
from lsst.pipe.base.quantum_reports import ExecutionStatus, QuantumReport, Report
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipeline.quanta import describe

__all__ = ["print_summary", "where_is_it"]

_SHOWN = 20
_WIDE = 10_000


def print_summary(
    report: Report, total: int, skipped: int, run: str, options: Mapping[str, Any], *, repeated: int = 0
) -> bool:
    """Print a table of what is done, skipped and failed, and what to do next, on stderr.

    Parameters
    ----------
    report : `lsst.pipe.base.quantum_reports.Report`
        What became of the quanta.
    total : `int`
        Number of quanta that were to be executed.
    skipped : `int`
        Number of quanta that were done before.
    run : `str`
        RUN that holds the output.
    options : `~collections.abc.Mapping`
        Options of ``pipetask run``, by upstream's names.
    repeated : `int`, optional
        How many of those that were done before are among the quanta: they
        were only looked at.

    Returns
    -------
    is_complete : `bool`
        False if a quantum failed or was not executed.
    """
    console = Console(stderr=True, soft_wrap=False)
    if not console.is_terminal:
        console.width = _WIDE  # nothing is folded in a file or a pipe
    counts = Counter(quantum.status for quantum in report.quantaReports)
    problems = [quantum for quantum in report.quantaReports if quantum.status is not ExecutionStatus.SUCCESS]
    idle = [quantum for quantum in report.quantaReports if _is_idle(quantum)]
    table = Table("task", "data", "result", title="isr-run")
    table.add_column("first line of the error", overflow="fold")
    shown = problems + idle
    for quantum in shown[:_SHOWN]:
        table.add_row(quantum.taskLabel, describe(quantum.dataId), *_result(quantum))
    if shown:
        console.print(table)
    if len(shown) > _SHOWN:
        console.print(f"... and {len(shown) - _SHOWN} more.")
    done = counts[ExecutionStatus.SUCCESS] - repeated
    unfinished = total - sum(counts.values())
    later = f", {unfinished} not finished" if unfinished else ""
    console.print(f"{done} done, {skipped} skipped (done before), {len(problems)} failed{later}.")
    successes = (quantum for quantum in report.quantaReports if quantum.status is ExecutionStatus.SUCCESS)
    example = next((quantum.dataId for quantum in successes), None)
    console.print(
        where_is_it(run, options, example, is_first=options["plan"].is_first),
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
    if problems or unfinished:
        console.print("The same command again keeps what is done and tries the rest.")
    return not problems and not unfinished


def _is_idle(quantum: QuantumReport) -> bool:
    """Tell whether a quantum had nothing to do, and counts as done."""
    return quantum.status is ExecutionStatus.SUCCESS and quantum.exceptionInfo is not None


def _result(quantum: QuantumReport) -> tuple[str, str]:
    if quantum.status is ExecutionStatus.SKIPPED:
        return "[yellow]blocked[/]", "a quantum whose output it needs failed"
    if _is_idle(quantum):
        assert quantum.exceptionInfo is not None
        return "[yellow]idle[/]", quantum.exceptionInfo.message
    if quantum.exceptionInfo:
        message = quantum.exceptionInfo.message.strip() or quantum.exceptionInfo.className
        return "[red]failed[/]", escape(message.splitlines()[0])
    if quantum.status is ExecutionStatus.TIMEOUT:
        return "[red]failed[/]", "took longer than --timeout"
    if quantum.exitCode is not None and quantum.exitCode < 0:
        return "[red]failed[/]", f"its process was ended by signal {-quantum.exitCode} (out of memory?)"
    return "[red]failed[/]", f"its process ended with code {quantum.exitCode}"


def where_is_it(
    run: str,
    options: Mapping[str, Any],
    example: DataCoordinate | Mapping[str, Any] | None,
    *,
    is_first: bool,
) -> str:
    """Say where the output is and how to open it.

    Parameters
    ----------
    run : `str`
        RUN that holds the output.
    options : `~collections.abc.Mapping`
        Options of ``pipetask run``, by upstream's names.
    example : `lsst.daf.butler.DataCoordinate`, `~collections.abc.Mapping` or `None`
        Data id of a quantum that is done.
    is_first : `bool`
        Whether the RUN leads the chain of ``-o``, if there is one: else the
        chain may have the same data of another RUN.

    Returns
    -------
    text : `str`
        Several lines.
    """
    chain = options["output"]
    collection = chain if chain and is_first else run
    repository = str(options["butler_config"])
    place = f", {'' if is_first else 'not '}first in the chain {chain}" if chain else ""
    values = dict(example.required) if isinstance(example, DataCoordinate) else dict(example or {})
    data_id = ", ".join(f"{name}={values.get(name, '...')}" for name in ("exposure", "detector"))
    return (
        f"Output: RUN {run}{place}. In Python:\n"
        "  from pipeline import Butler\n"
        f"  butler = Butler({repository!r}, collections={collection!r}, instrument='HSC')\n"
        f"  exposure = butler.get('postISRCCD', {data_id})"
    )
