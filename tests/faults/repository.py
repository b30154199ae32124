"""The repository of the tests, and what must be in it in the end."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from lsst.daf.butler import Butler, CollectionType, Timespan
from lsst.resources import ResourcePath

from isr.calibs import CalibImage, CalibInfo

EXPOSURES = (903334, 903336, 903338)
DETECTORS = (16, 22, 100)
CALIBS = "faults/calib"
INPUTS = f"HSC/defaults,{CALIBS}"
BIAS_SHAPE = (300, 200)
PIPELINE = Path(__file__).parent / "pipeline.yaml"
DETECTOR_DATA = [(exposure, detector) for exposure in EXPOSURES for detector in DETECTORS]
QUANTA: dict[str, list[tuple[int, ...]]] = {
    "first": [*DETECTOR_DATA],
    "second": [*DETECTOR_DATA],
    "gather": [(exposure,) for exposure in EXPOSURES],
}
OUTPUTS = {"first": "faultsFirst", "second": "faultsSecond", "gather": "faultsGathered"}

type Key = tuple[str, tuple[int, ...]]
"""Dataset type and data id."""

EXPECTED: frozenset[Key] = frozenset(
    [(f"{label}_config", ()) for label in QUANTA]
    + [
        (name, data)
        for label, quanta in QUANTA.items()
        for data in quanta
        for name in (OUTPUTS[label], f"{label}_metadata", f"{label}_log")
    ]
)


def ingest(root: str, raws: Path) -> None:
    """Fill a repository with raws, which stay where they are."""
    from pipeline.ingest import RawIngestConfig, ingest_raws
    from pipeline.repository import open_repository
    from tests.pipeline.raws import write_raw

    paths = [str(write_raw(raws, exposure, detector)) for exposure, detector in DETECTOR_DATA]
    config = RawIngestConfig()
    config.transfer = "direct"
    with open_repository(root) as butler:
        assert len(ingest_raws(butler, paths, config).ingested) == len(paths)
        _put_biases(butler)


def _put_biases(butler: Butler) -> None:
    """Store biases that are larger than a small disk, and make them valid for ever."""
    butler.collections.register("faults/bias")
    butler.collections.register(CALIBS, CollectionType.CALIBRATION)
    refs = []
    for detector in DETECTORS:
        image = np.random.default_rng(detector).integers(0, 100, BIAS_SHAPE).astype(np.float32)
        bias = CalibImage(CalibInfo("bias", detector=detector), image)
        refs.append(butler.put(bias, "bias", instrument="HSC", detector=detector, run="faults/bias"))
    butler.registry.certify(CALIBS, refs, Timespan(None, None))


def copy(source: Path, target: Path) -> Path:
    """Make a repository of a test's own: files are shared by hard links, the database is not."""
    shutil.copytree(source, target, copy_function=os.link)
    for database in target.glob("*.sqlite3"):
        database.unlink()
        shutil.copyfile(source / database.name, database)
    return target


@dataclass(frozen=True)
class Output:
    """What is in the RUNs of an output.

    Attributes
    ----------
    contents : `dict`
        What must be the same in each run, by dataset type and data id.
    problems : `list` [`str`]
        What must not be.
    """

    contents: dict[Key, Any]
    problems: list[str]


def examine(root: str, name: str) -> Output:
    """Look at everything below the name of an output: the registry, and the files."""
    problems: list[str] = []
    contents: dict[Key, Any] = {}
    with Butler.from_config(root) as butler:
        runs = [info.name for info in butler.collections.query_info(f"{name}*", flatten_chains=False)]
        runs = [run for run in runs if butler.collections.get_info(run).type.name == "RUN"]
        refs = [ref for run in runs for ref in butler.query_all_datasets(run, find_first=False)]
        if len({ref.run for ref in refs}) > 1 or len(runs) > 1:
            problems.append(f"more than one RUN: {Counter(ref.run for ref in refs)} in {runs}")
        count = Counter(map(_key, refs))
        problems += [f"{key} is registered {number} times" for key, number in count.items() if number > 1]
        problems += [f"{key} is missing" for key in EXPECTED - count.keys()]
        problems += [f"{key} is not expected" for key in count.keys() - EXPECTED]
        registered: set[str] = set()
        for ref in refs:
            uri = butler.getURI(ref)
            registered.add(uri.geturl())
            try:
                contents[_key(ref)] = _content(ref.datasetType.name, uri.read())
                butler.get(ref)  # compares sizes
            except Exception as error:  # of formatters, too
                problems.append(f"{uri} is registered and cannot be read: {error}")
        place = butler._datastore.root.join(name, forceDirectory=True)  # RUNs of a chain are below it
    problems += [f"{file} is left" for file in sorted(_files(place) - registered)]
    return Output(contents, problems)


def _files(place: ResourcePath) -> set[str]:
    """Return what is below a place."""
    return {file.geturl() for file in ResourcePath.findFileResources([place])}


def _key(ref: Any) -> Key:
    values = dict(ref.dataId.required)
    return ref.datasetType.name, tuple(values[name] for name in ("exposure", "detector") if name in values)


def _content(name: str, data: bytes) -> Any:
    """Return what does not depend on time and place."""
    if name.endswith("_metadata"):
        return _shape(json.loads(data))
    if name.endswith("_log"):
        document = json.loads(data)
        records = document["records"] if isinstance(document, dict) else document
        return [record["message"] for record in records if record.get("name", "").startswith("isr.")]
    return data


def _shape(document: Any) -> Any:
    """Return the keys of a document, without its values."""
    return {key: _shape(value) for key, value in document.items()} if isinstance(document, dict) else None
