"""bps's states, of what a driver has written."""

from __future__ import annotations

import pytest
from lsst.ctrl.bps import WmsStates

from pipeline.bps.states import Situation

TASKS = {"isr": 4, "qa": 4}
# Of isr one is done, one runs, one has failed, one waits; of qa one can begin.
ISR = {"done": 1, "running": 1, "failed": 1, "ready": 4, "blocked": 0}
QA = {"done": 0, "running": 0, "failed": 0, "ready": 1, "blocked": 1}
BUSY = {"phase": "execution", "tasks": {"isr": ISR, "qa": QA}}


def all_done(phase: str) -> dict:
    tally = {"done": 4, "running": 0, "failed": 0, "ready": 4, "blocked": 0}
    return {"phase": phase, "tasks": {"isr": tally, "qa": tally}}


def words(situation: Situation) -> dict[str, str]:
    """Return the counts that are not zero, as text."""
    counts = situation.counts()
    assert all(set(states) == set(WmsStates) for states in counts.values())
    assert [sum(states.values()) for states in counts.values()] == [1, 4, 4, 1]
    return {
        label: ", ".join(f"{count} {state.name}" for state, count in states.items() if count)
        for label, states in counts.items()
    }


@pytest.mark.parametrize(
    ("status", "started", "alive", "canceled", "state", "init", "isr", "qa", "final"),
    [
        ({}, False, False, False, "UNREADY", "READY", "4 UNREADY", "4 UNREADY", "UNREADY"),
        ({}, True, True, False, "RUNNING", "RUNNING", "4 UNREADY", "4 UNREADY", "UNREADY"),
        ({}, True, False, False, "FAILED", "FAILED", "4 UNREADY", "4 UNREADY", "PRUNED"),
        ({}, True, False, True, "DELETED", "DELETED", "4 DELETED", "4 DELETED", "DELETED"),
        (
            *(BUSY, True, True, False, "RUNNING", "SUCCEEDED"),
            *("1 READY, 1 RUNNING, 1 SUCCEEDED, 1 FAILED", "2 UNREADY, 1 READY, 1 PRUNED", "UNREADY"),
        ),
        (  # the driver was lost
            *(BUSY, True, False, False, "FAILED", "SUCCEEDED"),
            *("2 READY, 1 SUCCEEDED, 1 FAILED", "2 UNREADY, 1 READY, 1 PRUNED", "PRUNED"),
        ),
        (  # it is told to end, and then killed
            *(BUSY, True, True, True, "RUNNING", "SUCCEEDED"),
            *("1 READY, 1 RUNNING, 1 SUCCEEDED, 1 FAILED", "2 UNREADY, 1 READY, 1 PRUNED", "UNREADY"),
        ),
        (
            *(BUSY, True, False, True, "DELETED", "SUCCEEDED"),
            *("2 DELETED, 1 SUCCEEDED, 1 FAILED", "3 DELETED, 1 PRUNED", "DELETED"),
        ),
        (
            *(all_done("registration"), True, True, False, "RUNNING", "SUCCEEDED"),
            *("4 SUCCEEDED", "4 SUCCEEDED", "RUNNING"),
        ),
        (
            *(all_done("registration"), True, False, False, "FAILED", "SUCCEEDED"),
            *("4 SUCCEEDED", "4 SUCCEEDED", "FAILED"),
        ),
        (  # too late to cancel
            *(all_done("end"), True, False, True, "SUCCEEDED", "SUCCEEDED"),
            *("4 SUCCEEDED", "4 SUCCEEDED", "SUCCEEDED"),
        ),
        (  # everything was done before
            *({"phase": "end", "tasks": {}}, True, False, False, "SUCCEEDED", "SUCCEEDED"),
            *("4 SUCCEEDED", "4 SUCCEEDED", "SUCCEEDED"),
        ),
    ],
)
def test_states(status, started, alive, canceled, state, init, isr, qa, final):
    situation = Situation(TASKS, status, was_started=started, is_alive=alive, is_canceled=canceled)
    assert situation.run().name == state
    assert words(situation) == {
        "pipetaskInit": f"1 {init}",
        "isr": isr,
        "qa": qa,
        "finalJob": f"1 {final}",
    }
