"""The quantum graph of a RUN in work, kept until its output is registered.

Workers write files; only the driver tells the repository of them, at the end.
If the driver is lost before, the graph that it has left in the folder of the
RUN says which datasets the files are, and the next command registers them.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Collection, Iterable, Mapping
from itertools import batched
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from lsst.daf.butler import Butler, ButlerConfig, DatasetRef, QuantumBackedButler
from lsst.pipe.base.quantum_graph import PredictedQuantumGraph
from lsst.resources import ResourcePath

from pipeline.execution.stored_files import find_sizes, records_with_sizes

if TYPE_CHECKING:
    from lsst.daf.butler import Quantum
    from lsst.daf.butler.datastore.record_data import DatastoreRecordData
    from lsst.pipe.base.pipeline_graph import TaskNode

__all__ = ["drop_old_outputs", "recover", "register", "save", "take_quantum", "where"]

log = logging.getLogger(__name__)

NAME = "isr-run.qg"
_BATCH = 2_000  # quanta that are registered at once
# First names of files: TemporaryForIngest of lsst.daf.butler, lsst.resources, lsst.pex.config.
_UNFINISHED = re.compile(r"[a-z0-9_]{16}(.+\.tmp(\.\w+)*|\.qg)|tmp[a-z0-9_]{8}")


def where(butler_config: str, run: str) -> ResourcePath:
    """Return the place of the graph: in the folder of the RUN, beside the repository's files."""
    config = ButlerConfig(butler_config)
    assert config.configDir is not None
    return config.configDir.join(run, forceDirectory=True).join(NAME)


def save(file: str, butler_config: str, run: str) -> ResourcePath:
    """Keep a graph that was written to a local file.

    Returns
    -------
    place : `lsst.resources.ResourcePath`
        To be removed when the output is registered.
    """
    place = where(butler_config, run)
    place.transfer_from(ResourcePath(file), transfer="copy", overwrite=True)
    return place


def recover(butler_config: str, run: str) -> int:
    """Register what a driver that was lost had finished.

    The RUN must be claimed (`pipeline.butler_mode.claim`): else that driver may
    still be at work.

    Parameters
    ----------
    butler_config : `str`
        Path or URI of the repository.
    run : `str`
        Name of the RUN.

    Returns
    -------
    count : `int`
        Datasets that were registered.
    """
    place = where(butler_config, run)
    if not place.exists():
        return 0
    log.info("The last command that wrote to %s was lost; registering what it had finished", run)
    with PredictedQuantumGraph.open(place) as reader:
        reader.read_all()
        graph = reader.finish()
    count = register(butler_config, graph, None)
    place.remove()
    return count


def register(
    butler_config: str,
    graph: PredictedQuantumGraph,
    is_done: Mapping[UUID, bool] | None,
    abandoned: Collection[UUID] = (),
) -> int:
    """Tell the repository of the files that quanta have written.

    Of a quantum that succeeded all output is registered, of one that failed its
    log only: as ``pipetask`` leaves it. What processes that were killed were
    writing is removed.

    Parameters
    ----------
    butler_config : `str`
        Path or URI of the repository.
    graph : `lsst.pipe.base.quantum_graph.PredictedQuantumGraph`
        The graph; its RUN must exist, with the init outputs.
    is_done : `~collections.abc.Mapping` [`uuid.UUID`, `bool`] or `None`
        Whether a quantum succeeded; those that are not in it were not
        executed. `None`: find out by looking for metadata and log.
    abandoned : `~collections.abc.Collection` [`uuid.UUID`], optional
        Quanta that were done elsewhere because a worker was lost. If only the
        network had lost it, it may write the same once more, with a log of
        another length: their files are registered without sizes, with which
        the Butler would refuse to read them then.

    Returns
    -------
    count : `int`
        Datasets that were registered.
    """
    count = 0
    ids = list(graph) if is_done is None else [quantum for quantum in graph if quantum in is_done]
    with Butler.from_config(butler_config, writeable=True) as butler:
        for batch in batched(ids, _BATCH):
            outputs = {quantum: _outputs(graph, quantum) for quantum in batch}
            with _files(butler_config, graph, outputs.values()) as files:
                done = is_done or _find_done(graph, outputs, files)
                wanted = {
                    ref.id: ref
                    for quantum, refs in outputs.items()
                    for ref in (refs.values() if done.get(quantum) else _log(graph, quantum, refs))
                }
                known = {ref.id for ref in butler.get_many_datasets(wanted)}
                new = [ref for ref in wanted.values() if ref.id not in known]
                sizes = find_sizes(files, new)
                there = [ref for ref in new if ref.id in sizes]
                late = {ref.id for quantum in abandoned for ref in outputs.get(quantum, {}).values()}
                known_sizes = {dataset: parts for dataset, parts in sizes.items() if dataset not in late}
                records = records_with_sizes(files, there, known_sizes)
            with _files(butler_config, graph, outputs.values(), records) as files:
                count += len(butler.transfer_from(files, there, transfer="auto"))
        _remove_unfinished(butler, graph.header.output_run)
    return count


def drop_old_outputs(butler: Butler, graph: PredictedQuantumGraph) -> int:
    """Remove from a repository what the quanta of a graph are about to write: logs of failures.

    Output of quanta that are done is kept.

    Returns
    -------
    count : `int`
        Datasets that were removed.
    """
    count = 0
    for batch in batched(graph, _BATCH):
        outputs = {quantum: _outputs(graph, quantum) for quantum in batch}
        there = butler.get_many_datasets([ref.id for refs in outputs.values() for ref in refs.values()])
        known = {ref.id for ref in there}
        done = {quantum for quantum, refs in outputs.items() if _metadata(graph, quantum, refs).id in known}
        kept = {ref.id for quantum in done for ref in outputs[quantum].values()}
        old = [ref for ref in there if ref.id not in kept]
        butler.pruneDatasets(old, disassociate=True, unstore=True, purge=True)
        count += len(old)
    return count


def take_quantum(graph: PredictedQuantumGraph, quantum_id: UUID) -> Quantum:
    """Return a quantum as it is executed; the graph does not keep it, or large ones would fill the memory."""
    quantum = graph.build_execution_quanta([quantum_id])[quantum_id]
    for nodes in (graph.quantum_only_xgraph.nodes, graph.bipartite_xgraph.nodes):
        nodes[quantum_id].pop("quantum", None)
    return quantum


def _remove_unfinished(butler: Butler, run: str) -> None:
    """Remove files of a RUN that were being written: they have other names until they are complete.

    Nobody else may write to the RUN. In an object store there are none.
    """
    for root in butler.get_datastore_roots().values():
        if root is None or not root.isLocal:
            continue
        for folder, _, names in os.walk(root.join(run, forceDirectory=True).ospath):
            for name in filter(_UNFINISHED.fullmatch, names):
                log.info("Removing %s/%s, which was never completed", folder, name)
                Path(folder, name).unlink(missing_ok=True)


def _outputs(graph: PredictedQuantumGraph, quantum_id: UUID) -> dict[str, DatasetRef]:
    """Return what a quantum writes, as the repository defines it, by dataset type."""
    types = graph.pipeline_graph.dataset_types
    return {
        ref.datasetType.name: DatasetRef(
            types[ref.datasetType.name].dataset_type, ref.dataId, run=ref.run, id=ref.id
        )
        for refs in take_quantum(graph, quantum_id).outputs.values()
        for ref in refs
    }


def _log(
    graph: PredictedQuantumGraph, quantum_id: UUID, outputs: Mapping[str, DatasetRef]
) -> list[DatasetRef]:
    """Return the log among the outputs of a quantum; a task may have none."""
    log_output = _task(graph, quantum_id).log_output
    return [outputs[log_output.dataset_type_name]] if log_output else []


def _metadata(
    graph: PredictedQuantumGraph, quantum_id: UUID, outputs: Mapping[str, DatasetRef]
) -> DatasetRef:
    """Return the metadata among the outputs of a quantum."""
    return outputs[_task(graph, quantum_id).metadata_output.dataset_type_name]


def _task(graph: PredictedQuantumGraph, quantum_id: UUID) -> TaskNode:
    return graph.pipeline_graph.tasks[graph.quantum_only_xgraph.nodes[quantum_id]["task_label"]]


def _find_done(
    graph: PredictedQuantumGraph,
    outputs: Mapping[UUID, Mapping[str, DatasetRef]],
    files: QuantumBackedButler,
) -> dict[UUID, bool]:
    """Find the quanta whose metadata and log, which are written last, are there."""
    last = {
        quantum: [_metadata(graph, quantum, refs), *_log(graph, quantum, refs)]
        for quantum, refs in outputs.items()
    }
    there = find_sizes(files, [ref for refs in last.values() for ref in refs])
    return {quantum: all(ref.id in there for ref in refs) for quantum, refs in last.items()}


def _files(
    butler_config: str,
    graph: PredictedQuantumGraph,
    outputs: Iterable[Mapping[str, DatasetRef]],
    records: Mapping[str, DatastoreRecordData] | None = None,
) -> QuantumBackedButler:
    """Return a Butler that finds these datasets by records or, without, by their names."""
    universe = graph.pipeline_graph.universe
    assert universe is not None
    return QuantumBackedButler.from_predicted(
        config=butler_config,
        predicted_inputs=[ref.id for refs in outputs for ref in refs.values()],
        predicted_outputs=[],
        dimensions=universe,
        datastore_records=records or {},
        dataset_types={node.name: node.dataset_type for node in graph.pipeline_graph.dataset_types.values()},
    )
