"""The list of faults: the same for the same number and seed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count

from tests.faults.repository import QUANTA

WORKER_STAGES = (
    *("begin", "before-read", "compute", "before-put", "during-put", "after-put", "before-metadata"),
    *("during-metadata", "after-metadata", "before-log", "during-log", "after-log", "end"),
)
"""Of a quantum, in their order."""

DRIVER_STAGES = (
    *("before-graph", "after-graph", "claimed", "run-registered", "before-init-outputs"),
    *("during-init-outputs", "after-init-outputs", "before-journal", "during-journal", "after-journal"),
    *("outcome", "executed", "before-registration", "before-batch", "after-batch", "after-registration"),
    *("removal", "summary"),
)
"""Of a command, in their order."""

STAGES_OF_RECOVERY = ("before-registration", "before-batch", "after-batch", "after-registration", "removal")
SIGNALS = ("kill", "term", "int", "ctrl-c")
TROUBLES = ("503", "cut", "cut-answer", "slow", "away", "long-away", "mixed")
OUTCOMES = (1, 4, 8, 13, 19)
BATCHES = (1, 3, 6)


@dataclass(frozen=True)
class Fault:
    """One fault.

    Attributes
    ----------
    kind : `str`
        Whom it hits: ``worker``, ``driver``, ``driver-twice``, ``stray``,
        ``scheduler``, ``race``, ``poison``, ``storage`` (at the proxy), ``server`` (S3
        itself), ``database``.
    stage : `str`
        When; or what happens to the storage.
    quantum : `tuple`
        Task label and data id, where that matters.
    action : `str`
        What a process does with itself there.
    times : `int`
        How often the stage is reached before (of commands).
    cluster : `str`
        ``existing`` or ``local``.
    place : `str`
        ``files`` (with SQLite) or ``server`` (PostgreSQL and S3).
    seed : `int`
        Of what is random in a test.
    """

    kind: str
    stage: str
    quantum: tuple[object, ...] = ()
    action: str = "kill"
    times: int = 1
    cluster: str = "existing"
    place: str = "files"
    seed: int = 0

    def __str__(self) -> str:
        words = (self.kind, self.stage, *self.quantum, self.action, self.times, self.cluster, self.place)
        return "_".join(map(str, words))


DOZEN = (
    Fault("worker", "before-read", ("second", 903336, 22)),
    Fault("worker", "compute", ("first", 903334, 16)),
    Fault("worker", "during-put", ("gather", 903338)),
    Fault("worker", "after-put", ("first", 903338, 100)),
    Fault("worker", "before-log", ("second", 903334, 22), cluster="local"),
    Fault("driver", "during-init-outputs", times=3),
    Fault("driver", "outcome", times=8, action="ctrl-c", cluster="local"),
    Fault("driver", "before-batch", times=3),
    Fault("driver-twice", "after-batch", times=1),
    Fault("stray", "compute", ("second", 903336, 16)),
    Fault("scheduler", "outcome", times=8),
    Fault("race", "outcome", times=4),
    Fault("storage", "mixed", place="server", seed=1),
    Fault("server", "outcome", times=4, place="server"),
)
"""Those of ``make test``."""


def plan(number: int, seed: int = 1) -> list[Fault]:
    """Return as many faults as are wanted: each kind and stage before any twice, then at random."""
    if number <= len(DOZEN):
        return list(DOZEN[:number])
    chooser = random.Random(seed)
    faults = list(dict.fromkeys(DOZEN))
    seen = set(faults)
    for fault in _all(chooser):
        if len(faults) == number:
            break
        if fault not in seen:
            seen.add(fault)
            faults.append(fault)
    return faults


def _all(chooser: random.Random) -> Iterator[Fault]:
    """Yield faults without end."""
    for round_ in count():
        for stage in WORKER_STAGES:
            yield _choose_place(chooser, Fault("worker", stage, _quantum(chooser)))
        for stage in DRIVER_STAGES:
            action = "kill" if round_ == 0 else chooser.choice(SIGNALS)
            fault = Fault("driver", stage, action=action, times=_times(chooser, stage))
            yield _choose_place(chooser, fault)
        for trouble in TROUBLES:
            yield Fault("storage", trouble, place="server", seed=chooser.randrange(1 << 30))
        for stage in STAGES_OF_RECOVERY:
            times = min(3, _times(chooser, stage))
            yield _choose_place(chooser, Fault("driver-twice", stage, times=times))
        yield Fault("worker", "before-put", _quantum(chooser), action="full")
        yield Fault("worker", "before-metadata", _quantum(chooser), action="full")
        yield Fault("stray", chooser.choice(("compute", "before-put")), _quantum(chooser))
        yield Fault("scheduler", "outcome", times=chooser.choice(OUTCOMES))
        yield Fault("race", chooser.choice(("claimed", "outcome", "before-registration", "none")))
        yield Fault("server", chooser.choice(("outcome", "before-batch")), times=4, place="server")
        yield Fault("database", chooser.choice(("outcome", "before-batch")), times=3, place="server")
        yield Fault("poison", "compute", _quantum(chooser), cluster="local")


def _choose_place(chooser: random.Random, fault: Fault) -> Fault:
    """Let some faults happen on other clusters and in other repositories; files are renamed only on disks."""
    if chooser.random() < 0.15:
        return replace(fault, cluster="local")
    if chooser.random() < 0.25 and not fault.stage.startswith("during"):
        return replace(fault, place="server")
    return fault


def _quantum(chooser: random.Random) -> tuple[object, ...]:
    """Choose a quantum."""
    label = chooser.choice(sorted(QUANTA))
    return (label, *chooser.choice(QUANTA[label]))


def _times(chooser: random.Random, stage: str) -> int:
    if stage == "outcome":
        return chooser.choice(OUTCOMES)
    if stage == "during-init-outputs":  # a configuration is renamed twice
        return chooser.choice((1, 2, 3))
    return chooser.choice(BATCHES) if stage.endswith("-batch") else 1
