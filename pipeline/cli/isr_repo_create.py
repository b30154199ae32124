"""``isr-repo create`` and ``isr-repo ingest-calibs``: Butler repositories."""

from __future__ import annotations

import click

from pipeline.logs import log_options, set_up_logging

__all__ = ["TRANSFERS", "create", "ingest_calibs", "load_butler"]

TRANSFERS = ("auto", "link", "symlink", "hardlink", "copy", "move", "relsymlink", "direct")


@click.command()
@click.argument("repo", required=False)
@click.option("--root", metavar="URI", help="The same as REPO, e.g. s3://bucket/prefix.")
@click.option(
    "--db",
    metavar="URL",
    help="postgresql://host/database for the registry. [default: an SQLite file in REPO]",
)
@click.option("--schema", metavar="NAME", help="Schema of the tables in the database.")
@log_options
def create(
    repo: str | None,
    root: str | None,
    db: str | None,
    schema: str | None,
    log_levels: tuple[str, ...],
    long_log: bool,
    log_file: str | None,
) -> None:
    """Make a Butler repository for HSC in the directory (or s3:// prefix) REPO.

    HSC, the dataset types of the ISR and the collections HSC/raw/all,
    HSC/calib and HSC/defaults are registered. In a repository of HSC that is
    there already what is missing is added, nothing is changed.

    User and password of the database come from the file that LSST_DB_AUTH
    names, S3 is found by the AWS variables.

    Exit codes: 0 done, 1 error (nothing is left behind), 2 wrong usage.
    """
    set_up_logging(log_levels, long_log, log_file)
    if (repo is None) == (root is None):
        raise click.UsageError("Give REPO or --root, one of them.")
    place = repo or root or ""
    load_butler()
    from pipeline.repository import create_repository

    if create_repository(place, db=db, schema=schema):
        click.echo(f"Made the repository {place}. Next: butler ingest-raws {place} DIRECTORY", err=True)
    else:
        click.echo(f"{place} is a repository of HSC already; it is complete.", err=True)


@click.command()
@click.argument("repo")
@click.argument("directory", metavar="DIR")
@click.option("--label", default="ingested", show_default=True, help="Collections are named HSC/calib/LABEL.")
@click.option(
    "-t",
    "--transfer",
    type=click.Choice(TRANSFERS),
    default="auto",
    show_default=True,
    help="How files get into the repository, as in butler ingest-raws.",
)
@log_options
def ingest_calibs(
    repo: str,
    directory: str,
    label: str,
    transfer: str,
    log_levels: tuple[str, ...],
    long_log: bool,
    log_file: str | None,
) -> None:
    """Put the calibrations of DIR into a Butler repository, with their validity.

    DIR is a directory or an s3:// prefix with the index calibs.csv. All of it
    is ingested, or nothing; the same command can be given again.

    Exit codes: 0 done, 1 error, 2 wrong usage.
    """
    set_up_logging(log_levels, long_log, log_file)
    load_butler()
    from pipeline.calibs import ingest_calibs as ingest
    from pipeline.repository import open_repository

    with open_repository(repo) as butler:
        report = ingest(butler, directory, label=label, transfer=transfer)
    for kind in sorted(report.new | report.kept):
        click.echo(f"{kind}: {report.new[kind]} ingested, {report.kept[kind]} were there", err=True)
    where = f", first in {report.chain}" if report.chain else f"; use it with -i {report.collection},..."
    click.echo(f"{report.certified} certified in {report.collection}{where}.", err=True)


def load_butler() -> None:
    """Import LSST's Butler and give its names their meaning here.

    Raises
    ------
    IsrError
        If it is not installed.
    """
    from pipeline.errors import RepositoryError

    try:
        import lsst.daf.butler  # noqa: F401
    except ModuleNotFoundError as error:
        raise RepositoryError(f"Repositories need {error.name}: pip install 'hsc-isr[butler]'") from None
    from pipeline.overlay import activate

    activate()
