"""From bps's generic workflow to one command: ``isr-run -g GRAPH --dask CLUSTER``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Self

import click
import psutil
from lsst.ctrl.bps import BaseWmsWorkflow, BpsConfig, GenericWorkflow, GenericWorkflowJob
from lsst.ctrl.bps.pre_transform import read_quantum_graph
from lsst.pipe.base.quantum_graph import PredictedQuantumGraph

from pipeline.bps.submission import STATUS, SUMMARY, Submission
from pipeline.execution.clusters import open_cluster

__all__ = ["DaskWorkflow", "check_configuration"]

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
        resources = _resources(generic_workflow, _cluster(config))
        graph_file = generic_workflow.get_file("runQgraphFile").src_uri
        graph = read_quantum_graph(graph_file)
        names = ("project", "campaign", "payload", "operator", "runsite")
        self.submission = Submission(
            name=generic_workflow.name,
            tasks=dict(graph.header.n_task_quanta),
            attributes={name: str(generic_workflow.run_attrs[f"bps_{name}"] or "") for name in names},
            options=[
                *("-b", str(config["butlerConfig"]), "-g", graph_file, "--dask", _cluster(config)),
                *_collections(graph),
                *resources,
                *("--status-file", str(Path(out_prefix) / STATUS)),
                *("--summary", str(Path(out_prefix) / SUMMARY)),
                *_users_options(config),
            ],
            folder=str(Path.cwd()),
        )
        return self

    def write(self, out_prefix: str) -> None:
        """Write the submission to the submit folder."""
        self.submission.write(Path(out_prefix))


def check_configuration(config: BpsConfig) -> None:
    """Refuse a configuration that cannot be executed, before anything is made.

    Raises
    ------
    click.ClickException
        If it names no cluster or one that ``isr-run --dask`` does not know,
        options that ``isr-run`` does not know, or wants less than the whole.
    """
    _cluster(config)
    _check_options(_users_options(config))
    when = _search(config, ".finalJob.whenRun").upper()
    if when != "ALWAYS" or not config["runInit"]:
        raise click.ClickException(
            "DaskService always initialises the RUN and registers what is done: finalJob.whenRun must be "
            f"ALWAYS (it is {when}), payload.runInit must be true."
        )
    if "ordering" in config:
        raise click.ClickException(
            "DaskService executes quanta as soon as their inputs are there: leave ordering out."
        )


def _cluster(config: BpsConfig) -> str:
    """Return the cluster that a configuration names."""
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


def _resources(workflow: GenericWorkflow, cluster: str) -> list[str]:
    """Return options for what the jobs request; refuse what cannot be given."""
    if "runQgraphFile" not in {file.name for file in workflow.get_files(data=True, transfer_only=False)}:
        raise click.ClickException(
            "DaskService executes quantum graphs. bps submitcmd and bpsBatchSubmission need another "
            "wmsServiceClass."
        )
    nodes = [workflow.get_job(name) for name in workflow]
    jobs = [node for node in nodes if isinstance(node, GenericWorkflowJob) and node.quanta_counts]
    if any(job.environment for job in jobs):
        raise click.ClickException(
            "DaskService cannot set variables (environment) for single jobs: export them before bps submit "
            "(daskCluster local:N), or where the workers are started."
        )
    memory = max(job.request_memory or 0 for job in jobs)
    _check_memory(cluster, memory)
    cores = max(job.request_cpus or 1 for job in jobs)
    return ["--cores-per-quantum", str(cores), *(["--memory-per-quantum", f"{memory}MB"] if memory else [])]


def _collections(graph: PredictedQuantumGraph) -> list[str]:
    """Return options for the chain that gets the RUN."""
    inputs, output = graph.header.inputs, graph.header.output
    return [*(["-i", ",".join(inputs)] if inputs else []), *(["-o", output] if output else [])]


def _users_options(config: BpsConfig) -> list[str]:
    """Return the options of ``isr-run`` that the user has written as such."""
    timeout = _search(config, "timeout")
    return [
        *shlex.split(_search(config, "runPreCmdOpts")),
        *(["--timeout", timeout] if timeout else []),
        *shlex.split(_search(config, "extraRunQuantumOptions")),
    ]


def _check_options(options: list[str]) -> None:
    """Refuse options that ``isr-run`` would refuse, which nobody would see at once."""
    from pipeline.cli.isr_run_butler import command

    try:
        command.make_context("isr-run", ["-b", "REPO", *options])
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
