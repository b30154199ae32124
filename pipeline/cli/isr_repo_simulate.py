"""``isr-repo simulate``: raw files and calibrations to work with."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import click

from pipeline.logs import log_options, set_up_logging

if TYPE_CHECKING:
    from pipeline.simulated_data import SimulationJob, Stored

__all__ = ["pairs_to_simulate", "processes_option", "show_progress", "simulate"]

processes_option = click.option(
    "-j",
    "--processes",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Detectors that are simulated at the same time; each takes 0.7 GB of memory.",
)


@click.command()
@click.argument("directory", metavar="DIR")
@click.option(
    "--visit", "visits", type=int, multiple=True, help="Visit to simulate, e.g. 903334; repeatable."
)
@click.option(
    "--detectors",
    metavar="ID,ID,...",
    help="Detectors, e.g. 16,22,23,100. [default: those of the visit in ci_hsc]",
)
@click.option("--all", "everything", is_flag=True, help="All 33 visit-detector pairs of ci_hsc.")
@click.option(
    "--filter", "physical_filter", metavar="NAME", help="e.g. HSC-R. [default: as in ci_hsc, or HSC-R]"
)
@click.option(
    "--exptime",
    "exposure_time",
    type=click.FloatRange(min=0.0),
    metavar="SECONDS",
    help="Exposure time. [default: as in ci_hsc, or 30]",
)
@click.option("--seed", type=click.IntRange(min=0), help="Seed of stars, calibrations and noise.")
@click.option("--truth", is_flag=True, help="Also write what a perfect ISR would give.")
@click.option("--compress", is_flag=True, help="Compress raws losslessly (.fits.fz, Rice's algorithm).")
@click.option("--overwrite", is_flag=True, help="Replace files that are there with another content.")
@click.option(
    "--effects/--no-effects",
    default=True,
    show_default=True,
    help="Non-linearity, crosstalk, brighter-fatter, amplifier offsets, fringes (where the filter has them).",
)
@processes_option
@log_options
def simulate(
    directory: str,
    visits: tuple[int, ...],
    detectors: str | None,
    everything: bool,
    physical_filter: str | None,
    exposure_time: float | None,
    seed: int | None,
    truth: bool,
    compress: bool,
    overwrite: bool,
    effects: bool,
    processes: int,
    log_levels: tuple[str, ...],
    long_log: bool,
    log_file: str | None,
) -> None:
    """Simulate HSC raw files and their calibrations in DIR.

    DIR is a directory or an s3:// prefix. It gets raw/, calib/ and the index
    calibs.csv, so that isr-run works on it at once. Files that are there with
    the same content are kept: the same command can be given again.

    Exit codes: 0 done, 1 error, 2 wrong usage, 130 interrupted.
    """
    set_up_logging(log_levels, long_log, log_file)
    # Late, so that --help and --version stay quick.
    from isr.hsc import camera, filters
    from pipeline import objects
    from pipeline.simulated_data import SimulationJob

    if physical_filter is not None and physical_filter not in filters():
        raise click.BadParameter(
            f"{physical_filter!r} is none of {', '.join(filters())}", param_hint="--filter"
        )
    pairs = pairs_to_simulate(visits, detectors, everything)
    objects.check_writable(directory)
    job = SimulationJob(
        directory,
        camera(),
        physical_filter=physical_filter,
        exposure_time=exposure_time,
        truth=truth,
        compress=compress,
        overwrite=overwrite,
        effects=effects,
    )
    if seed is not None:
        job.seed = seed
    stored: list[Stored] = []
    try:
        for of_pair in show_progress(job, pairs, processes):
            stored += of_pair
    finally:
        _report(directory, stored)


def pairs_to_simulate(
    visits: Sequence[int], detectors: str | None, everything: bool
) -> list[tuple[int, int]]:
    """Return the visit-detector pairs that the options ask for."""
    from pipeline.simulated_data import ci_hsc_pairs

    if everything:
        if visits or detectors:
            raise click.UsageError("--all takes neither --visit nor --detectors.")
        return ci_hsc_pairs()
    if not visits:
        raise click.UsageError("Give --visit, e.g. --visit 903334, or --all.")
    if detectors is not None:
        ids = _detector_ids(detectors)
        return [(visit, detector) for visit in dict.fromkeys(visits) for detector in ids]
    pairs = [pair for visit in dict.fromkeys(visits) for pair in ci_hsc_pairs(visit)]
    unknown = sorted(set(visits) - {visit for visit, _ in pairs})
    if unknown:
        known = ", ".join(str(visit) for visit in sorted({visit for visit, _ in ci_hsc_pairs()}))
        raise click.UsageError(
            f"Visit {unknown[0]} is not in ci_hsc ({known}): say which detectors, e.g. --detectors 22,23."
        )
    return pairs


def _detector_ids(text: str) -> list[int]:
    try:
        return list(dict.fromkeys(int(part) for part in text.split(",")))
    except ValueError:
        raise click.BadParameter(
            f"{text!r}: expected numbers separated by commas, e.g. 16,22,23,100", param_hint="--detectors"
        ) from None


def show_progress(
    job: SimulationJob, pairs: list[tuple[int, int]], processes: int = 1
) -> Iterator[list[Stored]]:
    """Show a progress bar on a terminal."""
    if not sys.stderr.isatty():
        yield from job.run(pairs, processes)
        return
    from rich.console import Console
    from rich.progress import track

    yield from track(job.run(pairs, processes), "Simulating", total=len(pairs), console=Console(stderr=True))


def _report(directory: str, stored: Sequence[Stored]) -> None:
    """Print a summary, and what was written on stdout."""
    from rich.console import Console
    from rich.table import Table

    if not stored:
        return
    table = Table("kind", "written", "kept", "MB", title=f"isr-repo simulate {directory}")
    kinds = [file.uri.rpartition("/")[0].rpartition("/")[2] for file in stored]
    for kind in dict.fromkeys(kinds):
        files = [file for file, of_kind in zip(stored, kinds, strict=True) if of_kind == kind]
        new = sum(file.is_new for file in files)
        size = sum(file.size for file in files) / 1e6
        table.add_row(kind, str(new), str(len(files) - new), f"{size:.1f}")
    console = Console(stderr=True)
    console.print(table)
    raws = [file.uri for file, kind in zip(stored, kinds, strict=True) if kind == "raw"]
    if raws:
        click.echo(f"Reduce with: isr-run {raws[0]} --calibs {directory} -o OUT", err=True)
    for file in stored:
        if file.is_new:
            click.echo(file.uri)
