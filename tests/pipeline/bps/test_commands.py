"""Submissions from their beginning to their end, by LSST's own commands."""

from __future__ import annotations

import os
import signal
import subprocess

import pytest

from pipeline.bps.driver import find_driver
from tests.pipeline.bps.upstream import bps, commands, filled_repository

__all__ = ["bps", "commands", "filled_repository"]  # fixtures

RUN = "u/me/count"
VALUES = {903334: 903335, 903336: 903337}

pytestmark = pytest.mark.slow


def test_submit_cancel_restart(bps, commands):
    (bps.orders / "wait-903336").touch()
    assert bps("submit", *bps.options()) == 0, bps.err
    assert "Run Id: 1\n" in bps.out
    assert bps.rows()["Submit"][1] == str(bps.submit_folder())
    name = bps.rows()["Run"][1]

    bps.wait(lambda: bps.counts("double") == {"SUCCEEDED": 1, "UNREADY": 1})
    assert bps("report", "--id", 1) == 0
    rows = bps.rows()
    assert rows["RUNNING"] == ["50", "1", *rows["RUNNING"][2:-1], name]
    assert rows["pipetaskInit"] == ["0", "0", "0", "0", "0", "0", "0", "0", "1", "0", "0", "1"]
    assert rows["count"] == ["0", "0", "0", "0", "0", "1", "0", "0", "1", "0", "0", "2"]
    assert rows["double"] == ["0", "0", "1", "0", "0", "0", "0", "0", "1", "0", "0", "2"]
    assert rows["finalJob"] == ["0", "0", "1", "0", "0", "0", "0", "0", "0", "0", "0", "1"]
    assert [report.wms_id for report in bps.service.report()[0]] == ["1"]
    assert bps.service.list_submitted_jobs(user=bps.report().operator) == ["1"]
    problem = bps.service.restart("1")[2]
    assert problem.startswith(f"The driver of {bps.submit_folder()} is at work, process ")

    cancel = subprocess.Popen(["bps", "cancel", "--id", "1"], stdout=subprocess.PIPE, text=True)
    bps.wait(lambda: find_driver(bps.submit_folder()).is_canceled)
    (bps.orders / "wait-903336").unlink()
    assert cancel.communicate()[0] == "Successfully canceled job with id '1'\n"
    # The quantum that was at work has ended; what is done is registered.
    assert bps.report().state.name == "DELETED"
    assert bps.counts("count") == {"SUCCEEDED": 2}
    assert bps.counts("double") == {"SUCCEEDED": 1, "DELETED": 1}
    assert bps.counts("finalJob") == {"SUCCEEDED": 1}
    assert commands.values(RUN) == VALUES
    assert bps.service.cancel("1") == (False, "it has ended already: DELETED")
    assert bps.service.report("1")[1].startswith("Canceled; bps restart continues. Log: ")

    assert bps("restart", "--id", bps.submit_folder()) == 0
    assert bps.out == f"Run Id: 1\nRun Name: {name}\n"
    assert bps.wait_for_end() == "SUCCEEDED", bps.logs()
    assert bps.counts("double") == {"SUCCEEDED": 2}
    assert commands.chain(RUN) == [name.replace("u_me_count_", f"{RUN}/")]
    assert bps("status", "--id", 1) == 0
    assert bps.err == "lsst.ctrl.bps.drivers INFO: status: SUCCEEDED\n"
    assert bps.service.restart("1") == (None, None, "everything is done")


def test_failures(bps, commands):
    """The driver is lost; a quantum fails."""
    (bps.orders / "fail-903334").touch()
    (bps.orders / "wait-903336").touch()
    assert bps("submit", *bps.options(daskCluster="local:1")) == 0, bps.err
    bps.wait(lambda: bps.counts("count") == {"FAILED": 1, "RUNNING": 1})
    os.killpg(find_driver(bps.submit_folder()).pid, signal.SIGKILL)
    assert bps.wait_for_end() == "FAILED"
    assert bps.counts("count") == {"FAILED": 1, "READY": 1}
    assert bps.counts("double") == {"PRUNED": 1, "UNREADY": 1}
    assert bps.counts("finalJob") == {"PRUNED": 1}
    assert bps.service.report("1")[1].startswith("The driver ended before its time. Its last words: ")

    (bps.orders / "wait-903336").unlink()
    assert bps.service.restart("1")[0] == "1"
    assert bps.wait_for_end() == "FAILED"
    assert bps.counts("count") == {"SUCCEEDED": 1, "FAILED": 1}
    assert bps.counts("double") == {"SUCCEEDED": 1, "PRUNED": 1}
    assert bps.counts("finalJob") == {"SUCCEEDED": 1}
    assert commands.values(RUN).keys() == {903336}
    bps("report", "--id", 1, "--return-exit-codes")
    assert bps.rows()["count"] == ["1", "1", "0", "None"]
    assert "1 quantum failed. bps restart tries what is not done." in bps.out

    (bps.orders / "fail-903334").unlink()
    assert bps.service.restart("1")[0] == "1"
    assert bps.wait_for_end() == "SUCCEEDED", bps.logs()
    assert commands.values(RUN) == VALUES
    assert bps.service.report()[0] == []
    assert [report.wms_id for report in bps.service.report(hist=1)[0]] == ["1"]
