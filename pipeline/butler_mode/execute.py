"""Claim a RUN, write what belongs to it, execute the quanta."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Any
from uuid import UUID

import astropy.units as u
from lsst.ctrl.mpexec.cli.butler_factory import ButlerFactory
from lsst.ctrl.mpexec.cli.utils import MP_TIMEOUT
from lsst.daf.butler import Quantum
from lsst.daf.butler.registry import ConflictingDefinitionError
from lsst.pipe.base import ExecutionResources, RepeatableQuantumError, TaskFactory
from lsst.pipe.base.mp_graph_executor import MPGraphExecutor, MPGraphExecutorError
from lsst.pipe.base.quantum_graph import PredictedQuantumGraph
from lsst.pipe.base.quantum_graph_executor import QuantumExecutionResult, QuantumExecutor
from lsst.pipe.base.quantum_reports import ExceptionInfo, Report
from lsst.pipe.base.single_quantum_executor import SingleQuantumExecutor
from lsst.resources import ResourcePath
from lsst.utils.doImport import doImportType
from lsst.utils.threads import disable_implicit_threading
from lsst.utils.timer import profile
from sqlalchemy.exc import IntegrityError

from pipeline.butler_mode.chain import redefine_chain
from pipeline.butler_mode.problems import explain
from pipeline.errors import RepositoryError
from pipeline.execution.journal import drop_old_outputs
from pipeline.logs import about
from pipeline.quanta import NO_WORK, QuantumError, describe

if TYPE_CHECKING:
    from lsst.daf.butler import Butler
    from lsst.daf.butler.logging import ButlerLogRecords
    from lsst.pipe.base.pipeline_graph import TaskNode

    from pipeline.execution.driver import ClusterExecutor

__all__ = ["execute"]

log = logging.getLogger(__name__)

PRELOADED = ("pipeline.butler_mode.execute", "pipeline.task", "isr.run", "isr.fits.raw", "isr.fits.exposure")
"""Modules that the processes of ``-j`` find imported."""


def execute(
    graph: PredictedQuantumGraph,
    options: Mapping[str, Any],
    at_end: Callable[[Report], None],
    on_cluster: ClusterExecutor | None = None,
) -> None:
    """Execute a quantum graph as ``pipetask run`` does.

    Parameters
    ----------
    graph : `lsst.pipe.base.quantum_graph.PredictedQuantumGraph`
        What to do; names the RUN.
    options : `~collections.abc.Mapping`
        Options of ``pipetask run``, by upstream's names.
    at_end : `~collections.abc.Callable`
        Called with what became of the quanta, also after an interruption; not
        called if they were not to be executed (``--init-only``).
    on_cluster : `pipeline.execution.driver.ClusterExecutor`, optional
        Executes the quanta elsewhere.
    """
    if options["processes"] > 1 and not on_cluster:
        _start_server()
    if not options["enable_implicit_threading"]:
        disable_implicit_threading()
    with _claim_run(graph, options) as butler:
        _write_init_outputs(graph, butler, options)
        if options["init_only"]:
            return
        executor = on_cluster or _graph_executor(butler, options)
        if on_cluster is not None and options["extend_run"]:
            drop_old_outputs(butler, graph)  # with a full Butler the worker does it
        butler.registry.resetConnectionPool()  # connections must not be shared with other processes
        try:
            with profile(options["profile"], log):
                executor.execute(graph)
        except MPGraphExecutorError as error:
            log.debug("%s", error)  # what failed is in the report
        except BaseException:
            for process in multiprocessing.active_children():
                process.terminate()
            raise
        finally:
            report = executor.getReport()
            if report is not None:
                _write_summary(report, options, on_cluster)
                at_end(report)


def _write_summary(report: Report, options: Mapping[str, Any], on_cluster: ClusterExecutor | None) -> None:
    """Write the file of ``--summary``."""
    if not options["summary"]:
        return
    document = on_cluster.summary() if on_cluster else report.model_dump(mode="json", exclude_none=True)
    with ResourcePath(options["summary"]).open("w") as file:
        json.dump(document, file, indent=2)


def _claim_run(graph: PredictedQuantumGraph, options: Mapping[str, Any]) -> Butler:
    """Register the RUN, before anything is executed: of two commands that make it, one fails."""
    run, chain = graph.header.output_run, options["plan"].chain
    try:
        butler = ButlerFactory.make_write_butler(
            options["butler_config"],
            graph.pipeline_graph,
            output=options["output"],
            output_run=run,
            inputs=() if chain else list(options["input"]),  # upstream refuses others than before
            extend_run=options["extend_run"],
            replace_run=options["replace_run"],
            prune_replaced=options["prune_replaced"],
        )
        if chain:
            redefine_chain(butler, options["output"], run, chain)
        return butler
    except (ValueError, ConflictingDefinitionError, IntegrityError) as error:
        raise RepositoryError(
            f"While the quantum graph was built another command changed {options['output'] or run}: {error} "
            "Nothing was executed; give the same command again."
        ) from error


def _write_init_outputs(graph: PredictedQuantumGraph, butler: Butler, options: Mapping[str, Any]) -> None:
    """Register dataset types; write configuration and versions, or compare them with what is there."""
    extend, versions = options["extend_run"], not options["no_versions"]
    graph.pipeline_graph.register_dataset_types(butler, include_packages=versions)
    if options["skip_init_writes"]:
        return
    graph.write_init_outputs(butler, skip_existing=extend or options["skip_existing"])
    graph.write_configs(butler, compare_existing=extend)
    if versions:
        graph.write_packages(butler, compare_existing=extend)


def _graph_executor(butler: Butler, options: Mapping[str, Any]) -> MPGraphExecutor:
    skip = tuple(options["skip_existing_in"] or ())
    if options["extend_run"] or options["skip_existing"]:
        skip += (butler.run,)
    quantum_executor = SingleQuantumExecutor(
        butler=butler,
        task_factory=TaskFactory(),
        skip_existing_in=skip,
        clobber_outputs=options["extend_run"] and options["clobber_outputs"],
        enable_lsst_debug=options["debug"],
        resources=ExecutionResources(
            num_cores=options["cores_per_quantum"],
            max_mem=options["memory_per_quantum"],
            default_mem_units=u.MB,
        ),
        raise_on_partial_outputs=options["raise_on_partial_outputs"],
    )
    fixup = options["graph_fixup"]
    return MPGraphExecutor(
        num_proc=options["processes"],
        timeout=options["timeout"] or MP_TIMEOUT,
        # Upstream's default, spawn, imports everything anew for each quantum.
        start_method=options["start_method"] or "forkserver",
        quantum_executor=_LabellingExecutor(quantum_executor),
        fail_fast=options["fail_fast"],
        pdb=options["pdb"],
        execution_graph_fixup=doImportType(fixup)() if fixup else None,
    )


def _start_server() -> None:
    """Start the process that the processes of ``-j`` are forked from.

    Ctrl-C, which a terminal sends to all of them, is left to this process: it
    ends the others. They have locks of their own (Numba's), so that one that is
    ended leaves a semaphore; Python removes it, and need not say so.
    """
    multiprocessing.set_forkserver_preload(list(PRELOADED))
    sys.warnoptions.append("ignore:resource_tracker:UserWarning")  # inherited
    try:
        resource_tracker.ensure_running()  # unblocks signals
    finally:
        sys.warnoptions.pop()
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # inherited
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


class _LabellingExecutor(QuantumExecutor):
    """Names the data in each line that is logged while a quantum is executed, and the reason of a failure."""

    def __init__(self, executor: QuantumExecutor) -> None:
        self._executor = executor

    def execute(
        self,
        task_node: TaskNode,
        /,
        quantum: Quantum,
        quantum_id: UUID | None = None,
        *,
        log_records: ButlerLogRecords | None = None,
    ) -> QuantumExecutionResult:
        """Execute a quantum."""
        assert quantum.dataId is not None
        if parent := multiprocessing.parent_process():
            threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()
        with about(describe(quantum.dataId)):
            try:
                result = self._executor.execute(task_node, quantum, quantum_id, log_records=log_records)
            except Exception as error:
                message = explain(error)
                if message is None:
                    raise
                log.error("%s", message)
                if multiprocessing.parent_process():
                    # The process ends with this error; Python would write its traceback, not knowing
                    # that it was logged. Handlers of the logs keep the real stderr.
                    sys.stderr = open(os.devnull, "w")  # noqa: SIM115, PTH123
                if isinstance(error, RepeatableQuantumError):
                    raise
                raise QuantumError(message) from error
            if result.adjusted_no_work and result.report:
                # A success to LSST's packages; the summary shows it.
                result.report.exceptionInfo = ExceptionInfo(className="NoWorkFound", message=NO_WORK)
            return result


def _end_with(parent: int) -> None:
    """End this process when its parent does: what is left of a dead command must not write to its RUN."""
    wait([parent])
    os._exit(1)
