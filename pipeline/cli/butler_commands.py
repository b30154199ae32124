"""Subcommands of ``butler`` that LSST's obs_base has, for installations without it.

The ``butler`` command finds `get_cli_subcommands` through the entry-point group
``butler.cli`` and calls it whenever it runs; so do not import much here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

import click
from lsst.daf.butler.cli.opt import (
    config_file_option,
    config_option,
    locations_argument,
    options_file_option,
    processes_option,
    regex_option,
    repo_argument,
    run_option,
    transfer_option,
    where_option,
)
from lsst.daf.butler.cli.utils import ButlerCommand, split_commas, typeStrAcceptsMultiple
from lsst.pipe.base.cli.opt import instrument_argument

from isr.errors import ConfigError, IsrError

if TYPE_CHECKING:
    from lsst.pex.config import Config

__all__ = ["define_visits", "get_cli_subcommands", "ingest_raws", "write_curated_calibrations"]

FITS_FILES = r"\.fit[s]?\b"
INGEST_TASK = "lsst.obs.base.RawIngestTask"


def get_cli_subcommands() -> list[click.Command]:
    """Return our subcommands; none if obs_base is installed, whose names they have.

    LSST's storage classes and formatters get their meaning in this process, too.
    """
    from pipeline.overlay import activate

    activate()
    return [] if _has_obs_base() else [define_visits, ingest_raws, write_curated_calibrations]


def _has_obs_base() -> bool:
    try:
        return find_spec("lsst.obs.base.cli") is not None  # nothing that the overlay stands in for
    except ModuleNotFoundError:
        return False


@click.command(short_help="Ingest raw frames.", cls=ButlerCommand)
@repo_argument(required=True)
@locations_argument(help="LOCATIONS are files to ingest, and directories to search for files.", required=True)
@regex_option(default=FITS_FILES, help="What names of files in directories must contain.", show_default=True)
@config_option(metavar="TEXT=TEXT", multiple=True)
@config_file_option(type=click.Path(exists=True, writable=False, file_okay=True, dir_okay=False))
@run_option(required=False)
@transfer_option()
@processes_option(help="Number of headers to read at the same time.")
@click.option(
    "--ingest-task", default=INGEST_TASK, show_default=True, help="Only this one: others need LSST's stack."
)
@click.option(
    "--track-file-attrs/--no-track-file-attrs",
    default=True,
    help="Whether the repository remembers sizes of files, and checks them when it reads.",
)
@click.option("--fail-fast", is_flag=True, help="Stop at the first file or exposure that fails.")
@click.option(
    "--update-records/--no-update-records",
    default=False,
    help="Replace exposure records that differ, after headers were corrected.",
)
@click.option(
    "--skip-existing/--no-skip-existing",
    default=True,
    help="Whether raws that are in the repository are passed over, or an error.",
)
@click.option(
    "--search-indexes/--no-search-indexes",
    default=False,
    help="Index files (_index.json) are not read here; headers of the files are.",
)
@options_file_option()
def ingest_raws(
    repo: str,
    locations: Sequence[str],
    regex: str,
    config: Mapping[str, str],
    config_file: str | None,
    output_run: str | None,
    transfer: str,
    processes: int,
    ingest_task: str,
    track_file_attrs: bool,
    fail_fast: bool,
    update_records: bool,
    skip_existing: bool,
    search_indexes: bool,
) -> None:
    """Ingest raw frames into a repository.

    A file that cannot be ingested does not stop the others; they are listed at
    the end, with exit code 1. The same command can be given again.
    """
    if ingest_task != INGEST_TASK:
        raise click.UsageError(
            f"--ingest-task {ingest_task}: only {INGEST_TASK} is possible without LSST's obs_base, and this "
            "package's code takes its place."
        )
    if search_indexes:
        raise click.UsageError(
            "--search-indexes: index files are not read here; leave it out, headers of the files are read."
        )
    with _errors_as_text():
        from pipeline.ingest import RawIngestConfig
        from pipeline.ingest import ingest_raws as ingest
        from pipeline.repository import open_repository

        settings = RawIngestConfig()
        settings.transfer = transfer
        _override(settings, config_file, config)
        settings.failFast |= fail_fast
        with open_repository(repo) as butler:
            report = ingest(
                butler,
                locations,
                settings,
                regex=regex,
                run=output_run,
                processes=processes,
                track_file_attrs=track_file_attrs,
                update_records=update_records,
                skip_existing=skip_existing,
            )
    click.echo(
        f"{len(report.ingested)} raws ingested, {report.skipped} were there, {len(report.failures)} failed "
        f"({report.exposures} exposures)."
    )
    for name, reason in report.failures:
        click.echo(f"Failed: {name}: {reason.removeprefix(f'{name}: ')}", err=True)
    if report.failures:
        raise click.exceptions.Exit(1)


@click.command(short_help="Define visits from exposures.", cls=ButlerCommand)
@repo_argument(required=True)
@instrument_argument(required=True)
@config_file_option(help="Path to a file of overrides, e.g. of the padding of regions.")
@click.option(
    "--collections",
    multiple=True,
    callback=split_commas,
    metavar=typeStrAcceptsMultiple,
    help="Accepted as by LSST, which looks for camera geometry in them; here it comes with the package.",
)
@where_option(help='Which exposures, e.g. "exposure = 903334"; by default all.')
@click.option(
    "--update-records/--no-update-records",
    default=False,
    help="Replace visits that differ, after exposure records were corrected.",
)
@click.option(
    "--incremental/--no-incremental",
    default=False,
    help="Replace visits that differ; their regions only if they moved.",
)
@options_file_option()
def define_visits(
    repo: str,
    instrument: str,
    config_file: str | None,
    collections: Sequence[str],
    where: str,
    update_records: bool,
    incremental: bool,
) -> None:
    """Define visits, and their regions on the sky, from the exposures in a repository.

    Exposures that are not of the sky are left out. The same command can be
    given again.
    """
    with _errors_as_text():
        from pipeline.repository import open_repository
        from pipeline.visits import DefineVisitsConfig
        from pipeline.visits import define_visits as define

        _check_instrument(instrument)
        settings = DefineVisitsConfig()
        _override(settings, config_file, {})
        with open_repository(repo) as butler:
            for name in collections:
                _check_collection(butler, name)
            counts = define(
                butler, settings, where=where, update_records=update_records, incremental=incremental
            )
    click.echo(
        f"{counts.new} visits defined, {counts.updated} updated, {counts.unchanged} were there; "
        f"{counts.not_on_sky} exposures are not of the sky."
    )


@click.command(short_help="Add an instrument's curated calibrations.", cls=ButlerCommand)
@repo_argument(required=True)
@instrument_argument(required=True)
@click.argument("labels_arg", metavar="[LABELS]...", nargs=-1, callback=split_commas)
@click.option(
    "--collection",
    help="CALIBRATION collection. [default: HSC/calib or, if that is a chain, HSC/calib/curated]",
)
@click.option(
    "--label",
    "labels",
    multiple=True,
    help="Part of the names of collections, after those given as LABELS.",
)
@click.option("--prefix", help="Beginning of the names of collections instead of the instrument's name.")
@options_file_option()
def write_curated_calibrations(
    repo: str,
    instrument: str,
    labels_arg: Sequence[str],
    collection: str | None,
    labels: Sequence[str],
    prefix: str | None,
) -> None:
    """Add defects and the brighter-fatter kernel of HSC, with their validity, to a repository.

    What is there already is left alone: the same command can be given again.
    """
    with _errors_as_text():
        from pipeline.curated import write_curated_calibrations as write
        from pipeline.repository import open_repository

        _check_instrument(instrument)
        with open_repository(repo) as butler:
            report = write(butler, collection=collection, labels=(*labels_arg, *labels), prefix=prefix)
    chain = f", which is in {report.chain}" if report.chain else ""
    click.echo(
        f"{report.stored} of {report.total} calibrations stored, {report.certified} certified in "
        f"{report.collection}{chain}."
    )


def _check_instrument(name: str) -> None:
    from pipeline.errors import RepositoryError
    from pipeline.instrument import CLASS_NAME, NAME

    if name not in (NAME, CLASS_NAME, "pipeline.instrument.HyperSuprimeCam"):
        raise RepositoryError(f"INSTRUMENT {name}: only {NAME} ({CLASS_NAME}) is possible here.")


def _check_collection(butler: object, name: str) -> None:
    from lsst.daf.butler import Butler

    from pipeline.certify import collection_type
    from pipeline.errors import RepositoryError

    assert isinstance(butler, Butler)
    if collection_type(butler, name) is None:
        raise RepositoryError(f"--collections {name}: there is no such collection; leave the option out.")


def _override(config: Config, file: str | None, values: Mapping[str, str]) -> None:
    """Apply ``-C`` and then ``-c``."""
    from lsst.pipe.base.configOverrides import ConfigOverrides

    overrides = ConfigOverrides()
    if file:
        overrides.addFileOverride(file)
    for name, value in values.items():
        overrides.addValueOverride(name, value)
    try:
        overrides.applyTo(config)
        config.validate()
    except Exception as error:  # the file is Python: anything may come
        lines = str(error).strip().splitlines()
        raise ConfigError(
            f"{' '.join([*([f'-C {file}'] if file else []), *(f'-c {k}={v}' for k, v in values.items())])}: "
            f"{lines[0] if lines else type(error).__name__}. Known here: {', '.join(config._fields)}."
        ) from error


@contextmanager
def _errors_as_text() -> Iterator[None]:
    """Show a user's mistake as one line, without a traceback."""
    try:
        yield
    except IsrError as error:
        raise click.ClickException(str(error)) from error
