"""The file of --status-file."""

from __future__ import annotations

import json
import time

from pipeline.execution.progress_state import Tally
from pipeline.execution.status_file import StatusFile
from tests.pipeline.butler_mode_repository import commands, filled_repository

__all__ = ["commands", "filled_repository"]  # fixtures


def test_phases_and_numbers(tmp_path):
    path = tmp_path / "status.json"
    status = StatusFile(str(path))
    status.enter("cluster")
    assert json.loads(path.read_text()) == {"phase": "cluster", "tasks": {}}
    status.enter("execution")
    tallies = {"isr": Tally("isr", 4, running=1, ready=4)}
    with status.follow(lambda: tallies):
        while not json.loads(path.read_text())["tasks"]:
            time.sleep(0.05)
        assert json.loads(path.read_text())["tasks"]["isr"]["running"] == 1
        tallies = {"isr": Tally("isr", 4, done=3, failed=1, ready=4)}
    found = json.loads(path.read_text())
    assert found["phase"] == "execution"
    assert (found["tasks"]["isr"]["done"], found["tasks"]["isr"]["failed"]) == (3, 1)
    status.enter("end")
    assert json.loads(path.read_text()) == {**found, "phase": "end"}
    assert [entry.name for entry in tmp_path.iterdir()] == ["status.json"]


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
    with status.follow(dict):
        status.enter("execution")
    assert not list(tmp_path.iterdir())


def test_a_file_that_cannot_be_written_does_not_end_the_run(tmp_path, caplog):
    status = StatusFile(str(tmp_path / "missing" / "status.json"))
    status.enter("cluster")
    status.enter("end")
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == [
        "The status file cannot be written"
    ]
