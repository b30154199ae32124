"""isr-run --dask: quanta on worker processes, with a task that takes no time."""

from __future__ import annotations

import json
import logging
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import dask
import pytest
from distributed import LocalCluster
from lsst.daf.butler import Butler

from pipeline.butler_mode.claim import claim
from pipeline.execution import environment, journal
from tests.pipeline.butler_mode_repository import EXPOSURES, TASK, Commands, commands, filled_repository
from tests.pipeline.count_task import ORDERS

__all__ = ["commands", "filled_repository"]  # fixtures

VALUES = {exposure: exposure + 1 for exposure in EXPOSURES}


@dataclass
class Cluster:
    """A cluster that is there already, reached by its address."""

    dask: LocalCluster
    orders: Path

    def processes(self) -> list[int]:
        """Return the ids of the worker processes."""
        return [nanny.pid for nanny in self.dask.workers.values() if nanny.pid]


@pytest.fixture(scope="module")
def started_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    orders = tmp_path_factory.mktemp("orders")
    with (
        dask.config.set(
            {
                "distributed.worker.multiprocessing-method": "forkserver",
                "distributed.deploy.lost-worker-timeout": "10 minutes",  # the machine may be busy
            }
        ),
        LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            silence_logs=logging.CRITICAL,
            env={ORDERS: str(orders)},
        ) as cluster,
    ):
        yield Cluster(cluster, orders)


@pytest.fixture(autouse=True)
def _has_no_children(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that fails ends the processes of its process; those of the cluster are not its own."""
    monkeypatch.setattr("pipeline.butler_mode.execute.multiprocessing.active_children", list)


@pytest.fixture
def cluster(started_cluster: Cluster) -> Iterator[Cluster]:
    """The cluster, with all its workers and without orders."""
    started_cluster.dask.wait_for_workers(2, timeout=60)
    yield started_cluster
    for order in started_cluster.orders.iterdir():
        order.unlink()


@pytest.fixture
def on_cluster(commands: Commands, cluster: Cluster):
    """Return a function that runs the counting task on the cluster."""

    def run(*arguments: object) -> int:
        return commands.count("--dask", cluster.dask.scheduler_address, *arguments)

    return run


def registered(commands: Commands, run: str) -> dict[str, int]:
    """Return the number of datasets by type."""
    with Butler.from_config(commands.root) as butler:
        counts: dict[str, int] = {}
        for ref in butler.query_all_datasets(run, find_first=False):
            counts[ref.datasetType.name] = counts.get(ref.datasetType.name, 0) + 1
        return counts


def files(commands: Commands, run: str) -> list[Path]:
    """Return the files of a RUN, by name."""
    return sorted(path for path in (commands.root / run).rglob("*") if path.is_file())


def sizes(commands: Commands, run: str) -> list[int]:
    """Return the sizes of its files that the repository knows, by name of the file."""
    with closing(sqlite3.connect(commands.root / "gen3.sqlite3")) as database:
        query = "SELECT path, file_size FROM file_datastore_records WHERE path LIKE ?"
        return [size for _, size in sorted(database.execute(query, (f"{run}/%",)))]


def times(commands: Commands, run: str) -> dict[str, float]:
    """Return when the files of what the task wrote were written."""
    with Butler.from_config(commands.root) as butler:
        refs = butler.query_datasets("count", run)
        return {str(ref.id): Path(butler.getURI(ref).ospath).stat().st_mtime for ref in refs}


def test_all_quanta(on_cluster, commands, tmp_path):
    summary = tmp_path / "summary.json"
    assert on_cluster("-o", "u/me/count", "--summary", summary) == 0
    assert commands.values("u/me/count") == VALUES
    assert "3 done, 0 skipped (done before), 0 failed." in commands.said
    (run,) = commands.chain("u/me/count")
    assert commands.out == f"{run}\n"
    assert registered(commands, run) == {"count": 3, "count_log": 3, "count_metadata": 3, "count_config": 1}
    assert not journal.where(str(commands.root), run).exists()
    assert sizes(commands, run) == [path.stat().st_size for path in files(commands, run)]
    document = json.loads(summary.read_text())
    assert document["status"] == "success"
    assert [quantum["status"] for quantum in document["execution"]["quanta"]] == ["done"] * 3
    assert document["execution"]["retries"] == 0
    assert document["execution"]["workers"] == 2
    with Butler.from_config(commands.root, collections=run) as butler:
        for exposure in EXPOSURES:
            log = butler.get("count_log", exposure=exposure, detector=22, instrument="HSC")
            counted = [line.message for line in log if line.message.startswith("Counting")]
            assert counted == [f"Counting {exposure}"]  # its own, and only that


def test_the_same_command_again(on_cluster, commands):
    assert on_cluster("-o", "u/me/count") == 0
    assert on_cluster("-o", "u/me/count") == 0
    assert "Everything was already done: 3 quanta" in commands.said
    assert len(commands.chain("u/me/count")) == 1


def test_a_failure_stops_nothing_and_is_tried_once(on_cluster, commands, cluster):
    run = "u/me/failing"
    (cluster.orders / "fail-903336").touch()
    assert on_cluster("--output-run", run) == 1
    assert "raw of 903336: cut short; fetch it again." in commands.said
    assert "0 retried" in commands.said
    assert "2 done, 0 skipped (done before), 1 failed." in commands.said
    assert commands.values(run).keys() == {903334, 903338}
    assert registered(commands, run) == {"count": 2, "count_log": 3, "count_metadata": 2, "count_config": 1}
    (cluster.orders / "fail-903336").unlink()
    assert on_cluster("--output-run", run) == 0
    assert "1 done, 2 skipped (done before), 0 failed." in commands.said
    assert commands.values(run) == VALUES
    assert registered(commands, run) == {"count": 3, "count_log": 3, "count_metadata": 3, "count_config": 1}


def when_waiting(cluster: Cluster, exposure: int, action) -> threading.Thread:
    """Do something when a quantum is at work: it waits until then."""
    (cluster.orders / f"wait-{exposure}").touch()
    pid = cluster.orders / f"pid-{exposure}"

    def act():
        while not pid.exists() or not pid.read_text():
            time.sleep(0.02)
        action(int(pid.read_text()))

    thread = threading.Thread(target=act, daemon=True)
    thread.start()
    return thread


def test_a_worker_that_is_killed(on_cluster, commands, cluster):
    def kill(pid: int) -> None:
        (cluster.orders / "wait-903336").unlink()
        os.kill(pid, signal.SIGKILL)

    killer = when_waiting(cluster, 903336, kill)
    assert on_cluster("--output-run", "u/me/killed") == 0
    killer.join(5)
    assert commands.values("u/me/killed") == VALUES
    assert registered(commands, "u/me/killed")["count"] == 3
    # A worker that only seems to be dead may write its log once more, with another length.
    assert [size < 0 for size in sizes(commands, "u/me/killed")].count(True) == 3, "count, log and metadata"


def test_none_waits_for_a_long_one(on_cluster, commands, cluster):
    """The third quantum was given to a worker that is busy; it goes to the one that is idle."""
    written: list[Path] = []

    def release(_: int) -> None:
        deadline = time.monotonic() + 60
        while len(written) < 2 and time.monotonic() < deadline:
            written[:] = (commands.root / "u/me/long").glob("count/**/*.yaml")
            time.sleep(0.05)
        (cluster.orders / "wait-903334").unlink()

    releaser = when_waiting(cluster, 903334, release)
    assert on_cluster("--output-run", "u/me/long") == 0
    releaser.join(5)
    assert len(written) == 2, "the third waited for the long one"
    assert commands.values("u/me/long") == VALUES


def test_a_quantum_that_hangs(on_cluster, commands, cluster, tmp_path):
    """It is tried once more, then given up; the others are done."""
    (cluster.orders / "wait-903336").touch()
    summary = tmp_path / "summary.json"
    assert on_cluster("--output-run", "u/me/hung", "--timeout", "2", "--summary", summary) == 1
    assert "it took longer than --timeout 2 s (tried 2 times)" in commands.said
    assert commands.values("u/me/hung").keys() == {903334, 903338}
    assert json.loads(summary.read_text())["execution"]["retries"] == 1


def test_a_command_that_was_lost(on_cluster, commands, cluster, monkeypatch):
    """What it had finished is registered by the next one, and not executed again."""
    run = "u/me/lost"
    with monkeypatch.context() as patch:
        patch.setattr(journal, "register", lambda *_: pytest.fail("not reached"))  # as SIGKILL before the end
        patch.setattr("pipeline.butler_mode.execute._write_summary", lambda *_: None)
        (cluster.orders / "fail-903338").touch()
        with pytest.raises(pytest.fail.Exception):
            on_cluster("--output-run", run)
    assert journal.where(str(commands.root), run).exists()
    assert registered(commands, run) == {"count_config": 1}
    (cluster.orders / "fail-903338").unlink()
    assert on_cluster("--output-run", run) == 0
    assert "1 done, 2 skipped (done before), 0 failed." in commands.said
    assert commands.values(run) == VALUES
    assert not journal.where(str(commands.root), run).exists()


def test_two_commands_on_one_run(on_cluster, commands):
    with claim(str(commands.root), "u/me/both"):
        assert on_cluster("--output-run", "u/me/both") == 1
    assert "Another isr-run is writing to the RUN u/me/both right now" in commands.said


def test_workers_with_other_versions(on_cluster, commands, monkeypatch):
    here = environment.versions()
    monkeypatch.setattr("pipeline.execution.driver.versions", lambda: {**here, "numba": "0.1"})
    assert on_cluster("--output-run", "u/me/versions") == 1
    assert f"numba is {here['numba']} there, 0.1 here" in commands.said
    assert "Install the same versions everywhere" in commands.said
    assert registered(commands, "u/me/versions").get("count") is None


@contextmanager
def another_worker(cluster: Cluster, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """Let one more worker join, as a user starts it."""
    address = cluster.dask.scheduler_address
    command = [sys.executable, "-m", "distributed.cli.dask_worker", address, "--no-nanny", "--no-dashboard"]
    with subprocess.Popen([*command, *options], stderr=subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + 60
            while len(cluster.dask.scheduler_info["workers"]) < 3 and time.monotonic() < deadline:
                time.sleep(0.1)
            yield process
        finally:
            process.kill()


def test_a_worker_that_is_not_fit(on_cluster, commands, cluster):
    """It gets nothing, also while it is the only one that is idle, and is named once."""
    (cluster.orders / "wait-903334").touch()
    with another_worker(cluster, "--nthreads", "2"):
        waiting = when_waiting(cluster, 903334, lambda _: (cluster.orders / "wait-903334").unlink())
        assert on_cluster("--output-run", "u/me/mixed") == 0
        waiting.join(5)
    assert commands.values("u/me/mixed") == VALUES
    assert commands.said.count("gets nothing") == 1
    assert "it has 2 threads" in commands.said


def test_a_worker_that_does_not_answer(on_cluster, commands, cluster, monkeypatch):
    for module in ("driver", "workers"):
        monkeypatch.setattr(f"pipeline.execution.{module}._ANSWER_SECONDS", 0.5)
    with another_worker(cluster, "--nthreads", "1") as frozen:
        os.kill(frozen.pid, signal.SIGSTOP)
        assert on_cluster("--output-run", "u/me/frozen") == 0
    assert commands.values("u/me/frozen") == VALUES
    assert registered(commands, "u/me/frozen")["count"] == 3


def test_ctrl_c_while_the_workers_are_left(on_cluster, commands, monkeypatch):
    """What was finished is registered all the same."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pipeline.execution.driver._cache_statistics", interrupted)
    assert on_cluster("--output-run", "u/me/left") == 130
    assert registered(commands, "u/me/left")["count"] == 3


@pytest.mark.parametrize(
    ("spec", "code", "said"),
    [
        ("local", 2, "--dask local: expected local:N"),
        ("local:0", 2, "--dask local:0: expected local:N"),
        ("ssh://there:22", 2, "expected local:N"),
        ("local:\u0662", 2, "expected local:N"),
        ("local:100000", 2, "a worker needs about 1"),
        ("tcp://127.0.0.1", 2, "expected local:N"),
        ("tcp://127.0.0.1:99999", 2, "expected local:N"),
        ("tls://127.0.0.1:9", 1, "there are no certificates"),
        ("tcp://127.0.0.1:9", 1, "No Dask scheduler answers at tcp://127.0.0.1:9"),
    ],
)
def test_mistakes(commands, monkeypatch, spec, code, said):
    monkeypatch.setenv("ISR_DASK_WAIT", "1")
    assert commands.count("--dask", spec, "-o", "u/me/x") == code
    assert said in commands.said
    assert "Traceback" not in commands.err


def test_processes_of_this_machine(commands):
    """They see the variables of the command; after a failure with --fail-fast nothing is begun."""
    (commands.orders / "fail-903334").touch()
    assert commands.count("--dask", "local:1", "--output-run", "u/me/local", "--fail-fast") == 1
    assert "1 done, 0 skipped (done before), 1 failed, 1 not finished." in commands.said
    assert commands.values("u/me/local").keys() == {903336}


def test_a_saved_graph(commands, cluster, tmp_path):
    """Only one that says where the inputs are."""
    for name, options in (("with", ["--qgraph-datastore-records"]), ("without", [])):
        graph = tmp_path / f"{name}.qg"
        code = commands(
            *TASK, "--no-versions", "--output-run", f"u/me/{name}", "--show", "graph", "-q", graph, *options
        )
        assert code == 0, commands.err
    address = cluster.dask.scheduler_address
    assert commands("-g", tmp_path / "with.qg", "--output-run", "u/me/with", "--dask", address) == 0
    assert commands.values("u/me/with") == VALUES
    before = times(commands, "u/me/with")
    assert commands("-g", tmp_path / "with.qg", "--output-run", "u/me/with", "--dask", address) == 0
    assert times(commands, "u/me/with") == before
    assert commands("-g", tmp_path / "without.qg", "--output-run", "u/me/without", "--dask", address) == 1
    assert "--qgraph-datastore-records" in commands.said
