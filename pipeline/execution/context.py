"""What all quanta of a run share: sent to each worker once."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from distributed import WorkerPlugin

if TYPE_CHECKING:
    from distributed import Worker
    from lsst.daf.butler import ButlerConfig, DatasetType, DimensionUniverse
    from lsst.pipe.base.pipeline_graph import TaskNode
    from lsst.pipe.base.quantum_graph import PredictedQuantumGraph

__all__ = ["CONTEXTS", "ContextPlugin", "RunContext"]

CONTEXTS: dict[str, RunContext] = {}
"""Runs that this worker process knows of, by their name on the cluster."""


@dataclass
class RunContext:
    """What a worker needs to know of a run, besides the quantum.

    LSST's objects are pickled on their own: they can be read only where the
    dimensions of the repository are known, and the overlay is active.

    Attributes
    ----------
    name : `str`
        Name of this execution on the cluster; also the topic of its events.
    run : `str`
        Name of the RUN.
    butler_config : `str`
        Path or URI of the repository.
    dimension_config : `dict`
        Dimensions of the repository.
    pickled_dataset_types : `bytes`
        Dataset types, by name.
    pickled_tasks : `dict` [`str`, `bytes`]
        Nodes of the pipeline graph, by task label.
    options : `dict`
        Keyword arguments of ``SingleQuantumExecutor``.
    log_levels : `dict` [`str`, `int`]
        Levels of loggers.
    versions : `dict` [`str`, `str`]
        Versions of the driver's packages.
    cache_memory, cache_disk : `int`
        Bytes that decoded calibrations may take in each process, and on the
        disk of each host; 0: no cache.
    """

    name: str
    run: str
    butler_config: str
    dimension_config: dict[str, Any]
    pickled_dataset_types: bytes
    pickled_tasks: dict[str, bytes]
    options: dict[str, Any]
    log_levels: dict[str, int]
    versions: dict[str, str]
    cache_memory: int
    cache_disk: int

    @classmethod
    def of_graph(cls, graph: PredictedQuantumGraph, **values: Any) -> RunContext:
        """Return the context of a quantum graph; other attributes are given by name."""
        pipeline = graph.pipeline_graph
        types = {node.name: node.dataset_type for node in pipeline.dataset_types.values()}
        assert pipeline.universe is not None
        return cls(
            dimension_config=dict(pipeline.universe.dimensionConfig),
            pickled_dataset_types=pickle.dumps(types),
            pickled_tasks={label: pickle.dumps(node) for label, node in pipeline.tasks.items()},
            **values,
        )

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what is computed on a worker."""
        return {name: vars(self)[name] for name in self.__dataclass_fields__}

    @cached_property
    def universe(self) -> DimensionUniverse:
        """Dimensions of the repository; must be known before anything else is unpickled."""
        from lsst.daf.butler import DimensionConfig, DimensionUniverse

        return DimensionUniverse(DimensionConfig(self.dimension_config))

    @cached_property
    def config(self) -> ButlerConfig:
        """Configuration of the repository: read once, not for each quantum."""
        from lsst.daf.butler import ButlerConfig

        return ButlerConfig(self.butler_config)

    @cached_property
    def dataset_types(self) -> Mapping[str, DatasetType]:
        """Dataset types of the pipeline, by name."""
        assert self.universe
        types: Mapping[str, DatasetType] = pickle.loads(self.pickled_dataset_types)
        return types

    @cached_property
    def tasks(self) -> Mapping[str, TaskNode]:
        """Nodes of the pipeline graph, by label."""
        assert self.universe
        return {label: pickle.loads(content) for label, content in self.pickled_tasks.items()}


class ContextPlugin(WorkerPlugin):
    """Brings a `RunContext` to all workers, also to those that join later.

    Parameters
    ----------
    context : `RunContext`
        What to bring.
    """

    def __init__(self, context: RunContext) -> None:
        self.name = context.name
        self._content = pickle.dumps(context)

    def setup(self, worker: Worker) -> None:  # noqa: ARG002
        """Store the context in the worker process."""
        CONTEXTS[self.name] = pickle.loads(self._content)

    def teardown(self, worker: Worker) -> None:  # noqa: ARG002
        """Forget it."""
        CONTEXTS.pop(self.name, None)
