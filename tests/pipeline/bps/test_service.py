"""Mistakes, and what is told of them."""

from __future__ import annotations

import json
from collections import Counter

import click
import pytest
from lsst.ctrl.bps import (
    BPS_DEFAULTS,
    BpsConfig,
    GenericWorkflow,
    GenericWorkflowFile,
    GenericWorkflowJob,
)

from pipeline.bps import DaskService
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
            {"daskCluster": "ssh://up"},
            "daskCluster in the bps configuration: --dask ssh://up: expected local:N",
        ),
        (
            {"timeout": "soon"},
            "(runPreCmdOpts, timeout, extraRunQuantumOptions): Invalid value for '--timeout'",
        ),
        ({"extraRunQuantumOptions": "--never"}, "No such option"),
        ({"ordering": "{a: {labels: count}}"}, "leave ordering out"),
        ({"finalJob": "{whenRun: NEVER}"}, "finalJob.whenRun must be ALWAYS (it is NEVER)"),
    ],
)
def test_configurations_that_are_refused(bps, changes, said):
    bps.options(**changes)
    config = BpsConfig("bps.yaml", defaults=BPS_DEFAULTS)
    with pytest.raises(click.ClickException) as error:
        DaskService(config).run_submission_checks()
    assert said in error.value.message


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (
            {"request_memory": 10**9},
            "requestMemory 1000000000: that is 2000000000 MiB, and this machine has ",
        ),
        ({"environment": {"A": "1"}}, "cannot set variables (environment) for single jobs"),
        (None, "DaskService executes quantum graphs. bps submitcmd"),
    ],
)
def test_jobs_that_are_refused(bps, values, said):
    bps.options()
    config = BpsConfig("bps.yaml", defaults=BPS_DEFAULTS)
    workflow = GenericWorkflow("u_me_count")
    if values is not None:
        workflow.add_file(GenericWorkflowFile("runQgraphFile", "u_me_count.qg"))
        workflow.add_job(GenericWorkflowJob("one", "count", quanta_counts=Counter(count=1), **values))
    with pytest.raises(click.ClickException) as error:
        DaskService(config).prepare(config, workflow, str(bps.folder))
    assert said in error.value.message


def test_nothing_is_made_after_a_mistake(bps):
    assert bps("submit", *bps.options(daskCluster="here")) == 1
    assert bps.err.splitlines()[-1].startswith("Error: daskCluster in the bps configuration: --dask here: ")
    assert not list(bps.folder.rglob("submit"))


@pytest.mark.slow
def test_prepared(bps, monkeypatch):
    """What bps prepare leaves, and how its driver fails."""
    monkeypatch.setenv("ISR_DASK_WAIT", "1")
    assert bps("prepare", *bps.options(daskCluster="tcp://127.0.0.1:9", site="{local: {timeout: 77}}")) == 0
    path = bps.submit_folder()
    submission = json.loads((path / "dask_submission.json").read_text())
    assert submission["tasks"] == {"count": 2, "double": 2}
    options = " ".join(submission["options"])
    for option in (
        f"-b {bps.repository} -g {path}/{submission['name']}.qg --dask tcp://127.0.0.1:9",
        "-o u/me/count --cores-per-quantum 1 --memory-per-quantum 2048MB",
        "--timeout 77 --no-versions",
    ):
        assert option in options
    ((report,), message) = bps.service.report(str(path))
    assert (report.state.name, message) == ("UNREADY", f"{path} was prepared, not submitted.")
    assert not bps.service.cancel(str(path))[0]
    assert bps.service.report(hist=100)[0] == []

    assert bps.service.restart(str(path)) == ("1", submission["name"], "")
    bps.wait(lambda: not find_driver(path).is_alive())
    ((report,), message) = bps.service.report("1")
    assert report.state.name == "FAILED"
    assert "Its last words: Error: No Dask scheduler answers at tcp://127.0.0.1:9" in message
    assert bps.counts("pipetaskInit") == {"SUCCEEDED": 1}
    assert bps.counts("count") == {"UNREADY": 2}
    assert bps.counts("finalJob") == {"PRUNED": 1}


def test_ids_that_nobody_knows(bps):
    for name in ("8", str(bps.folder)):
        reports, message = bps.service.report(name)
        assert reports == []
        assert message.startswith(
            f"There is no submission {name!r}. Ids are the numbers that bps submit prints"
        )
    assert bps.service.get_status("8")[0].name == "UNKNOWN"
    assert bps.service.list_submitted_jobs("8") == []
    assert bps.service.list_submitted_jobs() == []
    assert bps.service.cancel("8")[0] is False
    assert bps.service.restart("8")[:2] == (None, None)


@pytest.mark.slow
def test_ping(bps, monkeypatch):
    monkeypatch.setenv("ISR_DASK_WAIT", "1")
    assert bps("ping") == 0
    assert "INFO: local:1: 1 of 1 workers can be used." in bps.err
    status, message = bps.service.ping("tcp://127.0.0.1:9")
    assert (status, message.partition(" (")[0]) == (1, "No Dask scheduler answers at tcp://127.0.0.1:9")
    assert bps.service.ping("here")[0] == 1
