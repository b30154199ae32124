"""Calibrations in repositories: validity ranges, collections, chains."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Iterable
from functools import cache

from lsst.daf.butler import Butler, CollectionType, DatasetRef, Timespan
from lsst.daf.butler.registry import ConflictingDefinitionError, MissingCollectionError

from pipeline.errors import RepositoryError

__all__ = ["add_to_chain", "certify", "collection_type", "register_collection", "timespan"]


@cache
def timespan(valid_from: str, valid_until: str) -> Timespan:
    """Return a validity range ``[valid_from, valid_until)``.

    Parameters
    ----------
    valid_from, valid_until : `str`
        Dates or times, ISO 8601, UTC; ``""``: open.
    """
    from astropy.time import Time

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of erfa, about leap seconds of the far future
        begin, end = (Time(text, scale="utc") if text else None for text in (valid_from, valid_until))
        return Timespan(begin, end)


def collection_type(butler: Butler, name: str) -> CollectionType | None:
    """Return the type of a collection, `None` if there is none of that name."""
    try:
        return butler.collections.get_info(name).type
    except MissingCollectionError:
        return None


def register_collection(butler: Butler, name: str, kind: CollectionType) -> None:
    """Make a collection unless it is there.

    Raises
    ------
    RepositoryError
        If there is one of another type.
    """
    found = collection_type(butler, name)
    if found is None:
        butler.collections.register(name, kind)
    elif found is not kind:
        raise RepositoryError(
            f"Collection {name} is a {found.name} collection, but a {kind.name} one is needed; give "
            "another name."
        )


def add_to_chain(butler: Butler, chain: str, collection: str) -> bool:
    """Put a collection at the head of a chain, unless it is in it.

    Returns
    -------
    is_in_chain : `bool`
        False if there is no chain of that name.
    """
    if collection_type(butler, chain) is not CollectionType.CHAINED:
        return False
    if collection not in butler.collections.get_info(chain).children:
        butler.collections.prepend_chain(chain, collection)
    return True


def certify(butler: Butler, collection: str, ranges: Iterable[tuple[DatasetRef, Timespan]]) -> int:
    """Give datasets validity ranges in a CALIBRATION collection; those that have them already keep them.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        Writeable butler.
    collection : `str`
        A CALIBRATION collection.
    ranges : iterable of `tuple` [`lsst.daf.butler.DatasetRef`, `lsst.daf.butler.Timespan`]
        Datasets and their validity.

    Returns
    -------
    n_new : `int`
        Number of datasets that were certified now.

    Raises
    ------
    RepositoryError
        If the collection has another dataset, or the same with another
        validity, whose validity overlaps.
    """
    ranges = list(ranges)
    known = {
        (association.ref.id, association.timespan)
        for dataset_type in {ref.datasetType for ref, _ in ranges}
        for association in butler.registry.queryDatasetAssociations(
            dataset_type, [collection], collectionTypes={CollectionType.CALIBRATION}
        )
    }
    new: dict[tuple[Timespan, str], list[DatasetRef]] = defaultdict(list)
    for ref, validity in ranges:
        if (ref.id, validity) not in known:
            new[validity, ref.datasetType.name].append(ref)
    for (validity, kind), refs in new.items():
        try:
            butler.registry.certify(collection, refs, validity)
        except ConflictingDefinitionError as error:
            ids = "; ".join(str(ref.dataId) for ref in refs[:3])
            raise RepositoryError(
                f"{kind} ({ids}{' ...' if len(refs) > 3 else ''}), valid {validity}: {collection} has one "
                "of the same data id whose validity overlaps. Give another --label, so that a new "
                "collection is made."
            ) from error
    return sum(map(len, new.values()))
