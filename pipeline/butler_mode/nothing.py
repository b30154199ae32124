"""Why there is nothing to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from lsst.daf.butler import Butler, DimensionRecord, MissingDatasetTypeError
from lsst.daf.butler.registry import MissingCollectionError
from lsst.pipe.base.pipeline_graph import PipelineGraph

__all__ = ["explain_empty"]

_SHOWN = 10


def explain_empty(butler: Butler, options: Mapping[str, Any], graph: PipelineGraph) -> str:
    """Say that a query matches nothing, and what it could match.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        The repository.
    options : `~collections.abc.Mapping`
        Options of ``pipetask run``, by upstream's names.
    graph : `lsst.pipe.base.pipeline_graph.PipelineGraph`
        The pipeline, resolved.

    Returns
    -------
    message : `str`
        Query, collections, what is there, remedy.
    """
    query = options["data_query"] or ""
    collections = list(options["input"]) or [options["output"]]
    repository = options["butler_config"]
    said = [
        f"Nothing to do: no data for the query {query!r} (-d) in the collections "
        f"{', '.join(collections)} of {repository}."
    ]
    instrument = graph.data_id.get("instrument")
    if "visit" in query and not _records(butler, "visit", graph):
        said.append(
            "No visits are defined there: "
            f"run `butler define-visits {repository} {instrument or 'INSTRUMENT'}`, or ask for exposure=."
        )
    inputs = [name for name, _ in graph.iter_overall_inputs() if not _is_calibration(butler, name)]
    said += [_what_is_there(butler, name, collections, graph) for name in inputs]
    return " ".join(said)


def _is_calibration(butler: Butler, name: str) -> bool:
    try:
        return butler.get_dataset_type(name).isCalibration()
    except MissingDatasetTypeError:
        return False


def _records(butler: Butler, element: str, graph: PipelineGraph) -> list[DimensionRecord]:
    return butler.query_dimension_records(element, data_id=graph.data_id, limit=1, explain=False)


def _what_is_there(butler: Butler, name: str, collections: Sequence[str], graph: PipelineGraph) -> str:
    """List the exposures and detectors that a dataset type has in collections."""
    try:
        dimensions = butler.get_dataset_type(name).dimensions.required
    except MissingDatasetTypeError:
        return (
            f"The repository has no datasets of the type {name} at all: ingest some (`butler ingest-raws`)."
        )
    parts = []
    for dimension in sorted(set(dimensions) - {"instrument"}, reverse=True):
        values: list[Any] = []
        with suppress(MissingCollectionError), butler.query() as search:
            search = search.where(graph.data_id).join_dataset_search(name, collections)
            found = search.data_ids([dimension]).limit(_SHOWN + 1)
            values = sorted(data_id[dimension] for data_id in found)
        if not values:
            return f"There are no datasets of the type {name} in these collections."
        more = ", ..." if len(values) > _SHOWN else ""
        parts.append(f"{dimension} {', '.join(map(str, values[:_SHOWN]))}{more}")
    return f"There is {name} of {'; of '.join(parts)}."
