"""``isr-repo demo``: a Butler repository with simulated data, ready for ``pipetask``."""

from __future__ import annotations

from collections.abc import Sequence

import click

from pipeline.cli.isr_repo_simulate import pairs_to_simulate, processes_option, show_progress
from pipeline.logs import log_options, set_up_logging

__all__ = ["demo"]

LABEL = "demo"
CI_HSC = "shared/ci_hsc"
TUTORIAL_CALIBS = "calib"
PIPELINE = "resource://pipeline/pipelines/visit.yaml"


@click.command()
@click.argument("directory", metavar="DIR")
@click.option(
    "--visit",
    "visits",
    type=int,
    multiple=True,
    default=(903334,),
    show_default=True,
    help="Visit to simulate; repeatable.",
)
@click.option(
    "--detectors", metavar="ID,ID,...", help="Detectors, e.g. 22,23. [default: those of the visit in ci_hsc]"
)
@click.option(
    "--all",
    "spread",
    is_flag=True,
    help="33 detectors all over the focal plane (4, 7, ... 22, ... 100): 4.1 GB.",
)
@processes_option
@log_options
def demo(
    directory: str,
    visits: tuple[int, ...],
    detectors: str | None,
    spread: bool,
    processes: int,
    log_levels: tuple[str, ...],
    long_log: bool,
    log_file: str | None,
) -> None:
    """Make a Butler repository with simulated raws and calibrations in DIR.

    Files are simulated in DIR/data and linked into the repository, so that they
    need their place on the disk once. Beside the usual collections there are
    "calib" and "shared/ci_hsc", as in the tutorial of 2019. The same command can
    be given again, also with other visits and detectors.

    Exit codes: 0 done, 1 error, 2 wrong usage, 130 interrupted.
    """
    set_up_logging(log_levels, long_log, log_file)
    from pipeline import objects
    from pipeline.cli.isr_repo_create import load_butler
    from pipeline.errors import RepositoryError

    if objects.is_remote(directory):
        raise RepositoryError(f"{directory}: the demonstration goes into a directory of this machine.")
    from pipeline.simulated_data import SPREAD, SimulationJob

    if spread:
        if detectors:
            raise click.UsageError("--all does not take --detectors.")
        detectors = ",".join(map(str, SPREAD))
    pairs = pairs_to_simulate(visits, detectors, False)
    load_butler()
    from isr.hsc import camera
    from pipeline.repository import create_repository

    create_repository(directory)
    data = objects.join(directory, "data")
    for _ in show_progress(SimulationJob(data, camera()), pairs, processes):
        pass
    _fill(directory, data)
    _tell(directory, *pairs[0])
    if spread:
        _tell_pipeline(directory, visits, len(pairs))


def _fill(directory: str, data: str) -> None:
    """Ingest and certify what was simulated."""
    from pipeline import objects
    from pipeline.calibs import ingest_calibs
    from pipeline.curated import write_curated_calibrations
    from pipeline.errors import RepositoryError
    from pipeline.ingest import RawIngestConfig, ingest_raws
    from pipeline.repository import CALIBS, RAWS, make_chain, open_repository
    from pipeline.visits import define_visits

    config = RawIngestConfig()
    config.transfer = "link"
    config.failFast = True
    with open_repository(directory) as butler:
        raws = ingest_raws(butler, [objects.join(data, "raw")], config)
        visits = define_visits(butler)
        curated = write_curated_calibrations(butler)
        calibs = ingest_calibs(butler, data, label=LABEL, transfer="link")
        if not curated.chain or not calibs.chain:
            raise RepositoryError(f"{directory}: {CALIBS} is not a chain; choose another directory.")
        make_chain(butler, CI_HSC, (RAWS,))
        make_chain(butler, TUTORIAL_CALIBS, (CALIBS,))
    click.echo(
        f"{directory}: {len(raws.ingested) + raws.skipped} raws, {visits.new + visits.unchanged} visits, "
        f"{(calibs.new + calibs.kept).total()} calibrations and {curated.total} curated ones.",
        err=True,
    )


def _tell(directory: str, visit: int, detector: int) -> None:
    """Print what to type next."""
    where = f'-d "visit={visit} AND detector={detector}"'
    common = f"-b {directory} -i HSC/defaults -o u/$USER/isr"
    click.echo("Reduce one detector with:", err=True)
    click.echo(f"isr-run {common} {where}")
    click.echo("or with Rubin's own command:", err=True)
    click.echo(f"pipetask run {common} --register-dataset-types -t pipeline.task.IsrTask:isr {where}")


def _tell_pipeline(directory: str, visits: Sequence[int], raws: int) -> None:
    """Print how to reduce everything."""
    numbers = ", ".join(map(str, visits))
    where = f"visit={numbers}" if len(visits) == 1 else f"visit IN ({numbers})"
    click.echo(
        f"or all {raws}, with numbers and a picture of each ({3 * raws} quanta), by two workers:", err=True
    )
    click.echo(
        f'isr-run -b {directory} -i HSC/defaults -o u/$USER/visit -p {PIPELINE} --dask local:2 -d "{where}"'
    )
