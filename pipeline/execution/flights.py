"""Where each quantum of a graph is: what the driver keeps in mind."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from uuid import UUID

from lsst.pipe.base.graph_walker import GraphWalker

from pipeline.execution.placement import Placement

if TYPE_CHECKING:
    from distributed import Future

    from pipeline.execution.outcome import Outcome

__all__ = ["Flight", "State"]


@dataclass(slots=True)
class Flight:
    """A quantum that was given to a worker."""

    quantum_id: UUID
    future: Future[Outcome]
    worker: str
    sent: float  # monotonic seconds, as all times here
    started: float | None = None


@dataclass(slots=True)
class State:
    """Where each quantum is."""

    walker: GraphWalker[UUID]
    placement: Placement = field(default_factory=Placement)
    in_flight: dict[UUID, Flight] = field(default_factory=dict)
    waiting: list[tuple[float, UUID]] = field(default_factory=list)  # to be tried again, a heap
    alone_since: float | None = None  # when the last worker went
    is_stopping: bool = False
