"""Ingest of a folder of calibrations into a Butler repository, with their validity ranges."""

from __future__ import annotations

import hashlib
import logging
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid5

from lsst.daf.butler import (
    Butler,
    CollectionType,
    DatasetIdGenEnum,
    DatasetRef,
    FileDataset,
    Timespan,
)
from lsst.resources import ResourcePath

from isr.calib_index import INDEX_NAME, CalibEntry, read_index
from isr.calibs import CalibInfo
from isr.errors import CalibMismatchError, CalibMissingError, ObjectError
from isr.fits.calib import IMAGE_KINDS, encode_calib, read_calib
from isr.fits.calib_info import read_info
from isr.fits.scan import gunzip, scan_hdus, verify_checksums
from isr.hsc import camera
from pipeline import objects
from pipeline.certify import add_to_chain, certify, register_collection, timespan
from pipeline.dataset_types import CALIB_TYPES, dataset_type
from pipeline.errors import RepositoryError
from pipeline.ingest import require_instrument
from pipeline.instrument import NAME, HyperSuprimeCam

__all__ = ["CalibReport", "ingest_calibs"]

log = logging.getLogger(__name__)

LABEL = re.compile(r"[A-Za-z0-9_.+-]+(/[A-Za-z0-9_.+-]+)*")
RESERVED = ("curated", "unbounded")
"""Labels that the names of curated calibrations begin with."""


@dataclass(slots=True)
class CalibReport:
    """What became of a folder of calibrations.

    Attributes
    ----------
    collection : `str`
        CALIBRATION collection.
    new, kept : `~collections.Counter` [`str`]
        Number of files by kind that are new, or were there with the same content.
    certified : `int`
        Number of datasets with a new validity range.
    chain : `str`
        Chain that the collection is in, ``""`` if there is none.
    """

    collection: str
    new: Counter[str] = field(default_factory=Counter)
    kept: Counter[str] = field(default_factory=Counter)
    certified: int = 0
    chain: str = ""


@dataclass(frozen=True, slots=True)
class _Planned:
    """A line of the index as datasets; without a path they are in the repository already."""

    entry: CalibEntry
    refs: list[DatasetRef]
    validity: Timespan
    path: str = ""
    transfer: str | None = None


@dataclass(frozen=True, slots=True)
class _Source:
    """A file that was read: what is to be stored, what it says of itself, and whether it was changed."""

    data: bytes
    info: CalibInfo
    is_as_found: bool


def ingest_calibs(
    butler: Butler, root: str, *, label: str = "ingested", transfer: str = "auto"
) -> CalibReport:
    """Ingest and certify all calibrations of a folder's index.

    Files become datasets of LSST's types in RUN collections
    ``HSC/calib/LABEL/...`` and get their validity in the CALIBRATION collection
    ``HSC/calib/LABEL``, which is put at the head of the chain ``HSC/calib``.
    All of it happens, or nothing. Files that LSST could not read as they are
    (pickled kernels, ECSV tables) are written anew.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        Writeable butler of a repository that HSC is registered in.
    root : `str`
        Folder or ``s3://`` prefix with ``calibs.csv`` (see `isr.calib_index`).
    label : `str`, optional
        Part of the names of collections.
    transfer : `str`, optional
        How files get into the repository, as in ``butler ingest-raws``.

    Returns
    -------
    report : `CalibReport`
        What was done. The same folder can be given again.

    Raises
    ------
    RepositoryError
        If a dataset is there with another content or an overlapping validity,
        or cannot be stored.
    CalibMissingError, CalibMismatchError, ObjectError, FitsFileError, HeaderError
        If index or files are not what they should be.
    """
    if not LABEL.fullmatch(label) or label.split("/")[0] in RESERVED:
        raise RepositoryError(
            f"--label {label!r}: expected letters, digits and -_.+ such as 'DM-28636', not "
            f"{' or '.join(RESERVED)}."
        )
    require_instrument(butler)
    instrument = HyperSuprimeCam()
    entries = _read_entries(root)
    report = CalibReport(instrument.makeCalibrationCollectionName(label))
    for kind in dict.fromkeys(entry.type for entry in entries):
        butler.registry.registerDatasetType(dataset_type(kind, butler.dimensions))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="isr-calibs-")))
        stack.enter_context(butler.transaction())  # ends before the folder does
        planned = _plan(butler, entries, root, label, transfer, folder)
        for mode in sorted({plan.transfer for plan in planned if plan.transfer}):
            _store(butler, [plan for plan in planned if plan.transfer == mode], mode)
        register_collection(butler, report.collection, CollectionType.CALIBRATION)
        validities = [(ref, plan.validity) for plan in planned for ref in plan.refs]
        report.certified = certify(butler, report.collection, validities)
    for plan in planned:
        (report.new if plan.path else report.kept)[plan.entry.type] += 1
    chain = instrument.makeCalibrationCollectionName()
    if add_to_chain(butler, chain, report.collection):
        report.chain = chain
    return report


def _read_entries(root: str) -> list[CalibEntry]:
    index = objects.join(root, INDEX_NAME)
    try:
        text = objects.read_bytes(index).decode()
    except ObjectError as error:
        raise CalibMissingError(
            f"{index}: cannot read the index of the calibrations: {error} "
            f"Give the folder or prefix that contains {INDEX_NAME}."
        ) from error
    except UnicodeDecodeError as error:
        raise CalibMissingError(f"{index}: not a text file in UTF-8 ({error}); correct the index.") from error
    entries = read_index(text, index)
    if not entries:
        raise CalibMissingError(f"{index}: lists no calibrations.")
    for entry in entries:
        _check_entry(entry, index)
    return entries


def _check_entry(entry: CalibEntry, index: str) -> None:
    """Refuse what has no place in LSST's dataset types."""
    if entry.type not in CALIB_TYPES or entry.type == "camera":
        known = ", ".join(kind for kind in CALIB_TYPES if kind != "camera")
        raise CalibMismatchError(f"{index}: {entry}: there is no such type; expected one of {known}.")
    dimensions = CALIB_TYPES[entry.type].dimensions
    if entry.detector is not None and "detector" not in dimensions:
        raise CalibMismatchError(
            f"{index}: {entry}: LSST's dataset type is of the whole instrument. Leave the detector empty if "
            "it is good for all; a kernel of one detector has the type brighterFatterKernel."
        )
    if entry.physical_filter and "physical_filter" not in dimensions:
        raise CalibMismatchError(
            f"{index}: {entry}: LSST's dataset type does not depend on the filter; leave it empty."
        )
    if entry.detector is not None:
        camera()[entry.detector]  # raises if there is none


def _plan(
    butler: Butler, entries: Iterable[CalibEntry], root: str, label: str, transfer: str, folder: Path
) -> list[_Planned]:
    """Turn the index into datasets, with files that are ready to be ingested."""
    planned: list[_Planned] = []
    by_place: dict[object, CalibEntry] = {}
    for number, entry in enumerate(entries):
        uri = objects.join(root, entry.path)
        source = _read(uri, entry)
        _check_info(source.info, entry, uri)
        refs = _refs(butler, entry, source, _run(entry, label))
        place = refs[0].datasetType.name, refs[0].dataId, refs[0].run
        other = by_place.setdefault(place, entry)
        if other is not entry:
            raise CalibMismatchError(
                f"{entry} and {other} become valid at the same time; remove one of them from the index."
            )
        validity = timespan(entry.valid_from, entry.valid_until)
        if there := _find(butler, refs, source.data, uri):
            planned.append(_Planned(entry, there, validity))
        elif source.is_as_found:
            planned.append(_Planned(entry, refs, validity, uri, transfer))
        else:
            path = folder / f"{number}{'.pickle' if entry.type == 'bfKernel' else '.fits'}"
            path.write_bytes(source.data)
            planned.append(_Planned(entry, refs, validity, str(path), "copy"))
    return planned


def _read(uri: str, entry: CalibEntry) -> _Source:
    """Read a file, check it, and turn it into what LSST's formatter of its type reads."""
    data = objects.read_bytes(uri)
    sha256 = hashlib.sha256(data).hexdigest()
    if entry.sha256 and entry.sha256 != sha256:
        raise ObjectError(
            f"{uri}: SHA-256 is {sha256}, but {INDEX_NAME} says {entry.sha256}: the file is damaged or was "
            "replaced; fetch it again, or correct the index."
        )
    facts = CalibInfo(
        entry.type,
        name=uri,
        detector=entry.detector,
        physical_filter=entry.physical_filter,
        valid_from=entry.valid_from,
        valid_until=entry.valid_until,
    )
    if entry.type in IMAGE_KINDS:
        # Structure, checksums and header are enough; decoding pixels would take most of the time.
        content = gunzip(data, uri)
        header: dict[str, Any] = {}
        for hdu in scan_hdus(content, uri):
            verify_checksums(content, hdu, uri)
            header = hdu.header | header if hdu.index > 1 else header | hdu.header
        return _Source(data, read_info(uri, sha256, entry.type, header, facts), is_as_found=True)
    calib = read_calib(data, entry.type, entry=facts)
    # A pickle may be one of Python 2, a table may be ECSV.
    if data.startswith((b"SIMPLE  =", b"\x1f\x8b")) and entry.type != "bfKernel":
        return _Source(data, calib.info, is_as_found=True)
    return _Source(encode_calib(calib), calib.info, is_as_found=False)


def _check_info(info: CalibInfo, entry: CalibEntry, uri: str) -> None:
    if info.detector != entry.detector and entry.detector is not None:
        raise CalibMismatchError(
            f"{uri}: the file says that it is of detector {info.detector}, {INDEX_NAME} says "
            f"{entry.detector}; correct the index."
        )
    if entry.physical_filter and info.physical_filter != entry.physical_filter:
        raise CalibMismatchError(
            f"{uri}: the file says that it is of filter {info.physical_filter}, {INDEX_NAME} says "
            f"{entry.physical_filter}; correct the index."
        )
    if not info.physical_filter and "physical_filter" in CALIB_TYPES[entry.type].dimensions:
        raise CalibMismatchError(
            f"{uri}: neither the file nor {INDEX_NAME} says which filter this {entry.type} is of; state it "
            "in the index."
        )


def _run(entry: CalibEntry, label: str) -> str:
    """Return the RUN of a line: one for each begin of validity, as a RUN has one dataset of a data id."""
    instrument = HyperSuprimeCam()
    if not entry.valid_from:
        return instrument.makeUnboundedCalibrationRunName(label)
    stamp = instrument.formatCollectionTimestamp(entry.valid_from)
    return instrument.makeCollectionName("calib", label, stamp)


def _refs(butler: Butler, entry: CalibEntry, source: _Source, run: str) -> list[DatasetRef]:
    """Return the datasets of a line: one, or one for each detector if it is good for all.

    Notes
    -----
    A dataset has the same id whenever the same content gets the same name, and
    another one if the content is another. Workers know decoded calibrations by
    these ids, also those of a repository that was made anew in the same place.
    """
    kind = dataset_type(entry.type, butler.dimensions)
    butler.collections.register(run)
    data_id: dict[str, object] = {"instrument": NAME}
    if "physical_filter" in kind.dimensions:
        data_id["physical_filter"] = source.info.physical_filter
    detectors: Sequence[int | None] = [entry.detector]
    if entry.detector is None and "detector" in kind.dimensions:
        detectors = [detector.id for detector in camera()]
    content = hashlib.sha256(source.data).hexdigest()
    refs = []
    for detector in detectors:
        of_detector = {} if detector is None else {"detector": detector}
        expanded = butler.registry.expandDataId({**data_id, **of_detector}, dimensions=kind.dimensions)
        named = DatasetRef(kind, expanded, run=run, id_generation_mode=DatasetIdGenEnum.DATAID_TYPE_RUN)
        refs.append(DatasetRef(kind, expanded, run=run, id=uuid5(named.id, content)))
    return refs


def _find(butler: Butler, refs: Sequence[DatasetRef], data: bytes, uri: str) -> list[DatasetRef]:
    """Return the datasets as the repository has them, none if it has not; raise if the content is another."""
    stored = butler.find_dataset(refs[0].datasetType, refs[0].dataId, collections=refs[0].run)
    if stored is None or not butler.stored(stored):
        return []
    where = butler.getURI(stored)
    if where.size() == len(data) and where.read() == data:
        found = (butler.find_dataset(ref.datasetType, ref.dataId, collections=ref.run) for ref in refs)
        there = [ref for ref in found if ref is not None]
        return there if len(there) == len(refs) else []  # of one file for many, a part was removed
    raise RepositoryError(
        f"{uri}: {refs[0].datasetType.name} {refs[0].dataId} is in {refs[0].run} with another content "
        f"({where}). Give another --label, so that a new collection is made."
    )


def _store(butler: Butler, planned: Sequence[_Planned], transfer: str) -> None:
    datasets = [
        FileDataset(
            path=ResourcePath(plan.path), refs=plan.refs, formatter=CALIB_TYPES[plan.entry.type].formatter
        )
        for plan in planned
    ]
    try:
        butler.ingest(*datasets, transfer=transfer)
    except Exception as error:  # of database, disk, network
        raise RepositoryError(
            f"The calibrations cannot be stored (--transfer {transfer}): {type(error).__name__}: "
            f"{' '.join(str(error).split())}"
        ) from error
