"""``isr-run``: instrument signature removal from the command line."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Literal

import click

from pipeline import objects
from pipeline.cli.isr_run_job import names_job
from pipeline.cli.startup import save_cpu, without_unused_packages
from pipeline.logs import log_options, set_up_logging

if TYPE_CHECKING:
    from pipeline.file_mode import Outcome

__all__ = ["main", "names_butler"]

KINDS = ("bias", "dark", "flat", "defects", "fringe", "linearizer", "crosstalk", "bfKernel", "yBackground")


class _FileCommand(click.Command):
    """Says to whom an unknown option belongs."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse; an option that is not known may be one of ``pipetask run``."""
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            raise click.UsageError(
                f"{error.format_message().rstrip('.')}. Without -b, isr-run reduces raw files: isr-run RAW "
                "--calibs DIR -o OUT. With -b REPO it takes the options of pipetask run "
                "(isr-run -b REPO --help).",
                ctx,
            ) from error


@click.command(cls=_FileCommand, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("raws", nargs=-1, required=True, metavar="RAW [RAW ...]")
@click.option(
    "--calibs",
    required=True,
    metavar="DIR",
    help="Directory or s3:// prefix with calibs.csv and calibrations.",
)
@click.option(
    "-o",
    "--output",
    required=True,
    metavar="OUT",
    help="Directory or s3:// prefix for the output, or a name ending in .fits for a single raw.",
)
@click.option(
    "-c", "--config", "values", multiple=True, metavar="NAME=VALUE", help="Set a configuration field."
)
@click.option(
    "-C", "--config-file", "files", multiple=True, metavar="FILE", help="Configuration override file."
)
@click.option(
    "--force-calib",
    "force",
    multiple=True,
    type=click.Choice(KINDS),
    help="Use this calibration even if it is of another detector, filter, unit or date; the header says so.",
)
@click.option(
    "--compress",
    "compression",
    type=click.Choice(("none", "gzip2")),
    default="none",
    show_default=True,
    help="gzip2: lossless tiles, as LSST's Butler writes.",
)
@click.option("--overwrite", is_flag=True, help="Replace outputs that exist.")
@click.option("--quicklook", is_flag=True, help="Also write a PNG: raw, result and mask.")
@log_options
@click.version_option(package_name="hsc-isr")
def command(
    raws: tuple[str, ...],
    calibs: str,
    output: str,
    values: tuple[str, ...],
    files: tuple[str, ...],
    force: tuple[str, ...],
    compression: Literal["none", "gzip2"],
    overwrite: bool,
    quicklook: bool,
    log_levels: tuple[str, ...],
    long_log: bool,
    log_file: str | None,
) -> int:
    """Remove the instrument signature from HSC raw files.

    RAW is a FITS file (plain, .fz or .gz), local or s3://. Raws are reduced
    one after the other; one that fails does not stop the others.

    With -b REPO, data of a Butler repository are reduced instead of files,
    with the options of `pipetask run`; isr-run -b REPO --help lists them.

    Exit codes: 0 all done, 1 something failed, 2 wrong usage, 130 interrupted.
    """
    set_up_logging(log_levels, long_log, log_file)
    if output.endswith(".fits") and len(raws) > 1:
        raise click.UsageError(
            f"-o {output} names one file, but there are {len(raws)} raws; give a directory."
        )
    # Late, so that --help and --version stay quick.
    with without_unused_packages():
        from isr.errors import ConfigError
        from pipeline.cli.config_options import build_config
        from pipeline.file_mode import FileJob

    try:
        config = build_config(files, values)
    except ConfigError as error:
        raise click.UsageError(str(error)) from error
    objects.check_writable(_folder(output))
    job = FileJob(calibs, output, config, force, compression, overwrite, quicklook, keep_calibs=len(raws) > 1)
    outcomes: list[Outcome] = []
    try:
        with without_unused_packages():  # numba imports most of itself when the first kernel is called
            outcomes.extend(job.reduce_all(_progress(raws)))
    finally:
        _report(outcomes, len(raws))
    return 1 if any(outcome.error for outcome in outcomes) else 0


def _folder(output: str) -> str:
    """Return the folder or prefix that will be written to."""
    if not output.endswith(".fits"):
        return output
    if objects.is_remote(output) and output.count("/") < 3:
        raise click.UsageError(
            f"-o {output}: names a bucket, not a file in it; expected s3://BUCKET/NAME.fits."
        )
    folder, slash, _ = output.rpartition("/")
    return folder or slash or "."


def _progress(raws: tuple[str, ...]) -> Iterable[str]:
    """Show a progress bar on a terminal if there are several raws."""
    if len(raws) == 1 or not sys.stderr.isatty():
        return raws
    from rich.console import Console
    from rich.progress import track

    return track(raws, "Reducing", console=Console(stderr=True))


def _report(outcomes: list[Outcome], wanted: int) -> None:
    """Say what was done, a line for each raw, and print the outputs on stdout."""
    for outcome in outcomes:
        name, seconds = outcome.raw.rpartition("/")[2], f"{outcome.seconds:.2f} s"
        if outcome.error:
            click.secho(f"failed  {name}  {seconds}  {outcome.error}", fg="red", err=True)
        else:
            done = click.style("done", fg="green")
            files = ", ".join(filter(None, (outcome.output, outcome.picture)))
            click.echo(f"{done}    {name}  {seconds}  {files}", err=True)
    failed = sum(bool(outcome.error) for outcome in outcomes)
    click.echo(
        f"{len(outcomes) - failed} done, {failed} failed, {wanted - len(outcomes)} not started. "
        "Look at a result: ds9 FILE, or in Python isr.read_exposure('FILE').show().",
        err=True,
    )
    for outcome in outcomes:
        for path in filter(None, (outcome.output, outcome.picture)):
            click.echo(path)


def names_butler(arguments: Sequence[str]) -> bool:
    """Tell whether a command line is about a Butler repository: ``-b``, or a file of options, ``-@``."""
    return any(
        argument.startswith(("-b", "-@"))
        or argument.partition("=")[0] in ("--butler-config", "--options-file")
        for argument in arguments
    )


def main() -> None:
    """Entry point of ``isr-run``."""
    try:
        _main(sys.argv[1:])
    except KeyboardInterrupt:  # while modules are imported; later it is caught where there is more to say
        click.echo("Interrupted before anything was done.", err=True)
        sys.exit(130)


def _main(arguments: list[str]) -> None:
    save_cpu()
    if names_job(arguments):
        from pipeline.cli.entry import run_command
        from pipeline.cli.isr_run_job import command as job_command

        run_command(job_command, arguments)
    if names_butler(arguments):
        from pipeline.cli.tutorial2019 import modernise

        try:
            arguments = modernise(arguments)
        except click.UsageError as error:
            error.show()
            sys.exit(error.exit_code)
        from pipeline.cli.isr_run_butler import main as butler_main  # LSST's packages: two seconds

        butler_main(arguments)
    from pipeline.cli.entry import run_command

    run_command(command)
