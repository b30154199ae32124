"""What a quantum graph says of its quanta without building them."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING
from uuid import UUID

from pipeline.quanta import describe

if TYPE_CHECKING:
    from lsst.daf.butler import DataCoordinate
    from lsst.pipe.base.quantum_graph import PredictedQuantumGraph

__all__ = ["QuantumNames"]


class QuantumNames:
    """Labels and data of the quanta of a graph.

    Parameters
    ----------
    graph : `lsst.pipe.base.quantum_graph.PredictedQuantumGraph`
        The graph.
    """

    def __init__(self, graph: PredictedQuantumGraph) -> None:
        self._nodes = graph.quantum_only_xgraph.nodes

    def label(self, quantum_id: UUID) -> str:
        """Return the task label."""
        return str(self._nodes[quantum_id]["task_label"])

    def data_id(self, quantum_id: UUID) -> DataCoordinate:
        """Return the data id."""
        data_id: DataCoordinate = self._nodes[quantum_id]["data_id"]
        return data_id

    def data(self, quantum_id: UUID) -> str:
        """Return a short name of the data id."""
        return describe(self.data_id(quantum_id))

    def order(self, quantum_id: UUID) -> tuple[str, str]:
        """Return a key for sorting, so that quanta are handed out in the same order each time."""
        return self.label(quantum_id), self.data(quantum_id)

    def group(self, quantum_id: UUID) -> Hashable:
        """Return what quanta share that need the same calibrations: the detector."""
        values = dict(self.data_id(quantum_id).required)
        return values.get("detector", self.data(quantum_id))
