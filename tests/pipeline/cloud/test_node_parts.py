"""Parts of nodes: metadata, keys, lease, loops, jobs while S3 is away."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from botocore.exceptions import ClientError
from click.testing import CliRunner

from pipeline.cloud.aws import Account
from pipeline.cloud.jobs import Job, Jobs, key, new_id
from pipeline.cloud.node import __main__ as node_main
from pipeline.cloud.node import job_process, metadata, start
from pipeline.cloud.node.__main__ import main
from pipeline.cloud.node.identity import Identity
from pipeline.cloud.node.instances import instance_of
from pipeline.cloud.node.job_queue import JobQueue
from pipeline.cloud.node.lease_file import write_lease
from pipeline.cloud.node.metadata import Metadata, MetadataError
from pipeline.cloud.node.repeat import log, repeat
from pipeline.errors import CloudError

NODE = Identity("demo", "id1", "s3://bucket/isr", "us-west-2", "i-1")


class Service(BaseHTTPRequestHandler):
    """A metadata service that wants tokens."""

    values: dict[str, str]
    tokens: list[str]

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_PUT(self) -> None:
        assert self.path == "/latest/api/token"
        assert int(self.headers["X-aws-ec2-metadata-token-ttl-seconds"]) <= 21600
        self.tokens.append(f"token{len(self.tokens)}")
        self._answer(200, self.tokens[-1])

    def do_GET(self) -> None:
        if self.headers["X-aws-ec2-metadata-token"] != self.tokens[-1]:
            self._answer(401, "")
        elif self.path.removeprefix("/latest/meta-data/") in self.values:
            self._answer(200, self.values[self.path.removeprefix("/latest/meta-data/")])
        else:
            self._answer(404, "not found")

    def _answer(self, code: int, text: str) -> None:
        self.send_response(code)
        self.end_headers()
        self.wfile.write(text.encode())


@pytest.fixture
def service() -> Iterator[ThreadingHTTPServer]:
    Service.values, Service.tokens = {"instance-id": "i-0abc", "local-ipv4": "10.0.0.1"}, []
    with ThreadingHTTPServer(("127.0.0.1", 0), Service) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_metadata(service):
    found = Metadata(f"127.0.0.1:{service.server_port}")
    assert found.value("instance-id") == "i-0abc"
    assert found.get("spot/instance-action") is None
    assert Service.tokens == ["token0"], "one token for all"
    Service.tokens.append("the instance was stopped meanwhile")
    with pytest.raises(MetadataError, match="401"):
        found.get("local-ipv4")
    assert found.get("local-ipv4") == "10.0.0.1"


def test_no_metadata(monkeypatch):
    monkeypatch.setattr(metadata.time, "sleep", lambda _: None)
    with pytest.raises(MetadataError, match="does not answer"):
        Metadata("127.0.0.1:9").value("instance-id")


def test_lease_file(tmp_path):
    write_lease(1e9 + 0.5, tmp_path)
    assert (tmp_path / "lease-until").read_text() == "1000000000\n"
    write_lease(1e9, tmp_path)
    write_lease(2e9, tmp_path)
    assert (tmp_path / "lease-until").read_text() == "2000000000\n"
    assert os.listdir(tmp_path) == ["lease-until"]
    write_lease(1e9, tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_names_of_processes():
    assert instance_of("i-0abc12-3") == "i-0abc12"
    assert instance_of("i-0abc12") == "i-0abc12"
    assert instance_of("tcp://10.0.0.1:40000") == "tcp://10.0.0.1:40000"


def test_a_loop_goes_on(monkeypatch):
    said: list[str] = []  # not by caplog: Dask changes levels and propagation of its loggers
    monkeypatch.setattr(log, "warning", lambda text, *values, **_: said.append(text % values))
    count = 0

    async def step() -> None:
        nonlocal count
        count += 1
        if count < 4:
            raise CloudError("S3 is away")

    async def run() -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(repeat(step, 0.01), 0.3)

    asyncio.run(run())
    assert count > 5
    assert said == ["CloudError: S3 is away"]


class Secrets:
    """AWS's parameter store."""

    def __init__(self, values: dict[str, str], refusals: int = 0) -> None:
        self.values, self.refusals = values, refusals

    def client(self, service: str) -> Secrets:
        assert service == "ssm"
        return self

    def get_parameter(self, Name: str, WithDecryption: bool) -> dict:
        code = "ParameterNotFound" if Name not in self.values else ""
        if self.refusals:
            self.refusals, code = self.refusals - 1, "AccessDeniedException"
        if code:
            raise ClientError({"Error": {"Code": code, "Message": "no"}}, "GetParameter")
        return {"Parameter": {"Value": self.values[Name]}}


@pytest.fixture
def executed(monkeypatch, tmp_path) -> list[tuple[list[str], dict[str, str]]]:
    """What would have become of this process."""
    found: list[tuple[list[str], dict[str, str]]] = []
    monkeypatch.setattr(os, "execve", lambda _, command, variables: found.append((command, variables)))
    monkeypatch.setattr(start.tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(start.time, "sleep", lambda _: None)
    return found


def secrets(monkeypatch, refusals: int = 0, **values: str) -> None:
    path = NODE.place.parameters("demo", "id1")
    store = Secrets({f"{path}/{name.replace('__', '/')}": value for name, value in values.items()}, refusals)
    monkeypatch.setattr(Identity, "account", lambda _: store)


def test_head_starts(executed, monkeypatch):
    names = ("ca", "cert", "key", "client_cert", "client_key")
    keys = json.dumps({name: f"{name} of the scheduler" for name in names})
    secrets(monkeypatch, refusals=2, tls__scheduler=keys, **{"db-auth": "- url: x\n"})
    arguments = ["--cluster", "demo", "--id", "id1", "--state", NODE.state, "--region", "us-west-2"]
    result = CliRunner().invoke(main, ["head", *arguments, "--instance", "i-1", "--host", "10.0.0.1"])
    assert result.exit_code == 0, result.output
    ((command, variables),) = executed
    assert command == [
        *(sys.executable, "-m", "dask", "scheduler", "--protocol", "tls", "--host", "10.0.0.1"),
        *("--port", "8786", "--no-dashboard", "--preload", "pipeline.cloud.node.head"),
    ]
    tls = "DASK_DISTRIBUTED__COMM__TLS__"
    for name, said in (
        ("SCHEDULER__CERT", "cert of the scheduler"),
        ("SCHEDULER__KEY", "key of the scheduler"),
        ("CLIENT__KEY", "client_key of the scheduler"),
        ("CA_FILE", "ca of the scheduler"),
    ):
        assert Path(variables[tls + name]).read_text() == said
    assert Path(variables["LSST_DB_AUTH"]).read_text() == "- url: x\n"
    for path in Path(variables["LSST_DB_AUTH"]).parent.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert variables["DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION"] == "True"
    monkeypatch.setattr(os, "environ", variables)
    assert Identity.of_environment() == NODE
    assert not any("of the scheduler" in value for value in (*variables.values(), *command))


def test_worker_starts(executed, monkeypatch):
    secrets(monkeypatch, tls__worker=json.dumps({"ca": "a", "cert": "b", "key": "c"}))
    start.become_worker(NODE, "10.0.0.2", "10.0.0.1", 3)
    ((command, variables),) = executed
    text = " ".join(command)
    assert "dask worker tls://10.0.0.1:8786 --host 10.0.0.2 --name i-1 --nworkers 3 --nthreads 1" in text
    assert f"--memory-limit {os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') // 3}" in text
    assert Path(variables["DASK_DISTRIBUTED__COMM__TLS__WORKER__KEY"]).read_text() == "c"
    assert "LSST_DB_AUTH" not in variables


@pytest.mark.parametrize(
    ("processors", "gib", "expected"), [(4, 15.4, 4), (4, 7.6, 3), (16, 7.6, 3), (2, 1.9, 1), (1, 0.5, 1)]
)
def test_as_many_processes_as_memory_allows(monkeypatch, processors, gib, expected):
    memory = {"SC_PHYS_PAGES": int(gib * 2**18), "SC_PAGE_SIZE": 4096}
    monkeypatch.setattr(os, "sysconf", memory.__getitem__)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(processors)))
    assert start.processes_that_fit() == expected
    asked: list[int] = []
    monkeypatch.setattr(node_main, "become_worker", lambda *words: asked.append(words[-1]))
    arguments = ["--cluster", "demo", "--id", "id1", "--state", NODE.state, "--region", "us-west-2"]
    arguments += ["--instance", "i-1", "--host", "10.0.0.2", "--head", "10.0.0.1", "--processes"]
    for given in ("0", "5"):
        assert CliRunner().invoke(main, ["worker", *arguments, given]).exit_code == 0
    assert asked == [expected, 5]


def test_secrets_that_are_not_there(executed, monkeypatch):
    secrets(monkeypatch)
    with pytest.raises(CloudError, match=r"cannot read the secret /isr/.*/demo/id1/tls/worker"):
        start.become_worker(NODE, "10.0.0.2", "10.0.0.1", 3)
    secrets(monkeypatch, refusals=100, tls__worker="{}")
    with pytest.raises(CloudError, match="AccessDenied"):
        start.become_worker(NODE, "10.0.0.2", "10.0.0.1", 3)
    assert not executed


@pytest.fixture
def queue(jobs: Jobs, tmp_path, monkeypatch) -> JobQueue:
    """The jobs of a head, which are done by echo."""
    monkeypatch.setattr(job_process, "COMMAND", (sys.executable, "-c", "print('done')"))
    monkeypatch.setenv("DASK_TEMPORARY_DIRECTORY", str(tmp_path))
    return JobQueue(jobs, "id1", "tcp://127.0.0.1:9", lambda _: None)


def submit(jobs: Jobs, files: dict[str, str] | None = None) -> str:
    job = Job(new_id(), "id1", (), files or {}, "me", time.time())
    jobs.submit(job, {})
    return job.id


async def look_until_ended(queue: JobQueue, job: str) -> int:
    """Return how many looks have failed."""
    failed = 0
    for _ in range(200):
        try:
            await queue.look()
        except CloudError:
            failed += 1
        if queue.document().get(job) == "ended":
            return failed
        await asyncio.sleep(0.05)
    raise AssertionError(queue.document())


@pytest.mark.s3
def test_a_job_while_s3_is_away(queue, jobs, monkeypatch):
    """It is executed once, and its end is told when S3 is there again."""
    job = submit(jobs)
    write, refused = jobs.store.write, {"out.txt": 3, "state.json": 5}

    def shaky(name: str, *arguments: object, **more: object) -> object:
        last = name.rpartition("/")[2]
        if refused.get(last):
            refused[last] -= 1
            raise CloudError(f"cannot write {name}")
        return write(name, *arguments, **more)

    monkeypatch.setattr(jobs.store, "write", shaky)
    assert asyncio.run(look_until_ended(queue, job)) == 8
    assert jobs.state(job)["exit_code"] == 0
    assert jobs.store.read(key(job, "out.txt"))[0] == b"done\n"


@pytest.mark.s3
def test_jobs_that_cannot_begin(queue, jobs, monkeypatch):
    lost = submit(jobs, {"1-a.py": "a.py"})
    asyncio.run(look_until_ended(queue, lost))
    assert "1-a.py of the job" in jobs.state(lost)["error"]
    monkeypatch.setattr(job_process, "COMMAND", ("no-such-command",))
    job = submit(jobs)
    asyncio.run(look_until_ended(queue, job))
    assert "no-such-command" in jobs.state(job)["error"]
    assert queue.is_empty


@pytest.mark.s3
def test_broken_jobs_keep_nobody_waiting(queue, jobs, monkeypatch):
    """They are rejected with a reason; one that S3 does not give now is looked at again."""
    broken = {
        b"[]": "is not a JSON object",
        b"{": "is not a JSON object",
        b'{"cluster_id": "id1", "arguments": [], "submitted": "x"}': "the time of its submission",
        b'{"cluster_id": "id1", "arguments": [], "submitted": NaN}': "the time of its submission",
        b'{"cluster_id": "id1", "arguments": ["--input=\\ud800"]}': "surrogates not allowed",
        b"[" * 100_000: "recursion",
    }
    names = [f"20260101T00000{number}-ab12cd" for number in range(len(broken) + 2)]
    for name, text in zip(names, broken, strict=False):
        jobs.store.write(key(name, "job.json"), text)
    unreadable, state = names[-2:]
    jobs.store.write(key(state, "job.json"), Job(state, "id1", (), {}, "me", 0.0).to_json())
    jobs.store.write(key(state, "state.json"), b"[]")
    jobs.store.write(key(unreadable, "job.json"), Job(unreadable, "id1", (), {}, "me", 0.0).to_json())
    good, read = submit(jobs), jobs.store.read

    def refuse(name: str):
        if name == key(unreadable, "job.json"):
            raise CloudError("cannot read this one")
        return read(name)

    monkeypatch.setattr(jobs.store, "read", refuse)
    assert asyncio.run(look_until_ended(queue, good)) > 1
    assert jobs.state(good)["exit_code"] == 0
    for name, said in zip([*names[:-2], state], [*broken.values(), "is not a JSON object"], strict=True):
        found = jobs.state(name)
        assert (found["state"], found["exit_code"]) == ("ended", None), found
        assert said in found["error"]
    assert jobs.state(unreadable) == {"state": "waiting"}
    monkeypatch.setattr(jobs.store, "read", read)
    assert asyncio.run(look_until_ended(queue, unreadable)) == 0


@pytest.mark.s3
def test_a_long_log(queue, jobs, monkeypatch, capfd):
    """It comes in pieces, none longer than some limit, and nothing is lost."""
    monkeypatch.setattr(job_process, "PIECE", 1000)
    script = "import sys; sys.stderr.write('x' * 2500 + '\\n' + 'y\\n' * 300 + 'z')"
    monkeypatch.setattr(job_process, "COMMAND", (sys.executable, "-c", script))
    job = submit(jobs)
    asyncio.run(look_until_ended(queue, job))
    pieces = [jobs.store.read(name)[0] for name in jobs.store.list(key(job, "log/"))]
    assert b"".join(pieces) == b"x" * 2500 + b"\n" + b"y\n" * 300 + b"z"
    assert max(map(len, pieces)) == 1000
    assert "y\ny\n" in capfd.readouterr().out


def test_accounts_of_nodes(no_aws):
    assert isinstance(NODE.account(), Account)
    assert NODE.account().region == "us-west-2"


def test_a_thread_that_hangs_does_not_keep_the_machine(tmp_path):
    """Python waits for its threads at the end; the container, and the machine, would wait with it."""
    code = (
        "import threading, time; from pipeline.cloud.node.repeat import end_within; "
        "threading.Thread(target=time.sleep, args=(60,)).start(); end_within(0.3)"
    )
    begin = time.monotonic()
    assert subprocess.run([sys.executable, "-c", code], timeout=50).returncode == 0
    assert time.monotonic() - begin < 30
