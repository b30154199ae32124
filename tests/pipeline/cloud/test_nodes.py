"""Heads and workers as processes: jobs, status, idle stop, spot notice, scaling down."""

from __future__ import annotations

import json
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from distributed import Client

from pipeline.cloud.jobs import Job, Jobs, key, new_id, placeholder
from pipeline.cloud.node.identity import Identity
from tests.pipeline.cloud.node_processes import Node, start_head, start_worker, wait_for

pytestmark = pytest.mark.s3

DRIVER = """#!{python}
import json, os, signal, sys, time
from pathlib import Path

def option(name):
    return next(a.partition("=")[2] for a in sys.argv if a.startswith(f"--{{name}}="))

def end(*_):
    print("registered", file=sys.stderr)
    sys.exit(143)

signal.signal(signal.SIGTERM, end)
orders = Path("{folder}")
print("arguments", json.dumps(sys.argv[1:]), file=sys.stderr, flush=True)
print("the result")
Path(option("status-file")).write_text(json.dumps({{"phase": "execution", "tasks": {{}}}}))
Path(option("summary")).write_text("{{}}")
while (orders / "wait").exists():
    time.sleep(0.05)
sys.exit(int((orders / "code").read_text()))
"""


class Cluster:
    """A head and its workers."""

    def __init__(self, jobs: Jobs, place: object, folder: Path, document) -> None:
        self.jobs, self.place, self.folder, self.document = jobs, place, folder, document
        self._stack = ExitStack()
        self.head: Node | None = None
        for name in ("run", "notice"):
            (folder / name).mkdir()
        driver = folder / "driver"
        driver.write_text(DRIVER.format(python=sys.executable, folder=folder))
        driver.chmod(driver.stat().st_mode | stat.S_IXUSR)
        self.order(code=0)

    def close(self) -> None:
        self._stack.close()

    def order(self, *, wait: bool = False, code: int = 0) -> None:
        (self.folder / "code").write_text(str(code))
        (self.folder / "wait").touch()
        if not wait:
            (self.folder / "wait").unlink()

    def identity(self, instance: str) -> Identity:
        return Identity("demo", "id1", str(self.place), "us-east-1", instance)

    def start(self, *workers: str, processes: int = 1) -> list[Node]:
        if self.head is None:
            self.head = self._stack.enter_context(start_head(self.identity("i-0"), self.folder))
        nodes = [
            self._stack.enter_context(
                start_worker(self.identity(name), self.folder, self.head.address, processes)
            )
            for name in workers
        ]
        for name in workers:
            wait_for(
                lambda name=name: (
                    self.status().get("workers", {}).get(name, {}).get("processes") == processes
                ),
                60,
                lambda name=name: f"{name} has not come: {nodes[0].said} {self.head.said}",
            )
        return nodes

    def status(self) -> dict:
        return self.jobs.store.read_json("status.json") or {}

    def submit(self, *arguments: str, files: dict[str, bytes] | None = None) -> str:
        job = Job(new_id(), "id1", arguments, dict.fromkeys(files or {}, "local"), "me", time.time())
        self.jobs.submit(job, files or {})
        return job.id

    def wait_for_state(self, job: str, state: str) -> dict:
        return wait_for(
            lambda: (found := self.jobs.state(job))["state"] == state and found,
            30,
            lambda: f"{job} is not {state}: {self.head.said}",
        )

    def log(self, job: str) -> str:
        pieces = self.jobs.store.list(key(job, "log/"))
        return b"".join(self.jobs.store.read(piece)[0] for piece in pieces).decode()

    def wait_for_end(self, node: Node, seconds: float = 30) -> int:
        wait_for(lambda: node.process.poll() is not None, seconds, lambda: node.said)
        return node.process.returncode

    def events(self, kind: str) -> list[dict]:
        return [event for event in self.status()["events"] if event["kind"] == kind]


@pytest.fixture
def cluster(jobs: Jobs, place, tmp_path: Path, document) -> Iterator[Cluster]:
    document()
    cluster = Cluster(jobs, place, tmp_path, document)
    try:
        yield cluster
    finally:
        cluster.close()


def test_jobs(cluster: Cluster):
    """One after the other, with their files; what they say comes back, and the lease goes to the host."""
    cluster.order(wait=True)
    old = Job(new_id(), "id0", (), {}, "me", 0.0)  # of an earlier cluster
    cluster.jobs.submit(old, {})
    first = cluster.submit(f"--config-file=isr:{placeholder('1-a.py')}", files={"1-a.py": b"config.x = 1"})
    second = cluster.submit("--fail-fast")
    bad = cluster.submit("--dask=local:4")
    cluster.start()
    cluster.wait_for_state(first, "running")
    assert "'--dask' is not for jobs" in cluster.wait_for_state(bad, "ended")["error"]
    wait_for(lambda: "arguments" in cluster.log(first), 10, "no log")
    wait_for(lambda: cluster.status()["jobs"].get(second) == "waiting", 10, "not in the status")
    assert cluster.status()["jobs"][first] == "running"
    assert cluster.jobs.store.read_json(key(first, "status.json"))["phase"] == "execution"
    config, *rest = json.loads(cluster.log(first).partition("arguments ")[2])
    assert config.startswith(f"--config-file=isr:{cluster.folder}/isr-job-{first}-")
    assert Path(config.partition(":")[2]).read_text() == "config.x = 1"
    assert [argument.partition("=")[0] for argument in rest] == ["--dask", "--status-file", "--summary"]
    assert rest[0] == f"--dask={cluster.head.address}"
    cluster.order(code=1)
    assert cluster.wait_for_state(first, "ended")["exit_code"] == 1
    assert cluster.wait_for_state(second, "ended")["exit_code"] == 1
    assert cluster.jobs.store.read(key(first, "out.txt"))[0] == b"the result\n"
    assert cluster.jobs.store.read_json(key(first, "summary.json")) == {}
    assert "arguments" in cluster.head.said, "CloudWatch has the log, too"
    assert cluster.jobs.state(old.id) == {"state": "waiting"}
    assert not list(cluster.folder.glob("isr-job-*"))
    assert (cluster.folder / "run" / "lease-until").read_text().strip().isdigit()


def test_cancel(cluster: Cluster):
    cluster.order(wait=True)
    first, second = cluster.submit(), cluster.submit()
    cluster.start()
    wait_for(lambda: "arguments" in cluster.log(first), 30, "not begun")
    cluster.jobs.cancel(second)
    assert "cancelled before it began" in cluster.wait_for_state(second, "ended")["error"]
    cluster.jobs.cancel(first)
    assert cluster.wait_for_state(first, "ended")["exit_code"] == 143
    assert "registered" in cluster.log(first)


def test_a_head_that_was_started_anew(cluster: Cluster):
    job = cluster.submit()
    cluster.jobs.write_state(job, "running")
    cluster.start()
    assert "started anew" in cluster.wait_for_state(job, "ended")["error"]


@pytest.mark.parametrize("why", ["ending", "lease", "other", "lost", "gone"])
def test_the_end(cluster: Cluster, why):
    """A job that runs may register what it has finished; head and workers end."""
    cluster.order(wait=True)
    job = cluster.submit()
    (worker,) = cluster.start("i-1")
    wait_for(lambda: "arguments" in cluster.log(job), 30, "not begun")
    waiting = cluster.submit()
    wait_for(lambda: cluster.status()["jobs"].get(waiting) == "waiting", 10, "not seen")
    match why:
        case "ending":
            cluster.document(phase="ending")
        case "lease":
            cluster.document(lease_until=time.time() + 100)
        case "other":
            cluster.document(id="id2")
        case "lost":
            cluster.document(phase="starting")
        case "gone":
            cluster.jobs.store.remove("cluster.json")
    assert cluster.wait_for_end(cluster.head) == 0
    assert cluster.wait_for_end(worker) == 0
    state = cluster.jobs.state(job)
    assert state["exit_code"] == 143
    assert "the cluster ends" in state["error"]
    assert "registered" in cluster.log(job)
    assert "it had not begun" in cluster.jobs.state(waiting)["error"]
    if why in ("ending", "lease", "lost"):
        assert cluster.status()["phase"] == "stopping"


def test_idle(cluster: Cluster):
    (worker,) = cluster.start("i-1", processes=2)
    cluster.document(idle=4)
    wait_for(lambda: cluster.status()["idle_since"], 10, "not idle")
    with Client(cluster.head.address, set_as_default=False) as client:
        client.submit(time.sleep, 4.5).result()
        assert cluster.status()["idle_since"] is None
    assert cluster.wait_for_end(cluster.head) == 0
    assert cluster.wait_for_end(worker) == 0
    assert cluster.status()["reason"] == "idle for 4 s"
    assert cluster.status()["seen"]["i-1"][1] > cluster.status()["seen"]["i-1"][0]


def slow(folder: str, number: int) -> int:
    """Note that it has begun, and take a while."""
    with Path(folder, "begun").open("a") as file:
        file.write(f"{number}\n")
    time.sleep(1.0)
    return number


def begun(cluster: Cluster) -> list[str]:
    path = cluster.folder / "begun"
    return path.read_text().split() if path.exists() else []


@pytest.mark.slow
def test_spot_notice(cluster: Cluster):
    """Both processes finish what they execute, for longer than the memory monitor takes to wake them up."""
    taken, _ = cluster.start("i-1", "i-2", processes=2)
    with Client(cluster.head.address, set_as_default=False) as client:
        futures = client.map(slow, [str(cluster.folder)] * 12, range(12), pure=False)
        wait_for(lambda: len(begun(cluster)) >= 4, 20, "not begun")
        (cluster.folder / "notice" / "i-1").write_text('{"action": "terminate"}')
        wait_for(lambda: cluster.events("spot"), 10, "no event")
        assert cluster.status()["workers"]["i-1"]["state"] == "draining"
        assert client.gather(futures) == list(range(12))
    assert cluster.wait_for_end(taken) == 0
    assert sorted(begun(cluster), key=int) == [str(number) for number in range(12)], "computed twice"
    assert [event["instance"] for event in cluster.events("spot")] == ["i-1"], "once for both processes"
    wait_for(lambda: cluster.events("left"), 10, "not left")
    assert list(cluster.status()["workers"]) == ["i-2"]
    assert cluster.head.process.poll() is None


def test_scaling_down(cluster: Cluster):
    """The idle one goes first, then one that is at work, when it has finished."""
    nodes = dict(zip(("i-1", "i-2", "i-3"), cluster.start("i-1", "i-2"), strict=False))
    with Client(cluster.head.address, set_as_default=False) as client:
        busy = client.submit(slow, str(cluster.folder), 1, workers=["i-1"], pure=False)
        wait_for(lambda: begun(cluster), 10, "not begun")
        cluster.document(workers=1)
        assert cluster.wait_for_end(nodes["i-2"]) == 0
        assert busy.result() == 1
        again = client.submit(slow, str(cluster.folder), 2, workers=["i-1"], pure=False)
        wait_for(lambda: len(begun(cluster)) == 2, 10, "not begun")
        cluster.document(workers=0)
        assert again.result() == 2
    assert cluster.wait_for_end(nodes["i-1"]) == 0
    assert begun(cluster) == ["1", "2"]


@pytest.mark.slow
def test_idle_while_others_work(cluster: Cluster):
    """Whole instances go; one stays."""
    cluster.order(wait=True)
    job = cluster.submit()
    nodes = cluster.start("i-1", "i-2", processes=2)
    cluster.wait_for_state(job, "running")
    cluster.document(idle=2)
    wait_for(lambda: any(node.process.poll() is not None for node in nodes), 30, lambda: cluster.head.said)
    time.sleep(3)
    assert [node.process.poll() for node in nodes].count(None) == 1
    assert cluster.head.process.poll() is None
    cluster.order()
    assert cluster.wait_for_state(job, "ended")["exit_code"] == 0
    assert cluster.wait_for_end(cluster.head) == 0, "now the cluster is idle"
