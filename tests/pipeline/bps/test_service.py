"""Mistakes, and what is told of them."""

from __future__ import annotations

import json

import pytest

from pipeline.bps.driver import find_driver
from tests.pipeline.bps.upstream import bps, commands, filled_repository

__all__ = ["bps", "commands", "filled_repository"]  # fixtures


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"daskCluster": ""},
            "does not name a cluster for the quanta. Add, for example: daskCluster: local:2",
        ),
        (
            {"daskCluster": "ssh://there"},
            "daskCluster in the bps configuration: --dask ssh://there: expected",
        ),
    ],
)
def test_nothing_is_made_for_a_wrong_cluster(bps, changes, said):
    assert bps("submit", *bps.options(**changes)) == 1
    assert said in " ".join(bps.err.split())
    assert not list(bps.folder.rglob("submit"))


@pytest.mark.slow
def test_prepared(bps, monkeypatch):
    """What bps prepare leaves, what can be wrong with it, and how its driver fails."""
    monkeypatch.setenv("ISR_DASK_WAIT", "1")
    assert bps("prepare", *bps.options(daskCluster="tcp://127.0.0.1:9", site="{local: {timeout: 77}}")) == 0
    path = bps.submit_folder()
    submission = json.loads((path / "dask_submission.json").read_text())
    assert submission["tasks"] == {"count": 2, "double": 2}
    options = " ".join(submission["options"])
    for option in (
        f"-b {bps.repository}",
        f"-g {path}/{submission['name']}.qg --dask tcp://127.0.0.1:9",
        "-o u/me/count",
        "--memory-per-quantum 2048MB --cores-per-quantum 1 --timeout 77",
        "--no-versions",
    ):
        assert option in options
    ((report,), message) = bps.service.report(str(path))
    assert (report.state.name, message) == ("UNREADY", f"{path} was prepared, not submitted.")
    assert bps.service.cancel(str(path))[0] is False
    assert bps.service.report(hist=100)[0] == []

    bps.service.restart(str(path))
    while find_driver(path).is_alive():
        pass
    ((report,), message) = bps.service.report(str(path))
    assert report.state.name == "FAILED"
    assert "Its last words: Error: No Dask scheduler answers at tcp://127.0.0.1:9" in message
    assert {state.name for state, count in report.job_summary["finalJob"].items() if count} == {"PRUNED"}
    assert report.job_summary["pipetaskInit"] != report.job_summary["finalJob"]
