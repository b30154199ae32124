"""Why a repository has no calibration for an exposure: a message for the astronomer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from lsst.daf.butler import (
    Butler,
    CollectionType,
    DataCoordinate,
    DatasetAssociation,
    MissingDatasetTypeError,
    Timespan,
)

__all__ = ["explain"]

_SHOWN = 10
_CURATED = ("defects", "bfKernel")
_SOURCE = "HSC's come with this package: `butler write-curated-calibrations REPO HSC`. "


def explain(
    butler: Butler, dataset_type: str, data_id: DataCoordinate, switch: str, others: Sequence[int] = ()
) -> str:
    """Say which calibration is missing, where it was searched, and what is there instead.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        Repository, with the input collections as its defaults.
    dataset_type : `str`
        Dataset type that is missing, e.g. ``"flat"``.
    data_id : `lsst.daf.butler.DataCoordinate`
        Exposure and detector, expanded.
    switch : `str`
        Configuration field that makes the calibration needed.
    others : `~collections.abc.Sequence` [`int`]
        Other detectors of the exposure that lack it, too.

    Returns
    -------
    message : `str`
        Dataset type, data id, collections, validity and remedy.
    """
    collections = list(butler.collections.defaults)
    timespan = data_id.timespan
    date = "at an unknown date" if timespan is None else _time(timespan.begin)
    numbers = [str(number) for number in sorted(others)]
    more = ", ..." if len(numbers) > _SHOWN else ""
    also = f" (nor for detector {', '.join(numbers[:_SHOWN])}{more}: {len(numbers)} more)" if numbers else ""
    return (
        f"No {dataset_type} for {_describe(data_id)}{also} taken {date}, in the collections "
        f"{', '.join(collections)}: {_reason(butler, dataset_type, data_id, collections)}. "
        f"{_SOURCE if dataset_type in _CURATED else ''}"
        f"Certify one with `butler certify-calibrations` or `isr-repo ingest-calibs`, give its collection "
        f"with -i, or leave the step out with -c isr:{switch}=False."
    )


def _describe(data_id: DataCoordinate) -> str:
    names = ("instrument", "exposure", "detector", "physical_filter")
    return ", ".join(f"{name} {data_id[name]}" for name in names if name in data_id)


def _reason(butler: Butler, dataset_type: str, data_id: DataCoordinate, collections: list[str]) -> str:
    """Say how far the search came: dataset type, then detector and filter, then date."""
    try:
        definition = butler.get_dataset_type(dataset_type)
    except MissingDatasetTypeError:
        return f"the repository has no dataset type {dataset_type} at all"
    certified = list(
        butler.registry.queryDatasetAssociations(
            definition,
            collections=collections,
            collectionTypes={CollectionType.CALIBRATION},
            flattenChains=True,
        )
    )
    if not certified:
        return f"no {dataset_type} is certified there"
    fitting = [
        item
        for item in certified
        if all(
            item.ref.dataId[name] == data_id[name]
            for name in item.ref.dataId.required.keys() & _keys(data_id)
        )
    ]
    if not fitting:
        shown = sorted({_describe(item.ref.dataId) for item in certified})
        more = ", ..." if len(shown) > 5 else ""
        return f"what is certified is for {'; '.join(shown[:5])}{more}"
    return f"what fits otherwise is valid at other times: {_validities(fitting)}"


def _keys(data_id: DataCoordinate) -> set[str]:
    return {name for name in ("instrument", "detector", "physical_filter") if name in data_id}


def _validities(items: Iterable[DatasetAssociation]) -> str:
    return "; ".join(
        f"{_dates(item.timespan)} (run {item.ref.run}, in {item.collection})"
        for item in sorted(items, key=lambda item: str(item.timespan))[:5]
    )


def _dates(timespan: Timespan | None) -> str:
    """Return a validity range as UTC dates."""
    if timespan is None:
        return "always"
    return f"from {_time(timespan.begin)} until {_time(timespan.end)}"


def _time(bound: Any) -> str:
    """Return a bound of a timespan in UTC; `None` is an open end."""
    return "any time" if bound is None else f"{bound.utc.isot} UTC"
