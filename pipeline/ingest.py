"""Ingest of raw frames into a Butler repository."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import lsst.pex.config as pexConfig
from lsst.daf.butler import (
    Butler,
    CollectionType,
    DatasetIdGenEnum,
    DatasetRef,
    DatasetType,
    FileDataset,
)
from lsst.daf.butler.registry import ConflictingDefinitionError
from lsst.resources import ResourcePath

from isr.errors import IsrError, ObjectError
from pipeline.dataset_types import dataset_type
from pipeline.errors import RepositoryError
from pipeline.instrument import CLASS_NAME, NAME, HyperSuprimeCam, raw_formatter_name
from pipeline.raw_header import read_raw_header
from pipeline.raw_records import Observation, dependency_records, exposure_record, observation_info

__all__ = ["FITS_FILES", "IngestReport", "RawIngestConfig", "ingest_raws", "require_instrument"]

log = logging.getLogger(__name__)

FITS_FILES = r"\.fit[s]?\b"
"""Names of the files that are looked for in directories: also ``.fits.fz`` and ``.fits.gz``."""

TRANSFERS = {
    "auto": "linked on a disk, copied to an object store",
    "copy": "copied",
    "move": "moved",
    "link": "hard link, else symbolic link",
    "hardlink": "hard link",
    "symlink": "symbolic link",
    "relsymlink": "relative symbolic link",
    "direct": "left where they are; the repository keeps their absolute URIs",
}


class RawIngestConfig(pexConfig.Config):
    """Configuration with the fields of LSST's ``RawIngestTask``."""

    transfer = pexConfig.ChoiceField[str](
        "How files get into the repository.", dtype=str, allowed=TRANSFERS, default="auto", optional=True
    )
    failFast = pexConfig.Field[bool](
        "Stop at the first file or exposure that fails.", dtype=bool, default=False
    )


@dataclass(slots=True)
class IngestReport:
    """What became of the files.

    Attributes
    ----------
    ingested : `list` [`lsst.daf.butler.DatasetRef`]
        New raws.
    skipped : `int`
        Files that were in the repository already.
    exposures : `int`
        Exposures without a failure.
    failures : `list` [`tuple` [`str`, `str`]]
        Files that are not in the repository now, and why.
    """

    ingested: list[DatasetRef] = field(default_factory=list)
    skipped: int = 0
    exposures: int = 0
    failures: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _RawFile:
    uri: ResourcePath
    header: Mapping[str, Any]
    info: Observation


def ingest_raws(
    butler: Butler,
    locations: Iterable[str],
    config: RawIngestConfig | None = None,
    *,
    regex: str = FITS_FILES,
    run: str | None = None,
    processes: int = 1,
    track_file_attrs: bool = True,
    update_records: bool = False,
    skip_existing: bool = True,
) -> IngestReport:
    """Ingest raw frames of HSC, each exposure wholly or not at all.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        Writeable butler of a repository that HSC is registered in.
    locations : iterable of `str`
        Files and directories (paths or URIs); directories are searched
        with those in them.
    config : `RawIngestConfig`, optional
        How to transfer files, and whether to stop at the first failure.
    regex : `str`, optional
        What names of files in directories must contain.
    run : `str`, optional
        RUN collection; by default ``HSC/raw/all``.
    processes : `int`, optional
        Number of headers that are read at the same time.
    track_file_attrs : `bool`, optional
        Whether the repository remembers sizes of files, and checks them on reading.
    update_records : `bool`, optional
        Replace exposure records that differ.
    skip_existing : `bool`, optional
        Pass over raws that are there; else they are failures.

    Returns
    -------
    report : `IngestReport`
        What was done; a file that cannot be read does not stop the others.

    Raises
    ------
    RepositoryError
        If HSC is not registered, the run is no RUN, or, with ``failFast``, at the
        first exposure that fails.
    IsrError
        If nothing is found or, with ``failFast``, at the first file that fails.
    """
    config = config or RawIngestConfig()
    require_instrument(butler)
    raw_type = dataset_type("raw", butler.dimensions)
    butler.registry.registerDatasetType(raw_type)
    run = run or HyperSuprimeCam().makeDefaultRawIngestRunName()
    _register_run(butler, run)
    report = IngestReport()
    files = _read_headers(_find_files(locations, regex), processes, report, fail_fast=config.failFast)
    for exposure, group in sorted(_by_exposure(files, report).items()):
        try:
            refs = _ingest_exposure(
                butler,
                group,
                raw_type,
                run,
                transfer=config.transfer,
                track_file_attrs=track_file_attrs,
                update_records=update_records,
                skip_existing=skip_existing,
            )
        except Exception as error:  # of database, disk, network; the other exposures go on
            reason = _reason(error, exposure)
            log.debug("Exposure %d", exposure, exc_info=True)
            if config.failFast:
                raise RepositoryError(f"Exposure {exposure} was not ingested: {reason}") from error
            report.failures += [(str(file.uri), reason) for file in group]
            continue
        report.ingested += refs
        report.skipped += len(group) - len(refs)
        report.exposures += 1
        log.info("Exposure %d: %d of %d files are new", exposure, len(refs), len(group))
    return report


def require_instrument(butler: Butler) -> None:
    """Raise `RepositoryError` unless HSC is registered in a repository."""
    if not butler.query_dimension_records("instrument", explain=False):
        found = "no instrument is registered"
    else:
        names = [str(record.name) for record in butler.query_dimension_records("instrument")]
        if NAME in names:
            return
        found = f"only {', '.join(names)} is registered"
    raise RepositoryError(
        f"{NAME} is not known to this repository ({found}). Run 'isr-repo create REPO', or "
        f"'butler register-instrument REPO {CLASS_NAME}'."
    )


def _register_run(butler: Butler, run: str) -> None:
    butler.collections.register(run)
    kind = butler.collections.get_info(run).type
    if kind is not CollectionType.RUN:
        raise RepositoryError(
            f"--output-run {run}: this is a {kind.name} collection; raws need a RUN, e.g. HSC/raw/all."
        )


def _find_files(locations: Iterable[str], regex: str) -> list[ResourcePath]:
    locations = list(locations)
    try:
        places = [_as_directory(ResourcePath(location), regex) for location in locations]
        found = dict.fromkeys(ResourcePath.findFileResources(places, regex))
    except OSError as error:
        raise ObjectError(f"{', '.join(locations)}: cannot be searched ({error}).") from None
    if not found:
        raise ObjectError(
            f"{', '.join(locations)}: found no file whose name matches {regex!r}; check the locations "
            "or give another --regex."
        )
    return sorted(found)


def _as_directory(uri: ResourcePath, regex: str) -> ResourcePath:
    """Take an S3 prefix without a final slash for the directory that it is meant to be."""
    if uri.isLocal or uri.isdir() or re.search(regex, uri.basename()) or uri.exists():
        return uri
    return ResourcePath(uri, forceDirectory=True)


def _read_headers(
    uris: Sequence[ResourcePath], processes: int, report: IngestReport, *, fail_fast: bool
) -> list[_RawFile]:
    files = []
    with ThreadPoolExecutor(processes) as pool:
        headers = [(uri, pool.submit(read_raw_header, uri)) for uri in uris]
        try:
            for uri, future in headers:
                try:
                    header = future.result()
                    files.append(_RawFile(uri, header, observation_info(header, str(uri))))
                except Exception as error:
                    if fail_fast:
                        raise
                    report.failures.append((str(uri), _reason(error)))
        finally:
            pool.shutdown(cancel_futures=True)
    return files


def _by_exposure(files: Iterable[_RawFile], report: IngestReport) -> dict[int, list[_RawFile]]:
    exposures: dict[int, dict[int, _RawFile]] = {}
    for file in files:
        detectors = exposures.setdefault(file.info.exposure_id, {})
        other = detectors.setdefault(file.info.detector_num, file)
        if other is not file:
            reason = (
                f"is the same exposure {file.info.exposure_id} and detector {file.info.detector_num} as "
                f"{other.uri}; give only one of them."
            )
            report.failures.append((str(file.uri), reason))
    return {exposure: list(detectors.values()) for exposure, detectors in exposures.items()}


def _ingest_exposure(
    butler: Butler,
    files: Sequence[_RawFile],
    raw_type: DatasetType,
    run: str,
    *,
    transfer: str | None,
    track_file_attrs: bool,
    update_records: bool,
    skip_existing: bool,
) -> list[DatasetRef]:
    """Ingest the files of one exposure in one transaction; return those that are new."""
    info, universe = files[0].info, butler.dimensions
    record = exposure_record(info, universe, is_simulated=files[0].header.get("SIMULATE") is True)
    with butler.transaction():
        for dimension, dependency in dependency_records(info, universe).items():
            butler.registry.syncDimensionData(dimension, dependency, update=update_records)
        change = butler.registry.syncDimensionData("exposure", record, update=update_records)
        if isinstance(change, dict):
            log.info("Exposure %d: changed %s", record.id, ", ".join(change))
        there = butler.query_datasets(raw_type, run, instrument=NAME, exposure=record.id, explain=False)
        existing = {ref.dataId["detector"] for ref in there} & {file.info.detector_num for file in files}
        if existing and not skip_existing:
            raise RepositoryError(
                f"raws of detectors {', '.join(map(str, sorted(existing)))} are in {run} already; "
                "without --no-skip-existing they are passed over."
            )
        expanded = butler.registry.expandDataId(
            instrument=NAME, exposure=record.id, records={"exposure": record}
        )
        datasets = []
        for file in files:
            if file.info.detector_num in existing:
                continue
            data_id = butler.registry.expandDataId(
                expanded,
                detector=file.info.detector_num,
                records={name: expanded.records[name] for name in expanded.dimensions.elements},
            )
            # The same id in all repositories, also in those of a stack.
            ref = DatasetRef(raw_type, data_id, run=run, id_generation_mode=DatasetIdGenEnum.DATAID_TYPE_RUN)
            formatter = raw_formatter_name(file.info.detector_num)
            datasets.append(FileDataset(path=file.uri, refs=ref, formatter=formatter))
        butler.ingest(*datasets, transfer=transfer, record_validation_info=track_file_attrs)
    return [dataset.refs[0] for dataset in datasets]


def _reason(error: Exception, exposure: int | None = None) -> str:
    """Say what went wrong in one line."""
    if isinstance(error, IsrError):
        return str(error)
    text = " ".join(str(error).split())
    if isinstance(error, ConflictingDefinitionError) and exposure is not None:
        return (
            f"exposure {exposure} is in the repository with another record ({text}). If the header was "
            "corrected, give --update-records to replace the record."
        )
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
