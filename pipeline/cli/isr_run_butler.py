"""``isr-run -b``: the options of ``pipetask run``."""

from __future__ import annotations

import gc
from typing import Any

import click

__all__ = ["command", "main"]

gc.disable()  # importing makes many objects and no garbage: 0.3 s

from pipeline.overlay import activate  # noqa: E402

activate()  # before LSST's packages define their storage classes

from lsst.ctrl.mpexec.cli.opt import run_options  # noqa: E402
from lsst.ctrl.mpexec.cli.utils import PipetaskCommand, collect_pipeline_actions  # noqa: E402
from lsst.daf.butler.cli.opt import (  # noqa: E402
    log_file_option,
    log_label_option,
    log_level_option,
    log_tty_option,
    long_log_option,
)

from isr.errors import IsrError  # noqa: E402
from pipeline.butler_mode.job import run_job  # noqa: E402
from pipeline.butler_mode.logs import set_up_logging  # noqa: E402
from pipeline.butler_mode.problems import explain  # noqa: E402
from pipeline.cli.isr_run_job import KIND, cluster_options, submit  # noqa: E402
from pipeline.errors import RepositoryError  # noqa: E402

gc.freeze()
gc.set_threshold(100_000)  # loading compiled code makes as many objects, and no garbage either: 0.3 s
gc.enable()


_MODES = (
    "With -b, isr-run reduces data of a repository: -i COLLECTIONS -d QUERY -o OUTPUT. "
    "Files are reduced without it: isr-run RAW --calibs DIR -o OUT (isr-run --help)."
)


class _Command(PipetaskCommand):
    """Parses as ``pipetask run``, but leaves errors to `pipeline.cli.entry`."""

    extra_epilog = "isr-run --help shows how to reduce raw files without a repository."

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.callback = kwargs["callback"]  # upstream has wrapped it in a handler of errors

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse under the name ``run``: that of the section in the files of ``-@``."""
        name, ctx.info_name = ctx.info_name, "run"
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            if isinstance(error, click.NoSuchOption) or "unexpected extra argument" in error.message:
                raise click.UsageError(f"{error.format_message().rstrip('.')}. {_MODES}", ctx) from error
            raise
        finally:
            ctx.info_name = name

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Show this command's name."""
        formatter.write_usage("isr-run", "-b REPO -i INPUTS -o OUTPUT -d QUERY [OPTIONS]")


@click.command("isr-run", cls=_Command, context_settings={"help_option_names": ["-h", "--help"]})
@run_options()
@click.option(
    "--dask",
    metavar="CLUSTER",
    help="Run the quanta on a Dask cluster: local:N (N processes of this machine), tcp://HOST:PORT or "
    "tls://HOST:PORT (a scheduler). Or let a cluster of isr-cluster execute the whole command: ec2:NAME.",
)
@click.option(
    "--status-file",
    metavar="FILE",
    help="With --dask: keep the numbers of quanta that are done, running, failed... in FILE (JSON).",
)
@cluster_options
@click.option(
    "--detach", is_flag=True, help="With --dask ec2:NAME: print the id of the job, and leave it alone."
)
@log_level_option()
@long_log_option()
@log_file_option()
@log_tty_option()
@log_label_option()
@click.version_option(package_name="hsc-isr")
def command(ctx: click.Context, **options: Any) -> int:
    """Run a pipeline on data of a Butler repository.

    Options mean what they mean in `pipetask run`. Without -p and -t the pipeline is ISR for HSC (label isr);
    dataset types are always registered; the same command again completes what is missing: what is done is
    kept, what failed is tried again, new data are added. With another configuration -o gets a new RUN on top.

    \b
    isr-run -b REPO -i HSC/defaults -o u/me/isr -d "visit=903334 AND detector=22"

    With --dask ec2:NAME the command is a job of that cluster: this machine only shows it, and may leave.
    isr-run --dask ec2:NAME --follow [JOB] shows it again, --cancel JOB ends it.

    Exit codes: 0 all done, 1 something failed, 2 wrong usage, 130 interrupted.
    """  # noqa: D301 - click's mark of a paragraph that is not wrapped
    set_up_logging(
        options.pop("log_level"),
        long=options.pop("long_log"),
        files=options.pop("log_file") or (),
        terminal=options.pop("log_tty"),
        labels=dict(options.pop("log_label") or {}),
    )
    try:
        cluster = {name: options.pop(name) for name in ("state", "region", "detach")}
        dask = str(options["dask"] or "")
        if cluster["detach"] and not dask.startswith(KIND):
            raise click.UsageError("--detach is for jobs of a cluster: add --dask ec2:NAME.")
        options = _collect_actions(ctx, options)
        if dask.startswith(KIND):
            return submit(ctx, dask, **cluster)
        return run_job(options)
    except (click.ClickException, click.exceptions.Exit, click.Abort, IsrError):
        raise
    except Exception as error:
        message = explain(error)
        if message is None:
            raise
        raise RepositoryError(message) from error


def _collect_actions(ctx: click.Context, options: dict[str, Any]) -> dict[str, Any]:
    """Let upstream put -t, -c, -C, --delete and --instrument into their order."""
    try:
        return collect_pipeline_actions(ctx, **options)
    except TypeError as error:  # upstream's error of syntax
        raise click.UsageError(
            f"{error}. Expected -t CLASS:LABEL, -c LABEL:FIELD=VALUE, -C LABEL:FILE; "
            "for example -c isr:doFlat=False."
        ) from error


def main(args: list[str]) -> None:
    """Run the command and leave the process with its exit code."""
    from pipeline.cli.entry import run_command

    run_command(command, args)
