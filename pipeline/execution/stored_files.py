"""Which files of a quantum's output are there, and how large they are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

from lsst.daf.butler import DatasetRef, QuantumBackedButler
from lsst.daf.butler.datastore.record_data import DatastoreRecordData
from lsst.daf.butler.datastore.stored_file_info import StoredFileInfo
from lsst.resources import ResourcePath

__all__ = ["Sizes", "find_sizes", "records_with_sizes"]

type Sizes = dict[UUID, dict[str | None, int]]
"""Bytes of each file of a dataset, by component; `None` is the whole dataset."""

_UNKNOWN = -1  # file_size of upstream's records
_AT_ONCE = 10  # questions to an object store; boto3 keeps as many connections


def find_sizes(files: QuantumBackedButler, refs: Collection[DatasetRef]) -> Sizes:
    """Look for the files of datasets where they should be.

    Parameters
    ----------
    files : `lsst.daf.butler.QuantumBackedButler`
        Knows the datasets as its predicted ones.
    refs : `~collections.abc.Collection` [`lsst.daf.butler.DatasetRef`]
        The datasets.

    Returns
    -------
    sizes : `Sizes`
        Those that are there, as a whole.
    """
    places: list[tuple[UUID, str | None, ResourcePath]] = []
    for ref, uris in files.get_many_uris(refs, predict=True).items():
        places += [(ref.id, component, uri) for component, uri in uris.componentURIs.items()]
        if uris.primaryURI is not None:
            places.append((ref.id, None, uris.primaryURI))
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        found = list(pool.map(_size, [uri for _, _, uri in places]))
    sizes: Sizes = defaultdict(dict)
    for (dataset, component, _), size in zip(places, found, strict=True):
        if size is not None:
            sizes[dataset][component] = size
    incomplete = {dataset for (dataset, _, _), size in zip(places, found, strict=True) if size is None}
    return {dataset: parts for dataset, parts in sizes.items() if dataset not in incomplete}


def _size(uri: ResourcePath) -> int | None:
    """Return the bytes of a file, `None` if there is none: one request tells both."""
    try:
        return uri.replace(fragment="").size()  # the fragment says that the Butler has guessed the name
    except FileNotFoundError:
        return None


def records_with_sizes(
    files: QuantumBackedButler, refs: Collection[DatasetRef], sizes: Mapping[UUID, Mapping[str | None, int]]
) -> dict[str, DatastoreRecordData]:
    """Return what a datastore must know of files that it has not written itself.

    With their sizes the Butler notices later if a file was damaged. Datasets
    without an entry in ``sizes`` are not checked.
    """
    records = files.export_predicted_datastore_records(refs)
    for datastore in records.values():
        for dataset, tables in datastore.records.items():
            for table, items in tables.items():
                tables[table] = [
                    item.update(file_size=sizes[dataset][item.component] if dataset in sizes else _UNKNOWN)
                    for item in items
                    if isinstance(item, StoredFileInfo)
                ]
    return records
