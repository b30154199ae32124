"""One quantum on a Dask worker, through a Butler that knows nothing but this quantum."""

from __future__ import annotations

import atexit
import gc
import logging
import os
import pickle
import time
import traceback
from dataclasses import asdict, replace
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from distributed import get_worker

from pipeline.execution.context import CONTEXTS, RunContext
from pipeline.execution.environment import unfitness
from pipeline.execution.outcome import Outcome
from pipeline.execution.transient import is_transient

if TYPE_CHECKING:
    from lsst.daf.butler import Quantum, QuantumBackedButler
    from lsst.pipe.base.pipeline_graph import TaskNode
    from lsst.pipe.base.quantum_graph_executor import QuantumExecutionResult

__all__ = ["cache_statistics", "current_run", "run_quantum"]

_busy_with: list[str] = []  # the RUN whose quantum this process executes
_LONGEST_ERROR = 4_000  # characters


def run_quantum(run: str, label: str, data: str, content: bytes, quantum_id: UUID, is_first: bool) -> Outcome:
    """Execute a quantum.

    Parameters
    ----------
    run : `str`
        Name of the `RunContext`, which a plugin has brought to this process.
    label : `str`
        Task label.
    data : `str`
        Short name of the data id.
    content : `bytes`
        Pickled ``lsst.daf.butler.Quantum``.
    quantum_id : `uuid.UUID`
        Its id.
    is_first : `bool`
        Whether nobody can have tried before, so that there is no output.

    Returns
    -------
    outcome : `Outcome`
        Errors are in it, too: Dask must not repeat what failed, the driver decides.
    """
    start = time.perf_counter()
    worker = get_worker()
    worker.log_event(run, {"quantum": quantum_id.hex, "worker": worker.address})
    outcome = Outcome(quantum_id, label, data, "failed", worker=worker.address)
    try:
        context = CONTEXTS[run]
        if reasons := unfitness(context.versions, worker):  # it was asked before, but may be another one now
            return replace(outcome, status="refused", error="; ".join(reasons))
        _set_up(run)
        _busy_with.append(context.run)
        outcome = _execute(context, outcome, content, is_first)
    except (Exception, SystemExit) as error:  # SystemExit would end the thread that serves this worker
        outcome = replace(outcome, error=_text(error), is_transient=is_transient(error))
    finally:
        _busy_with.clear()
    if not outcome.seconds:
        return outcome
    overhead = time.perf_counter() - start - sum(outcome.seconds.values())
    return replace(outcome, seconds={**outcome.seconds, "overhead": overhead})


def current_run() -> str:
    """Return the RUN that this process is at work for, ``""`` if it is idle."""
    return _busy_with[0] if _busy_with else ""


def cache_statistics() -> dict[str, int]:
    """Return what the cache of calibrations of this process was good for."""
    from pipeline.execution import calib_cache

    cache = calib_cache.current()
    return asdict(cache.statistics()) if cache else {}


@cache
def _set_up(run: str) -> None:
    """Prepare this process: names of LSST, levels of loggers, the cache of calibrations."""
    from pipeline.overlay import activate

    activate()
    atexit.register(gc.freeze)  # collecting what LSST's packages have made takes longer than Dask waits
    context = CONTEXTS[run]
    root = logging.getLogger()
    if not root.handlers:
        root.addHandler(
            logging.NullHandler()
        )  # else warnings go to stderr; LSST stores the log of each quantum
    for name, level in context.log_levels.items():
        logging.getLogger(name).setLevel(level)
    # Else each quantum's Butler keeps copies of files on S3 in another folder until the process ends.
    cache = Path(get_worker().local_directory) / "butler-cache"
    os.environ.setdefault("DAF_BUTLER_CACHE_DIRECTORY_IF_UNSET", str(cache))
    if context.cache_memory:
        from pipeline.execution import calib_cache

        folder = Path(get_worker().local_directory).parent / "hsc-isr-calibs" if context.cache_disk else None
        calib_cache.install(calib_cache.CalibCache(folder, context.cache_memory, context.cache_disk))


def _execute(context: RunContext, outcome: Outcome, content: bytes, is_first: bool) -> Outcome:
    """Execute the quantum and measure it."""
    from lsst.daf.butler import QuantumBackedButler
    from lsst.pipe.base.single_quantum_executor import SingleQuantumExecutor

    from pipeline.logs import about

    node = context.tasks[outcome.label]
    quantum: Quantum = pickle.loads(content)
    butler = QuantumBackedButler.initialize(
        config=context.config,
        quantum=quantum,
        dimensions=context.universe,
        dataset_types=context.dataset_types,
    )
    with butler, about(outcome.data):
        executor = SingleQuantumExecutor(
            butler=butler,
            assume_no_existing_outputs=is_first,
            skip_existing=not is_first and _has_log(quantum, node, butler),
            **context.options,
        )
        try:
            result = executor.execute(node, quantum, quantum_id=outcome.quantum_id)
        except Exception as error:
            return _failure(outcome, error, quantum, node)
        return _success(outcome, result, quantum, butler)


def _has_log(quantum: Quantum, node: TaskNode, butler: QuantumBackedButler) -> bool:
    """Tell whether a try before this one came to its end, where it wrote the log, after the metadata."""
    if node.log_output is None:
        return True
    (ref,) = quantum.outputs[node.log_output.dataset_type_name]
    return butler.stored(ref)


def _success(
    outcome: Outcome, result: QuantumExecutionResult, quantum: Quantum, butler: QuantumBackedButler
) -> Outcome:
    from lsst.pipe.base.quantum_reports import ExceptionInfo

    from pipeline.quanta import NO_WORK

    assert result.report is not None
    if result.skipped_existing:
        return replace(outcome, status="skipped", report=result.report.model_dump_json())
    if result.adjusted_no_work:
        result.report.exceptionInfo = ExceptionInfo(className="NoWorkFound", message=NO_WORK)
        return replace(outcome, status="idle", error=NO_WORK, report=result.report.model_dump_json())
    metadata = result.task_metadata
    assert metadata is not None
    return replace(
        outcome,
        status="done",
        report=result.report.model_dump_json(),
        seconds=_seconds(metadata["quantum"]),
        read_bytes=_input_bytes(quantum),
        written_bytes=_output_bytes(butler),
    )


def _seconds(metadata: Any) -> dict[str, float]:
    """Return where the time of the task went, from what LSST's executor has recorded."""
    times = [datetime.fromisoformat(metadata.getScalar(f"{name}Utc")) for name in ("start", "end")]
    butler = metadata["butler_metrics"]
    read, write = float(butler["time_in_get"]), float(butler["time_in_put"])
    total = (times[1] - times[0]).total_seconds()
    return {"read": read, "compute": max(0.0, total - read - write), "write": write}


def _input_bytes(quantum: Quantum) -> int:
    """Sum the sizes of the input files that the repository knew when the graph was made."""
    return sum(
        max(0, getattr(record, "file_size", 0))
        for datastore in quantum.datastore_records.values()
        for tables in datastore.records.values()
        for records in tables.values()
        for record in records
    )


def _output_bytes(butler: QuantumBackedButler) -> int:
    """Sum the sizes of the files that were written."""
    return sum(
        int(record.get("file_size") or 0)
        for datastore in butler.extract_provenance_data().datastore_records.values()
        for datasets in datastore.records.values()
        for tables in datasets.values()
        for records in tables.values()
        for record in records
    )


def _failure(outcome: Outcome, error: Exception, quantum: Quantum, node: TaskNode) -> Outcome:
    """Describe a failure; what a user can mend is said in our words."""
    from lsst.pipe.base import RepeatableQuantumError
    from lsst.pipe.base.quantum_reports import QuantumReport

    from pipeline.butler_mode.problems import explain
    from pipeline.quanta import QuantumError

    message = explain(error)
    assert quantum.dataId is not None
    shown = QuantumError(message) if message and not isinstance(error, RepeatableQuantumError) else error
    report = QuantumReport.from_exception(shown, quantum.dataId, node.label, quantumId=outcome.quantum_id)
    return replace(
        outcome,
        error=message or _text(error),
        is_transient=is_transient(error),
        report=report.model_dump_json(),
    )


def _text(error: BaseException) -> str:
    """Return an unexpected error with its traceback, which nobody would see otherwise."""
    text = "".join(traceback.format_exception(error))
    return f"{type(error).__name__}: {error}\n{text[-_LONGEST_ERROR:]}"
