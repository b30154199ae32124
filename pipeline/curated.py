"""Calibrations that come with this package, as LSST's ``write-curated-calibrations`` writes HSC's."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from lsst.daf.butler import (
    Butler,
    CollectionType,
    DatasetIdGenEnum,
    DatasetRef,
    FileDataset,
    Timespan,
)

from isr.calibs import BrighterFatterKernel, CalibInfo, Defects
from isr.fits.calib import encode_defects, encode_kernel_array
from isr.hsc import brighter_fatter_kernel, camera
from isr.hsc.facts import FIRST_EPOCH, defects
from pipeline.certify import add_to_chain, certify, collection_type, register_collection, timespan
from pipeline.dataset_types import CALIB_TYPES, dataset_type
from pipeline.ingest import require_instrument
from pipeline.instrument import NAME, HyperSuprimeCam

__all__ = ["CURATED", "CuratedReport", "write_curated_calibrations"]

log = logging.getLogger(__name__)

CURATED = "curated"
"""Name, below ``HSC/calib``, of the collection in a repository where ``HSC/calib`` is a chain."""


@dataclass(frozen=True, slots=True)
class CuratedReport:
    """What was written.

    Attributes
    ----------
    collection : `str`
        CALIBRATION collection.
    stored, certified : `int`
        Datasets that are new, and that got their validity now.
    total : `int`
        All curated datasets.
    chain : `str`
        Chain that the collection is in, ``""`` if there is none.
    """

    collection: str
    stored: int
    certified: int
    total: int
    chain: str


@dataclass(frozen=True, slots=True)
class _Curated:
    kind: str
    detector: int | None
    run: str
    data: bytes
    validity: Timespan


def write_curated_calibrations(
    butler: Butler, *, collection: str | None = None, labels: Sequence[str] = (), prefix: str | None = None
) -> CuratedReport:
    """Write and certify defects of all detectors and the brighter-fatter kernel.

    Crosstalk is in HSC's configuration, not here. Runs are named as LSST names
    them: ``HSC/calib/[LABELS/]curated/DATE`` and ``HSC/calib/[LABELS/]unbounded``.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        Writeable butler of a repository that HSC is registered in.
    collection : `str`, optional
        CALIBRATION collection; by default ``HSC/calib`` with the labels or,
        where that is a chain, ``HSC/calib/curated``, which is put at its head.
    labels : `~collections.abc.Sequence` [`str`], optional
        Parts of the names of collections.
    prefix : `str`, optional
        Beginning of these names instead of ``HSC``.

    Returns
    -------
    report : `CuratedReport`
        What was done. What is there already is left alone.

    Raises
    ------
    RepositoryError
        If HSC is not registered, the collection is of another type, or has other
        defects or kernels.
    """
    require_instrument(butler)
    instrument = HyperSuprimeCam(collection_prefix=prefix)
    umbrella = instrument.makeCalibrationCollectionName()
    if collection is None:
        collection = instrument.makeCalibrationCollectionName(*labels)
        if collection_type(butler, collection) is CollectionType.CHAINED:
            collection = instrument.makeCalibrationCollectionName(*labels, CURATED)
    register_collection(butler, collection, CollectionType.CALIBRATION)
    for kind in ("defects", "bfKernel"):
        butler.registry.registerDatasetType(dataset_type(kind, butler.dimensions))
    with TemporaryDirectory(prefix="isr-curated-") as folder, butler.transaction():
        datasets, ranges = [], []
        known: dict[str, set[object]] = {}
        for number, calib in enumerate(_curated(instrument, labels)):
            ref = _ref(butler, calib)
            ranges.append((ref, calib.validity))
            if calib.run not in known:
                butler.collections.register(calib.run)
                known[calib.run] = _stored(butler, calib.run)
            if ref.id in known[calib.run]:
                continue
            path = Path(folder) / f"{number}{'.pickle' if calib.kind == 'bfKernel' else '.fits'}"
            path.write_bytes(calib.data)
            datasets.append(
                FileDataset(path=str(path), refs=ref, formatter=CALIB_TYPES[calib.kind].formatter)
            )
        butler.ingest(*datasets, transfer="move")
        certified = certify(butler, collection, ranges)
    in_chain = collection.startswith(f"{umbrella}/") and add_to_chain(butler, umbrella, collection)
    return CuratedReport(collection, len(datasets), certified, len(ranges), umbrella if in_chain else "")


def _curated(instrument: HyperSuprimeCam, labels: Sequence[str]) -> Iterator[_Curated]:
    kernel = BrighterFatterKernel(CalibInfo("bfKernel"), brighter_fatter_kernel())
    yield _Curated(
        "bfKernel",
        None,
        instrument.makeUnboundedCalibrationRunName(*labels),
        encode_kernel_array(kernel),
        Timespan(None, None),
    )
    for detector in camera():
        begin = FIRST_EPOCH
        while begin:
            boxes, begin, end = defects(detector.id, begin)
            info = CalibInfo(
                "defects",
                detector=detector.id,
                detector_name=detector.name,
                date=begin,
                valid_from=begin,
                valid_until=end,
            )
            yield _Curated(
                "defects",
                detector.id,
                instrument.makeCuratedCalibrationRunName(begin, *labels),
                encode_defects(Defects(info, boxes)),
                timespan(begin, end),
            )
            begin = end


def _ref(butler: Butler, calib: _Curated) -> DatasetRef:
    kind = dataset_type(calib.kind, butler.dimensions)
    of_detector = {} if calib.detector is None else {"detector": calib.detector}
    data_id = butler.registry.expandDataId({"instrument": NAME, **of_detector}, dimensions=kind.dimensions)
    return DatasetRef(kind, data_id, run=calib.run, id_generation_mode=DatasetIdGenEnum.DATAID_TYPE_RUN)


def _stored(butler: Butler, run: str) -> set[object]:
    """Return the ids of the curated datasets in a run."""
    return {
        ref.id
        for kind in ("defects", "bfKernel")
        for ref in butler.query_datasets(kind, run, find_first=False, limit=None, explain=False)
    }
