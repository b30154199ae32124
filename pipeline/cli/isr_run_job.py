"""``isr-run --dask ec2:NAME``: a job for the head of a cluster, followed from here, or found again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import click

__all__ = ["KIND", "cluster_options", "command", "names_job", "submit"]

KIND = "ec2:"
"""What the value of ``--dask`` begins with if the head of a cluster of EC2 executes the command."""


def cluster_options[F: Callable[..., Any] | click.Command](command: F) -> F:
    """Add the options that say where the state of clusters is."""
    options = (
        click.option(
            "--state",
            envvar="ISR_STATE",
            metavar="PLACE",
            help="With --dask ec2:NAME: s3://BUCKET/PREFIX, where the state of your group's clusters is. "
            "[default: ISR_STATE]",
        ),
        click.option("--region", metavar="REGION", help="With --dask ec2:NAME: its AWS region."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def names_job(arguments: Sequence[str]) -> bool:
    """Tell whether a command line is about a job that was submitted before."""
    return any(argument.partition("=")[0] in ("--follow", "--cancel") for argument in arguments)


def submit(ctx: click.Context, dask: str, state: str | None, region: str | None, *, detach: bool) -> int:
    """Submit the command line of ``isr-run -b`` to a cluster, and follow it unless told otherwise.

    Parameters
    ----------
    ctx : `click.Context`
        Of the command, which has parsed its options.
    dask, state, region : `str`
        Values of the options.
    detach : `bool`
        Print the id of the job and leave it alone.

    Returns
    -------
    code : `int`
        Exit code of the job.
    """
    from lsst.daf.butler.cli.utils import MWCtxObj

    from pipeline.cloud import job_submission
    from pipeline.cloud.job_arguments import command_line

    line = command_line(MWCtxObj.getFrom(ctx).args, ctx.command.params)
    if line.summary and detach:
        raise click.UsageError(
            f"--summary {line.summary} is written when the job has ended. With --detach leave it out, and "
            f"say later: isr-run --dask {dask} --follow JOB --summary {line.summary}"
        )
    account, jobs, name = _open(dask, state, region)
    job = job_submission.submit(account, jobs, name, line)
    if detach:
        click.echo(f"Show it: isr-run --dask {dask} --follow {job}", err=True)
        click.echo(job)
        return 0
    click.echo(f"The job {job} is submitted to the cluster {name}. Ctrl-C leaves it at work.", err=True)
    return _follow(jobs, dask, job, line.summary)


def _open(dask: str, state: str | None, region: str | None) -> tuple[Any, Any, str]:
    """Return the account, the jobs of the cluster, and its name."""
    try:
        from pipeline.cloud.aws import Account
        from pipeline.cloud.jobs import Jobs
        from pipeline.cloud.names import check_name, parse_place
    except ModuleNotFoundError as error:
        raise click.ClickException(f"--dask {dask} needs {error.name}: pip install 'hsc-isr[aws]'") from error

    name = dask.removeprefix(KIND)
    if not name or not dask.startswith(KIND):
        raise click.UsageError(
            f"--dask {dask}: expected ec2:NAME, a cluster that isr-cluster up NAME has made "
            "(isr-cluster status lists them)."
        )
    check_name(name)
    if not state:
        raise click.UsageError(
            "Where is the state of your group's clusters? Say it by --state s3://BUCKET/PREFIX, or ISR_STATE."
        )
    place = parse_place(state)
    account = Account(region)
    return account, Jobs(account, place, name), name


def _follow(jobs: Any, dask: str, job: str, summary: str) -> int:
    """Show a job until it ends, or the user has seen enough."""
    from pipeline.cloud.follow import Follower
    from pipeline.cloud.job_submission import find

    name = dask.removeprefix(KIND)
    try:
        job, document = find(jobs, name, job)
        return Follower(jobs, name, job, document["cluster_id"], summary=summary).follow()
    except KeyboardInterrupt:
        click.echo(
            f"The job {job} goes on. Show it: isr-run --dask {dask} --follow {job}\n"
            f"End it: isr-run --dask {dask} --cancel {job}",
            err=True,
        )
        return 130


@click.command("isr-run", context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--dask", required=True, metavar="ec2:NAME", help="The cluster.")
@click.option(
    "--follow",
    metavar="[JOB]",
    is_flag=False,
    flag_value="",
    help="Show a job until it ends; the newest if none is named.",
)
@click.option("--cancel", metavar="JOB", help="End a job: what it has finished is registered.")
@click.option("--summary", metavar="FILE", default="", help="With --follow: write its summary.")
@cluster_options
def command(
    dask: str, follow: str | None, cancel: str | None, summary: str, state: str | None, region: str | None
) -> int:
    """Show or end a job that isr-run -b REPO ... --dask ec2:NAME has submitted.

    Exit code with --follow: that of the job; 130 if you stop showing it, and it goes on.
    """
    if (follow is None) == (cancel is None):
        raise click.UsageError("Either --follow or --cancel.")
    _, jobs, name = _open(dask, state, region)
    if cancel is None:
        return _follow(jobs, dask, follow or "", summary)
    from pipeline.cloud import job_submission

    job_submission.cancel(jobs, name, cancel)
    click.echo(f"The job {cancel} is asked to end. See it: isr-run --dask {dask} --follow {cancel}", err=True)
    return 0
