"""``isr-run --dask ec2:NAME``: a job for the head of a cluster, followed from here, or found again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click

from pipeline.errors import CloudError

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
    job, files = job_submission.prepare(account, jobs, name, line)
    click.echo(f"Submitting the job {job.id} to the cluster {name}.", err=True)
    with _told(
        f"The job may be submitted nevertheless: isr-run --dask {dask} --follow {job.id} tells; look before "
        "you submit it again."
    ):
        jobs.submit(job, files)
    if detach:
        click.echo(f"Show it: isr-run --dask {dask} --follow {job.id}", err=True)
        click.echo(job.id)
        return 0
    click.echo("It is submitted. Ctrl-C leaves it at work.", err=True)
    return _follow(jobs, dask, job.id, job.cluster_id, line.summary)


@contextmanager
def _told(what: str, but: type[CloudError] | tuple[()] = ()) -> Iterator[None]:
    """Say what becomes of a job when something fails here; the same command again would submit another."""
    try:
        yield
    except but:
        raise
    except CloudError as error:
        raise CloudError(f"{error} {what}") from error
    except BaseException:  # Ctrl-C, signals, and what nobody has thought of
        click.echo(what, err=True)
        raise


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


def _follow(jobs: Any, dask: str, job: str, cluster_id: str, summary: str) -> int:
    """Show a job until it ends, or the user has seen enough."""
    from pipeline.cloud.follow import Follower, OverError

    follower = Follower(jobs, dask.removeprefix(KIND), job, cluster_id, summary=summary)
    with _told(
        f"The job goes on on the cluster: isr-run --dask {dask} --follow {job} shows it; do not submit it "
        "again.",
        OverError,
    ):
        try:
            return follower.follow()
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
    from pipeline.cloud import job_submission

    if cancel is None:
        job, document = job_submission.find(jobs, name, follow or "")
        return _follow(jobs, dask, job, str(document.get("cluster_id", "")), summary)
    job_submission.cancel(jobs, name, cancel)
    click.echo(f"The job {cancel} is asked to end. See it: isr-run --dask {dask} --follow {cancel}", err=True)
    return 0
