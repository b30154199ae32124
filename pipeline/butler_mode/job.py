"""One command: pipeline, graph, execution, summary."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click
from lsst.ctrl.mpexec._pipeline_graph_factory import PipelineGraphFactory
from lsst.ctrl.mpexec.cli import script
from lsst.ctrl.mpexec.showInfo import ShowInfo
from lsst.daf.butler import Butler, DataCoordinate
from lsst.pipe.base.pipeline_graph import PipelineGraph
from lsst.resources import ResourcePath

from pipeline.butler_mode.building import build_pipeline
from pipeline.butler_mode.chain import collection_type
from pipeline.butler_mode.claim import claim
from pipeline.butler_mode.execute import execute
from pipeline.butler_mode.nothing import explain_empty
from pipeline.butler_mode.rerun import EXPLICIT, find_done, find_done_in_graph, make_plan
from pipeline.butler_mode.summary import print_summary, where_is_it
from pipeline.errors import RepositoryError
from pipeline.execution.journal import recover, where
from pipeline.execution.status_file import StatusFile

if TYPE_CHECKING:
    from pipeline.execution.driver import ClusterExecutor

__all__ = ["run_job"]

log = logging.getLogger(__name__)


def run_job(options: dict[str, Any]) -> int:
    """Run a pipeline.

    Parameters
    ----------
    options : `dict`
        Options of ``pipetask run``, by upstream's names; ``pipeline_actions``
        stands for those that build a pipeline.

    Returns
    -------
    code : `int`
        0 if everything is done, 1 if quanta failed.

    Raises
    ------
    RepositoryError
        If the command does not fit the repository, or there is nothing to do.
    click.UsageError
        If options are missing or contradict each other.
    """
    _phase("imports")
    with _cluster(options):
        return _run(options)


@contextmanager
def _cluster(options: dict[str, Any]) -> Iterator[None]:
    """Start the cluster of ``--dask`` while the graph is built, and end it with the command.

    The graph is saved with what workers need to know; in a temporary file if
    the user does not want it.
    """
    options["cluster"] = None
    spec = options.pop("dask")
    if not spec:
        if options["status_file"]:
            raise click.UsageError("--status-file is for runs on a cluster: add --dask.")
        yield
        return
    from pipeline.execution.clusters import open_cluster

    cluster = open_cluster(spec)
    if options["processes"] > 1:
        raise click.UsageError("-j is for processes without Dask; with --dask the cluster has the workers.")
    with TemporaryDirectory(prefix="isr-run-") as folder:
        options["qgraph_datastore_records"] = True
        if not str(options["qgraph"]).endswith(".qg"):  # else it is there already
            options["save_qgraph"] = options["save_qgraph"] or str(Path(folder) / "graph.qg")
        if not options["show"] and not options["init_only"]:
            options["cluster"] = cluster
            cluster.start()
        try:
            yield
        finally:
            if options["cluster"]:
                cluster.close()


def _run(options: dict[str, Any]) -> int:
    options["input"] = [name for name in options["input"] if name]  # -i "$UNSET"
    summary = ResourcePath(options["summary"]) if options["summary"] else None
    if summary and summary.isLocal and not summary.dirname().exists():
        raise click.UsageError(
            f"--summary {options['summary']}: there is no folder {summary.dirname().ospath}"
        )
    show = _show(options.pop("show"))
    factory = build_pipeline(options, show)
    if show.handled and not show.unhandled:
        return 0
    if options["qgraph"]:
        return _run_saved_graph(options, factory, show)
    if not options["output"] and not options["output_run"]:
        raise click.UsageError(
            "Say where the output goes: -o CHAIN (or --output-run RUN), also for --show of a graph, which "
            "names the output. Is it a variable of the shell that is not set?"
        )
    with _open(options["butler_config"]) as butler:
        run = _prepare(butler, options, factory(resolve=False))
        graph = script.qgraph(factory, for_execution=True, **options["plan"].reading(options), show=show)
        pipeline_graph = factory(resolve=False)
        query = options["data_query"] or ""
        done, example = find_done(butler, run, query, pipeline_graph) if run else (0, None)
        if graph is None:
            if not done:
                raise RepositoryError(explain_empty(butler, options, pipeline_graph))
            return _all_done(butler, run, options, done, example, shows=bool(show.unhandled))
    return _execute(graph, options, show, done)


def _run_saved_graph(options: dict[str, Any], factory: PipelineGraphFactory, show: ShowInfo) -> int:
    # The graph names the RUN, and has its inputs.
    reading = dict.fromkeys(("output", "output_run", "input"))
    reading |= dict.fromkeys(("extend_run", "rebase", "replace_run"), False)
    graph = script.qgraph(factory, for_execution=True, **(options | reading), show=show)
    if graph is None:
        raise RepositoryError(f"The quantum graph {options['qgraph']} (-g) is empty.")
    options["output_run"] = graph.header.output_run
    with _open(options["butler_config"]) as butler:
        run = _prepare(butler, options, graph.pipeline_graph, is_saved=True)
        done = find_done_in_graph(butler, graph) if run else []
        if done and len(done) == len(graph):
            if show.handled:
                return 0
            return _all_done(butler, run, options, len(done), done[0])
    return _execute(graph, options, show, done=len(done), repeated=len(done))


def _prepare(butler: Butler, options: dict[str, Any], graph: PipelineGraph, *, is_saved: bool = False) -> str:
    """Find the RUN to complete, if there is one, and set the options for it."""
    options["plan"] = make_plan(butler, options, graph, is_saved=is_saved)
    run = options["plan"].run
    if run:
        _recover(butler, options["butler_config"], run)
    if run and not any(options[name] for name in EXPLICIT):
        log.info("Completing the RUN %s: what is done is kept", run)
        options.update(extend_run=True, clobber_outputs=True)
    return str(run)


def _all_done(
    butler: Butler,
    run: str,
    options: Mapping[str, Any],
    done: int,
    example: DataCoordinate | None,
    *,
    shows: bool = False,
) -> int:
    StatusFile(options["status_file"]).enter("end")
    click.echo(f"Everything was already done: {_quanta(done)} in RUN {run}.", err=True)
    if shows:
        click.echo("So the graph is empty, and --show has nothing to show.", err=True)
    chain = options["output"]
    children = butler.collections.get_info(chain).children if chain and collection_type(butler, chain) else ()
    click.echo(where_is_it(run, options, example, is_first=run in children[:1]), err=True)
    click.echo(run)
    return 0


def _recover(butler: Butler, repository: str, run: str) -> None:
    """Register what a command on a cluster had finished in a RUN before it was lost."""
    if where(repository, run).exists():
        with claim(repository, run):
            recover(repository, run)
        butler.registry.refresh()


def _execute(graph: Any, options: Mapping[str, Any], show: ShowInfo, done: int, repeated: int = 0) -> int:
    """Execute a graph.

    ``done`` quanta were done before, ``repeated`` of them are in the graph.
    """
    _phase("graph")
    if show.handled:
        return 0
    run = graph.header.output_run
    complete: list[bool] = []
    with claim(options["butler_config"], run):
        execute(
            graph,
            options,
            lambda report: complete.append(
                print_summary(report, len(graph), done, run, options, repeated=repeated)
            ),
            _on_cluster(options),
        )
    _phase("execution")
    click.echo(run)
    if not complete:
        click.echo("The RUN is initialised, nothing was executed (--init-only).", err=True)
    return 0 if all(complete) else 1


def _on_cluster(options: Mapping[str, Any]) -> ClusterExecutor | None:
    """Return what executes the quanta on the cluster of ``--dask``."""
    if not options["cluster"]:
        return None
    from pipeline.execution.driver import ClusterExecutor

    return ClusterExecutor(options["cluster"], options, options["save_qgraph"] or options["qgraph"])


def _open(repository: str) -> Butler:
    try:
        return Butler.from_config(repository, writeable=False)
    except FileNotFoundError as error:
        if "://" in repository:
            remedy = (
                f"Is the name of the bucket right? An empty one is made by: isr-repo create --db "
                f"postgresql://HOST/DATABASE --root {repository}"
            )
        else:
            remedy = f"Make one with simulated data by: isr-repo demo {repository}"
        raise RepositoryError(
            f"{repository}: there is no Butler repository (no butler.yaml). {remedy}"
        ) from error


def _show(values: list[str]) -> ShowInfo:
    try:
        return ShowInfo(list(values), stream=sys.stdout)
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def _quanta(count: int) -> str:
    return "1 quantum" if count == 1 else f"{count} quanta"


def _phase(name: str) -> None:
    """Log how much CPU time was used so far; benchmarks/bench_job.py reads it."""
    log.debug("Phase %s ended at %.3f s of CPU time", name, time.process_time())
