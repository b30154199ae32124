"""A quantum graph on a cluster, from the check of its workers to the registered output."""

from __future__ import annotations

import logging
import sys
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import astropy.units as u
from lsst.pipe.base import ExecutionResources
from lsst.pipe.base.quantum_graph_executor import QuantumGraphExecutor
from rich.console import Console

from pipeline.errors import RepositoryError
from pipeline.execution import journal
from pipeline.execution.ask import ask_workers, do_within
from pipeline.execution.context import ContextPlugin, RunContext
from pipeline.execution.environment import versions
from pipeline.execution.graph_executor import DaskGraphExecutor
from pipeline.execution.ledger import Ledger
from pipeline.execution.progress import Progress
from pipeline.execution.status_file import StatusFile
from pipeline.execution.timings import Timings, percentile_table, summary_document
from pipeline.execution.worker import cache_statistics, current_run

if TYPE_CHECKING:
    from distributed import Client
    from lsst.pipe.base.quantum_graph import PredictedQuantumGraph
    from lsst.pipe.base.quantum_reports import Report

    from pipeline.execution.clusters import Cluster

__all__ = ["ClusterExecutor"]

log = logging.getLogger(__name__)

CACHE_MEMORY = 512 * 2**20
"""Bytes of decoded calibrations that each worker keeps: about five detectors' bias, dark and flat."""

CACHE_DISK = 20 * 2**30
"""Bytes of decoded calibrations on the local disk of each host: about 200 detectors."""

_TABLE_WIDTH = 100
_PATIENCE = 600.0  # seconds for quanta of a driver that was lost
_ANSWER_SECONDS = 10.0  # for a worker to say what it does
_LOGGERS = ("", "lsst", "isr", "pipeline")


class ClusterExecutor(QuantumGraphExecutor):
    """Executes a quantum graph on a cluster and registers the output, whatever happens.

    Parameters
    ----------
    cluster : `pipeline.execution.clusters.Cluster`
        The workers; started already, closed at the end.
    options : `~collections.abc.Mapping`
        Options of ``pipetask run``, by upstream's names.
    graph_file : `str`
        File that holds the graph; it is kept with the RUN until the output is registered.
    """

    def __init__(self, cluster: Cluster, options: Mapping[str, Any], graph_file: str) -> None:
        self._cluster, self._options, self._graph_file = cluster, options, graph_file
        self._repository = str(options["butler_config"])
        self._ledger: Ledger | None = None
        self._status = StatusFile(options["status_file"])
        self._timings = Timings()
        self._workers = 0
        self._cache: dict[str, int] = {}
        self._seconds: dict[str, float] = {}

    def execute(
        self,
        graph: PredictedQuantumGraph,  # type: ignore[override] # graphs of the old kind are converted before
        *,
        provenance_graph_file: str | None = None,
    ) -> None:
        """Execute a quantum graph; failures are in the report.

        Raises
        ------
        RepositoryError
            If there are no workers, they are not fit, or the cluster is lost.
        """
        _check_records(graph)
        run = graph.header.output_run
        self._status.enter("cluster")
        with _measured(self._seconds, "cluster"):
            client = self._cluster.connect()
        context = self._context(graph, run)
        _wait_for_strays(client, run)
        place = journal.save(self._graph_file, self._repository, run)
        try:
            with _measured(self._seconds, "execution"):
                self._execute(client, context, graph, provenance_graph_file)
        finally:
            try:
                self._leave(client, context)
            finally:  # also if the user does not want to wait for the workers
                self._register(graph)
                place.remove()
            self._status.enter("end")
            self._print_timings()

    def _leave(self, client: Client, context: RunContext) -> None:
        """End the workers of this command before others may write to the RUN; leave those of others."""
        with suppress(Exception):  # the cluster may be lost
            self._cache = _cache_statistics(client)
            do_within(client, lambda: client.unregister_worker_plugin(context.name), _ANSWER_SECONDS)
        self._cluster.close()

    def _register(self, graph: PredictedQuantumGraph) -> None:
        self._status.enter("registration")
        with _measured(self._seconds, "registration"):
            is_done, abandoned = (
                (self._ledger.is_done, self._ledger.abandoned) if self._ledger else ({}, set())
            )
            count = journal.register(self._repository, graph, is_done, abandoned)
        log.info("Registered %d datasets", count)

    def _execute(
        self,
        client: Client,
        context: RunContext,
        graph: PredictedQuantumGraph,
        provenance_graph_file: str | None,
    ) -> None:
        do_within(client, lambda: client.register_plugin(ContextPlugin(context)), _ANSWER_SECONDS)
        totals = {label: len(quanta) for label, quanta in graph.quanta_by_task.items()}
        self._status.enter("execution")
        with Progress(totals, _dashboard(client)) as progress, self._status.follow(progress.snapshot):
            self._ledger = Ledger(graph, progress, self._timings)
            executor = DaskGraphExecutor(
                client,
                context.name,
                progress,
                self._ledger,
                versions=context.versions,
                is_new=not (self._options["extend_run"] or self._options["skip_existing"]),
                timeout=self._options["timeout"],
                fail_fast=self._options["fail_fast"],
            )
            executor.execute(graph, provenance_graph_file=provenance_graph_file)
            self._workers = executor.most_workers

    def getReport(self) -> Report | None:  # noqa: N802
        """Return what became of the quanta; `None` if nothing was executed."""
        return self._ledger.report if self._ledger else None

    def summary(self) -> dict[str, Any]:
        """Return what ``--summary`` writes: upstream's report, and what was measured."""
        assert self._ledger is not None
        document = summary_document(
            self._ledger.report,
            self._timings,
            workers=self._workers,
            retries=self._ledger.retries,
            wall_seconds=self._seconds["execution"],
            cache=self._cache,
        )
        document["execution"]["seconds"] = {name: round(value, 3) for name, value in self._seconds.items()}
        return document

    def _context(self, graph: PredictedQuantumGraph, run: str) -> RunContext:
        options = self._options
        return RunContext.of_graph(
            graph,
            name=f"isr-run-{uuid.uuid4().hex[:12]}",
            run=run,
            butler_config=self._repository,
            options={
                "clobber_outputs": True,
                "raise_on_partial_outputs": options["raise_on_partial_outputs"],
                "enable_lsst_debug": options["debug"],
                "resources": ExecutionResources(
                    num_cores=options["cores_per_quantum"],
                    max_mem=options["memory_per_quantum"],
                    default_mem_units=u.MB,
                ),
            },
            # The log of a quantum is complete whatever the terminal shows.
            log_levels={
                name: min(logging.getLogger(name).level or logging.INFO, logging.INFO) for name in _LOGGERS
            },
            versions=versions(),
            cache_memory=CACHE_MEMORY,
            cache_disk=CACHE_DISK,
        )

    def _print_timings(self) -> None:
        if len(self._timings):
            width = None if sys.stderr.isatty() else _TABLE_WIDTH
            Console(stderr=True, width=width).print(percentile_table(self._timings))
        parts = ", ".join(f"{name} {value:.1f} s" for name, value in self._seconds.items())
        log.info("Wall time: %s; %d retries; calibrations: %s", parts, self._retries, _words(self._cache))

    @property
    def _retries(self) -> int:
        return self._ledger.retries if self._ledger else 0


@contextmanager
def _measured(seconds: dict[str, float], name: str) -> Iterator[None]:
    start = time.perf_counter()
    try:
        yield
    finally:
        seconds[name] = time.perf_counter() - start


def _check_records(graph: PredictedQuantumGraph) -> None:
    """Refuse a saved graph from which workers cannot tell where their inputs are."""
    quantum = journal.take_quantum(graph, next(iter(graph)))
    has_records = any(data.records for data in quantum.datastore_records.values())
    if any(quantum.inputs.values()) and not has_records:
        raise RepositoryError(
            "The saved quantum graph (-g) does not say where its inputs are, which workers without a "
            "database need. Save it with: pipetask qgraph --qgraph-datastore-records ..."
        )


def _wait_for_strays(client: Client, run: str) -> None:
    """Let quanta end that a lost driver has left at work in the same RUN."""
    deadline = time.monotonic() + _PATIENCE
    while strays := _busy_with(client, run):
        if time.monotonic() > deadline:
            raise RepositoryError(
                f"The workers {', '.join(strays[:3])} are still busy with quanta of the RUN {run} from an "
                "earlier command. Restart them, then give the same command again."
            )
        log.info("Waiting for %d quanta of an earlier command in the RUN %s", len(strays), run)
        time.sleep(2.0)


def _busy_with(client: Client, run: str) -> list[str]:
    """Return the workers that say that they are at work for a RUN."""
    answers = ask_workers(client, current_run, seconds=_ANSWER_SECONDS)
    return [worker for worker, answer in answers.items() if answer == run]


def _dashboard(client: Client) -> str:
    """Return the address of Dask's dashboard, which needs bokeh."""
    return str(client.dashboard_link) if find_spec("bokeh") else ""


def _cache_statistics(client: Client) -> dict[str, int]:
    """Sum what the caches of the workers were good for."""
    total: Counter[str] = Counter()
    for statistics in ask_workers(client, cache_statistics, seconds=_ANSWER_SECONDS).values():
        if isinstance(statistics, dict):  # else the worker does not answer
            total.update(statistics)
    return dict(total)


def _words(cache: Mapping[str, int]) -> str:
    if not cache:
        return "no cache"
    return (
        f"{cache.get('misses', 0)} decoded, {cache.get('disk_hits', 0)} mapped from the disk cache, "
        f"{cache.get('memory_hits', 0)} found in memory"
    )
