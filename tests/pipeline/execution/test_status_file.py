"""The file of --status-file."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from uuid import UUID

from pipeline.execution.progress_state import Snapshot, State
from pipeline.execution.status_file import StatusFile
from tests.pipeline.butler_mode_repository import commands, filled_repository
from tests.pipeline.execution.progress_runs import WORKERS, outcome

__all__ = ["commands", "filled_repository"]  # fixtures


def test_phases_and_numbers(tmp_path):
    path = tmp_path / "status.json"
    status = StatusFile(str(path))
    status.enter("cluster")
    assert json.loads(path.read_text()) == {"phase": "cluster", "tasks": {}}
    status.enter("execution")
    state = State({"isr": 4}, 0.0)
    state.started(UUID(int=1), "isr", "exposure 903334 detector 1", WORKERS[0], 0.5)
    with status.follow(lambda: state.snapshot(2.0)):
        while not json.loads(path.read_text())["tasks"]:
            time.sleep(0.05)
        assert json.loads(path.read_text())["tasks"]["isr"]["running"] == 1
        state.finished(outcome(1, read_bytes=10, worker=WORKERS[0]), 1.0)
        state.finished(outcome(2, "failed", error="no\nwhy"), 1.5)
        state.retried(UUID(int=3), "lost")
    found = json.loads(path.read_text())
    assert found["phase"] == "execution"
    assert (found["tasks"]["isr"]["done"], found["tasks"]["isr"]["failed"]) == (1, 1)
    assert Snapshot.of_json(found["snapshot"]) == state.snapshot(2.0)
    status.enter("end")
    assert json.loads(path.read_text()) == {**found, "phase": "end"}
    assert [entry.name for entry in tmp_path.iterdir()] == ["status.json"]


def test_a_snapshot_of_the_beginning():
    snapshot = State(3, 0.0).snapshot(0.0)
    assert Snapshot.of_json(json.loads(json.dumps(asdict(snapshot)))) == snapshot


def test_commands(commands, tmp_path):
    path = tmp_path / "status.json"
    assert commands.count("-o", "u/me/x", "--status-file", path) == 2
    assert "--status-file is for runs on a cluster" in commands.said
    assert commands.count("-o", "u/me/x") == 0
    assert not path.exists()
    assert commands.count("-o", "u/me/x", "--status-file", path, "--dask", "local:1") == 0
    assert "Everything was already done" in commands.said
    assert json.loads(path.read_text()) == {"phase": "end", "tasks": {}}


def test_no_file(tmp_path):
    status = StatusFile(None)
    status.enter("cluster")
    with status.follow(lambda: State(1, 0.0).snapshot(0.0)):
        status.enter("execution")
    assert not list(tmp_path.iterdir())


def test_a_file_that_cannot_be_written_does_not_end_the_run(tmp_path, caplog):
    status = StatusFile(str(tmp_path / "missing" / "status.json"))
    status.enter("cluster")
    status.enter("end")
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == [
        "The status file cannot be written"
    ]
