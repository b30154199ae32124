"""From bps's generic workflow to one command: ``isr-run -g GRAPH --dask CLUSTER``."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Self

import click
import psutil
from lsst.ctrl.bps import BaseWmsWorkflow, BpsConfig, GenericWorkflow, GenericWorkflowJob
from lsst.ctrl.bps.pre_transform import read_quantum_graph
from lsst.pipe.base.quantum_graph import PredictedQuantumGraph

from pipeline.bps.submission import STATUS, SUMMARY, Submission
from pipeline.execution.clusters import open_cluster

__all__ = ["DaskWorkflow", "find_cluster"]

_MEBIBYTE = 2**20


class DaskWorkflow(BaseWmsWorkflow):  # type: ignore[misc] # LSST's class has no types
    """A workflow that is executed by one driver process; see `lsst.ctrl.bps.BaseWmsWorkflow`.

    Attributes
    ----------
    submission : `Submission`
        What is written to the submit folder.
    """

    submission: Submission

    @classmethod
    def from_generic_workflow(
        cls, config: BpsConfig, generic_workflow: GenericWorkflow, out_prefix: str, service_class: str
    ) -> Self:
        """Make it of bps's workflow.

        The quantum graph of that is executed as a whole. What its jobs
        pipetaskInit and finalJob do, the driver does.

        Raises
        ------
        click.ClickException
            If the configuration asks for what this service cannot do.
        """
        self = cls(generic_workflow.name, config)
        self.service_class, self.submit_path = service_class, out_prefix
        _check(config, generic_workflow)
        graph_file = generic_workflow.get_file("runQgraphFile").src_uri
        graph = read_quantum_graph(graph_file)
        jobs = [generic_workflow.get_job(name) for name in generic_workflow]
        names = ("project", "campaign", "payload", "operator", "runsite")
        self.submission = Submission(
            name=generic_workflow.name,
            tasks=dict(graph.header.n_task_quanta),
            attributes={name: str(generic_workflow.run_attrs[f"bps_{name}"] or "") for name in names},
            options=_options(config, graph, graph_file, jobs, Path(out_prefix)),
            folder=str(Path.cwd()),
        )
        return self

    def write(self, out_prefix: str) -> None:
        """Write the submission to the submit folder."""
        self.submission.write(Path(out_prefix))


def find_cluster(config: BpsConfig) -> str:
    """Return the cluster that a configuration names.

    Raises
    ------
    click.ClickException
        If it names none, or none that ``isr-run --dask`` knows.
    """
    spec = _search(config, "daskCluster")
    if not spec:
        raise click.ClickException(
            "The bps configuration does not name a cluster for the quanta. "
            "Add, for example: daskCluster: local:2"
        )
    try:
        open_cluster(spec)  # does not start it
    except click.UsageError as error:
        raise click.ClickException(f"daskCluster in the bps configuration: {error.message}") from error
    return spec


def _search(config: BpsConfig, key: str) -> str:
    """Return a value of the configuration, also from the section of the site."""
    _, value = config.search(key, opt={"curvals": {"curr_site": config["computeSite"]}, "default": ""})
    return str(value)


def _check(config: BpsConfig, workflow: GenericWorkflow) -> None:
    """Refuse what this service cannot do."""
    if "runQgraphFile" not in {file.name for file in workflow.get_files(data=True, transfer_only=False)}:
        raise click.ClickException(
            "DaskService executes quantum graphs. bps submitcmd and bpsBatchSubmission need another "
            "wmsServiceClass."
        )
    when = _search(config, ".finalJob.whenRun").upper()
    if when != "ALWAYS" or "pipetaskInit" not in workflow.labels:
        raise click.ClickException(
            "DaskService always initialises the RUN and registers what is done: finalJob.whenRun must be "
            f"ALWAYS (it is {when}) and payload.runInit must be true."
        )
    if any(workflow.get_job(name).environment for name in workflow if _is_job(workflow, name)):
        raise click.ClickException(
            "DaskService cannot set variables (environment) for single jobs: export them before bps submit "
            "(daskCluster local:N), or where the workers are started."
        )


def _is_job(workflow: GenericWorkflow, name: str) -> bool:
    return isinstance(workflow.get_job(name), GenericWorkflowJob)


def _options(
    config: BpsConfig,
    graph: PredictedQuantumGraph,
    graph_file: str,
    jobs: Iterable[GenericWorkflowJob],
    folder: Path,
) -> list[str]:
    """Return the options of ``isr-run``."""
    cluster = find_cluster(config)
    quanta = [job for job in jobs if getattr(job, "quanta_counts", None)]
    memory = max(job.request_memory or 0 for job in quanta)
    _check_memory(cluster, memory)
    options = [*shlex.split(_search(config, "runPreCmdOpts")), "-b", str(config["butlerConfig"])]
    options += ["-g", graph_file, "--dask", cluster]
    if graph.header.inputs:
        options += ["-i", ",".join(graph.header.inputs)]
    if graph.header.output:
        options += ["-o", graph.header.output]
    if memory:
        options += ["--memory-per-quantum", f"{memory}MB"]
    options += ["--cores-per-quantum", str(max(job.request_cpus or 1 for job in quanta))]
    if timeout := _search(config, "timeout"):
        options += ["--timeout", timeout]
    options += ["--status-file", str(folder / STATUS), "--summary", str(folder / SUMMARY)]
    options += shlex.split(_search(config, "extraRunQuantumOptions"))
    _check_options(options)
    return options


def _check_options(options: list[str]) -> None:
    """Refuse options that ``isr-run`` would refuse, which nobody would see at once."""
    from pipeline.cli.isr_run_butler import command

    try:
        command.make_context("isr-run", list(options))
    except click.UsageError as error:
        raise click.ClickException(
            "Options for isr-run in the bps configuration (runPreCmdOpts, timeout, extraRunQuantumOptions): "
            f"{error.format_message()}"
        ) from error


def _check_memory(cluster: str, memory: int) -> None:
    """Refuse to share this machine's memory by more workers than it has memory for."""
    kind, _, number = cluster.partition(":")
    there = psutil.virtual_memory().total // _MEBIBYTE
    if kind == "local" and int(number) * memory > there:
        raise click.ClickException(
            f"daskCluster {cluster}, requestMemory {memory}: that is {int(number) * memory} MiB, and this "
            f"machine has {there}. Lower one of them."
        )
