"""What became of the quanta of a graph: the books of a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING
from uuid import UUID

from lsst.pipe.base.quantum_reports import ExecutionStatus, QuantumReport, Report

from pipeline.execution.outcome import Outcome
from pipeline.execution.quantum_names import QuantumNames
from pipeline.quanta import QuantumError

if TYPE_CHECKING:
    from lsst.pipe.base.quantum_graph import PredictedQuantumGraph

    from pipeline.execution.progress import Progress
    from pipeline.execution.timings import Timings

__all__ = ["Ledger"]


class Ledger:
    """Notes what becomes of each quantum, and tells the view and the timings.

    Parameters
    ----------
    graph : `lsst.pipe.base.quantum_graph.PredictedQuantumGraph`
        The graph.
    progress : `pipeline.execution.progress.Progress`
        Shows what happens.
    timings : `pipeline.execution.timings.Timings`
        Collects what the quanta took.

    Attributes
    ----------
    names : `pipeline.execution.quantum_names.QuantumNames`
        Labels and data of the quanta.
    report : `lsst.pipe.base.quantum_reports.Report`
        What `pipetask` reports of a run.
    is_done : `dict` [`uuid.UUID`, `bool`]
        Whether a quantum succeeded; those that were not executed are not in it.
    retries : `int`
        Tries beyond the first.
    abandoned : `set` [`uuid.UUID`]
        Quanta that a worker had begun which was lost.
    """

    def __init__(self, graph: PredictedQuantumGraph, progress: Progress, timings: Timings) -> None:
        self.names = QuantumNames(graph)
        self._progress, self._timings = progress, timings
        self._size = len(graph)
        self._failed_tries: dict[UUID, int] = {}  # of quanta that have not ended
        self.report = Report(qgraphSummary=graph._make_summary())
        self.is_done: dict[UUID, bool] = {}
        self.retries = 0
        self.abandoned: set[UUID] = set()

    def failed_tries(self, quantum_id: UUID) -> int:
        """Return how many tries of a quantum have come to nothing so far."""
        return self._failed_tries.get(quantum_id, 0)

    def retry(self, quantum_id: UUID, reason: str) -> int:
        """Note a try that came to nothing and is followed by another; return how many did."""
        tries = self._failed_tries[quantum_id] = self.failed_tries(quantum_id) + 1
        self.retries += 1
        self._progress.retried(quantum_id, reason)
        return tries

    def give_up(self, quantum_id: UUID, reason: str, outcome: Outcome | None) -> Outcome:
        """Return the outcome of a quantum whose last try came to nothing, too.

        Parameters
        ----------
        quantum_id : `uuid.UUID`
            The quantum.
        reason : `str`
            What went wrong.
        outcome : `pipeline.execution.outcome.Outcome` or `None`
            What its worker has said, if it could.
        """
        label, tries = self.names.label(quantum_id), self.failed_tries(quantum_id) + 1
        error = f"{reason} (tried {tries} times)" if tries > 1 else reason
        report = QuantumReport.from_exception(
            QuantumError(error), self.names.data_id(quantum_id), label, quantumId=quantum_id
        )
        if outcome is None:
            outcome = Outcome(quantum_id, label, self.names.data(quantum_id), "failed")
        return replace(outcome, error=error, report=report.model_dump_json())

    def end(self, outcome: Outcome) -> bool:
        """Note the last outcome of a quantum; return whether it succeeded."""
        tries = self._failed_tries.pop(outcome.quantum_id, 0) + 1
        if outcome.report:
            self.report.quantaReports.append(QuantumReport.model_validate_json(outcome.report))
        self.is_done[outcome.quantum_id] = outcome.status != "failed"
        self._progress.finished(outcome)
        self._timings.add(outcome, tries)
        return self.is_done[outcome.quantum_id]

    def block(self, quantum_ids: Sequence[UUID]) -> None:
        """Note what cannot be executed because of a failure."""
        for quantum_id in quantum_ids:
            self.report.quantaReports.append(
                QuantumReport(
                    quantumId=quantum_id,
                    status=ExecutionStatus.SKIPPED,
                    dataId=self.names.data_id(quantum_id),
                    taskLabel=self.names.label(quantum_id),
                )
            )
        for label, count in Counter(map(self.names.label, quantum_ids)).items():
            self._progress.blocked(label, count)

    def close(self) -> None:
        """Say in the report whether all quanta succeeded."""
        is_success = len(self.is_done) == self._size and all(self.is_done.values())
        self.report.status = ExecutionStatus.SUCCESS if is_success else ExecutionStatus.FAILURE
