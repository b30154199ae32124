"""A job as the machine of the user sees it."""

from __future__ import annotations

import io
import os
import threading
import time
from dataclasses import asdict

import pytest
from rich.console import Console

from pipeline.cli import entry
from pipeline.cli.isr_run import names_job
from pipeline.cli.isr_run_job import command as job_command
from pipeline.cloud import follow
from pipeline.cloud.follow import Follower
from pipeline.cloud.jobs import Job, Jobs, key, new_id
from pipeline.errors import CloudError
from tests.pipeline.cloud.node_processes import wait_for
from tests.pipeline.execution.progress_runs import state_after
from tests.pipeline.execution.screen import Screen

pytestmark = pytest.mark.s3


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(follow, "INTERVAL", 0.05)


@pytest.fixture
def job(jobs: Jobs, document, status) -> str:
    """A job that waits."""
    document()
    status()
    name = new_id()
    jobs.submit(Job(name, "id1", ("--output=u/me/x",), {}, "me", time.time()), {})
    return name


def say(jobs: Jobs, job: str, number: int, text: bytes) -> None:
    jobs.store.write(key(job, f"log/{number:06d}.txt"), text)


def end(jobs: Jobs, job: str, code: int | None = 0, error: str = "") -> None:
    jobs.store.write(key(job, "out.txt"), b"u/me/x/20261130\n")
    jobs.write_state(job, "ended", exit_code=code, error=error)


def later(*actions) -> threading.Thread:
    """Do things one after the other while somebody follows."""

    def act() -> None:
        for action in actions:
            time.sleep(0.3)
            action()

    thread = threading.Thread(target=act)
    thread.start()
    return thread


def test_lines(jobs, job, capsys):
    thread = later(
        lambda: jobs.write_state(job, "running"),
        lambda: say(jobs, job, 1, b"one\ntw"),
        lambda: say(jobs, job, 2, b"o\nthree"),
        lambda: end(jobs, job, 1),
    )
    assert Follower(jobs, "demo", job, "id1").follow() == 1
    thread.join()
    found = capsys.readouterr()
    assert found.err.splitlines() == [f"The job {job} begins.", "one", "two", "three"]
    assert found.out == "u/me/x/20261130\n"


def test_what_was_said_before(jobs, job, capsys, tmp_path):
    say(jobs, job, 1, b"one\n")
    jobs.store.write(key(job, "summary.json"), b"{}")
    end(jobs, job)
    assert Follower(jobs, "demo", job, "id1", summary=str(tmp_path / "s.json")).follow() == 0
    assert capsys.readouterr().err == "one\n"
    assert (tmp_path / "s.json").read_text() == "{}"


def test_terminal(jobs, job, monkeypatch):
    """The same view as of a local cluster, with the lines above."""
    file = io.StringIO()
    monkeypatch.setattr(
        follow,
        "console_on_stderr",
        lambda: Console(file=file, force_terminal=True, width=100, height=40, color_system=None),
    )
    snapshot = asdict(state_after({"isr": 4}, 1, 2, 3).snapshot(4.0))
    thread = later(
        lambda: jobs.write_state(job, "running"),
        lambda: say(jobs, job, 1, b"INFO: reads\n"),
        lambda: jobs.store.write(key(job, "status.json"), {"phase": "execution", "snapshot": snapshot}),
        lambda: end(jobs, job),
    )
    assert Follower(jobs, "demo", job, "id1").follow() == 0
    thread.join()
    lines = Screen(file.getvalue(), 100).lines
    assert f"The job {job} waits." in file.getvalue()
    assert lines.index("INFO: reads") < next(i for i, line in enumerate(lines) if "3 of 4 done" in line)


def test_a_network_that_fails(jobs, job, capsys, monkeypatch):
    endpoint, state = jobs.store, jobs.state
    answers = iter([CloudError("AWS cannot be reached."), CloudError("AWS cannot be reached."), None])

    def shaky(name: str):
        if error := next(answers, None):
            raise error
        return state(name)

    monkeypatch.setattr(jobs, "state", shaky)
    end(jobs, job)
    assert Follower(jobs, "demo", job, "id1").follow() == 0
    assert capsys.readouterr().err.splitlines() == [
        "AWS cannot be reached. The job goes on; trying again.",
        "AWS answers again.",
    ]
    assert endpoint is jobs.store


def test_a_question_without_use(jobs, job, monkeypatch):
    """The same question gets the same answer."""
    monkeypatch.setattr(jobs.store, "_bucket", "not-there")
    with pytest.raises(CloudError, match="the bucket does not exist"):
        Follower(jobs, "demo", job, "id1").follow()


class Clock:
    """An hour passes with each look."""

    now = 0.0

    def __call__(self) -> float:
        self.now += 20.0
        return self.now


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "no sign of life for"),
        ({"phase": "stopping", "reason": "lease"}, r"demo is gone \(lease\)"),
        ({"id": "id2"}, "it was ended"),
    ],
)
def test_a_cluster_that_is_gone(jobs, job, status, changes, said):
    status(**changes)
    jobs.write_state(job, "running")
    with pytest.raises(CloudError, match=said) as raised:
        Follower(jobs, "demo", job, "id1", clock=Clock()).follow()
    assert "isr-cluster up, then the same command again does the rest" in str(raised.value)


def test_ends_of_the_head(jobs, job, capsys):
    end(jobs, job, 143, "the cluster ends (lease)")
    assert Follower(jobs, "demo", job, "id1").follow() == 143
    assert "Error: the cluster ends (lease). What was finished is registered" in capsys.readouterr().err
    end(jobs, job, None, "it was cancelled before it began")
    with pytest.raises(CloudError, match="was not executed: it was cancelled before it began"):
        Follower(jobs, "demo", job, "id1").follow()


def run(command, capsys, *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        entry.run_command(command, list(arguments))
    found = capsys.readouterr()
    return int(ended.value.code or 0), found.out, " ".join(found.err.split())


@pytest.fixture
def state(account, place, monkeypatch) -> None:
    monkeypatch.setenv("ISR_STATE", str(place))


def test_follow_and_cancel(jobs, job, state, capsys):
    assert names_job(["--dask", "ec2:demo", "--follow"])
    assert names_job(["--dask", "ec2:demo", "--cancel=x"])
    assert not names_job(["-b", "repo"])
    code, _, said = run(job_command, capsys, "--dask", "ec2:demo", "--cancel", job)
    assert (code, jobs.is_cancelled(job)) == (0, True), said
    say(jobs, job, 1, b"one\n")
    end(jobs, job, 1)
    for arguments in (["--follow"], ["--follow", job], [f"--follow={job}", "--region", "us-east-1"]):
        code, out, said = run(job_command, capsys, "--dask", "ec2:demo", *arguments)
        assert (code, out, said) == (1, "u/me/x/20261130\n", "one")
    code, _, said = run(job_command, capsys, "--dask", "ec2:demo", "--cancel", job)
    assert (code, said) == (1, f"Error: The job {job} has ended already, with exit code 1.")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--dask", "ec2:demo", "--follow", "x"], 1, "'x' is not the id of a job"),
        (
            ["--dask", "ec2:demo", "--follow", "20261130T101500-ab12cd"],
            1,
            "has no job 20261130T101500-ab12cd",
        ),
        (["--dask", "ec2:demo", "--follow", "--cancel", "x"], 2, "Either --follow or --cancel"),
        (["--dask", "ec2:", "--follow"], 2, "--dask ec2:: expected ec2:NAME"),
        (["--dask", "local:2", "--follow"], 2, "--dask local:2: expected ec2:NAME"),
        (["--dask", "ec2:A", "--follow"], 2, "cannot be the name of a cluster"),
        (["--dask", "ec2:demo", "--state", "x", "--follow"], 2, "expected s3://BUCKET/PREFIX"),
    ],
)
def test_mistakes(jobs, job, state, capsys, arguments, code, said):
    found, _, err = run(job_command, capsys, *arguments)
    assert (found, said in err) == (code, True), err


def test_ctrl_c(jobs, job, state, capsys, monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
    code, out, said = run(job_command, capsys, "--dask", "ec2:demo", "--follow")
    assert (code, out) == (130, "")
    assert f"--follow {job} End it: isr-run --dask ec2:demo --cancel {job}" in said


def submitted(capsys, *arguments: str) -> tuple[int, str, str]:
    from pipeline.cli.isr_run_butler import command

    return run(command, capsys, "-b", "s3://bucket/repo", "-o", "u/me/x", *arguments)


def test_submission(jobs, document, status, state, capsys, tmp_path):
    document()
    status()
    (tmp_path / "a.py").write_text("config.x = 1")
    config = f"isr:{tmp_path / 'a.py'}"
    code, out, said = submitted(capsys, "--dask", "ec2:demo", "--detach", "-C", config)
    assert code == 0, said
    job = out.strip()
    assert said == (
        f"Submitting the job {job} to the cluster demo. Show it: isr-run --dask ec2:demo --follow {job}"
    )
    found = jobs.read(job)
    assert found["arguments"][1:] == ["--output=u/me/x", "--config-file=isr:{isr-file:1-a.py}"]
    assert (found["cluster_id"], found["owner"]) == ("id1", "arn:aws:iam::123456789012:user/me")
    assert jobs.store.read(key(job, "files/1-a.py"))[0] == b"config.x = 1"

    def end_the_other() -> None:
        wait_for(lambda: len(jobs.ids()) == 2 and all(map(jobs.read, jobs.ids())), 10, "no second job")
        end(jobs, next(name for name in jobs.ids() if name != job), 1)

    thread = later(end_the_other)
    code, out, said = submitted(capsys, "--dask", "ec2:demo", "--summary", str(tmp_path / "s.json"))
    thread.join()
    assert (code, out) == (1, "u/me/x/20261130\n")
    assert f"The job has no summary, so {tmp_path / 's.json'} is not written." in said


def named(said: str) -> str:
    """The id that was said before the job was written."""
    return said.partition("Submitting the job ")[2].partition(" ")[0]


@pytest.mark.parametrize("error", [CloudError("AWS cannot be reached."), KeyboardInterrupt()])
def test_a_submission_that_is_cut_off(jobs, document, status, state, capsys, monkeypatch, error):
    """The job may be there: its id was said, and how to see it."""
    document()
    status()
    submit = Jobs.submit

    def cut_off(self, *arguments):
        submit(self, *arguments)
        raise error

    monkeypatch.setattr(Jobs, "submit", cut_off)
    code, out, said = submitted(capsys, "--dask", "ec2:demo")
    (job,) = jobs.ids()
    assert (code, out) == (130 if isinstance(error, KeyboardInterrupt) else 1, "")
    assert named(said) == job
    assert f"may be submitted nevertheless: isr-run --dask ec2:demo --follow {job} tells; look before" in said


@pytest.mark.parametrize(
    ("error", "code"), [(CloudError("the session has expired."), 1), (SystemExit(143), 143)]
)
def test_an_error_while_following_does_not_end_the_job(
    jobs, document, status, state, capsys, monkeypatch, error, code
):
    """Login, network, a signal: the same command again would do the work twice."""
    document()
    status()

    def fail(self):
        raise error

    monkeypatch.setattr(Follower, "_try_to_look", fail)
    found, out, said = submitted(capsys, "--dask", "ec2:demo")
    (job,) = jobs.ids()
    advice = (
        f"The job goes on on the cluster: isr-run --dask ec2:demo --follow {job} shows it; do not submit it"
    )
    assert (found, out) == (code, "")
    assert advice in said
    found, _, said = run(job_command, capsys, "--dask", "ec2:demo", "--follow")
    assert (found, advice in said) == (code, True)


def test_a_job_that_is_over_does_not_go_on(jobs, job, state, capsys):
    end(jobs, job, None, "it was cancelled before it began")
    code, _, said = run(job_command, capsys, "--dask", "ec2:demo", "--follow")
    assert code == 1
    assert "was not executed" in said
    assert "goes on" not in said


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--detach"], 2, "--detach is for jobs of a cluster: add --dask ec2:NAME."),
        (["--dask", "ec2:"], 2, "--dask ec2:: expected ec2:NAME"),
        (["--dask", "ec2:demo", "--fail-fastt"], 2, "No such option"),
        (["--dask", "ec2:demo", "-C", "isr"], 2, "Expected -t CLASS:LABEL"),
        (["--dask", "ec2:demo", "--detach", "--summary", "s.json"], 2, "--follow JOB --summary s.json"),
    ],
)
def test_mistakes_of_a_submission(state, capsys, arguments, code, said):
    found, _, err = submitted(capsys, *arguments)
    assert (found, said in err) == (code, True), err


def test_no_place(capsys, monkeypatch):
    monkeypatch.delenv("ISR_STATE", raising=False)
    code, _, said = submitted(capsys, "--dask", "ec2:demo")
    assert code == 2
    assert "--state s3://BUCKET/PREFIX, or ISR_STATE" in said


@pytest.mark.parametrize(
    ("of_document", "of_status", "said"),
    [
        (None, None, "There is no cluster demo"),
        ({"phase": "starting"}, None, "still starting"),
        ({"phase": "starting"}, {}, "still starting"),
        ({}, {"id": "id0", "phase": "stopping"}, "still starting"),
        ({"phase": "ending"}, {}, "is being ended"),
        ({}, {"phase": "stopping", "reason": "idle for 300 s"}, "has ended by itself: idle for 300 s."),
        ({}, {"time": 1e9}, "has given no sign of life for"),
    ],
)
def test_clusters_that_take_no_jobs(jobs, document, status, state, capsys, of_document, of_status, said):
    if of_document is not None:
        document(**of_document)
    if of_status is not None:
        status(**of_status)
    code, _, err = submitted(capsys, "--dask", "ec2:demo")
    assert (code, said in err) == (1, True), err
    assert "isr-cluster up" in err
    assert jobs.ids() == []
    assert os.environ["ISR_STATE"]
