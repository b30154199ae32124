"""What a cluster does, as any machine sees it: status, logs, console."""

from __future__ import annotations

import json
import re
import time

import pytest

from tests.pipeline.cloud.commands.conftest import PLACE, Aws
from tests.pipeline.cloud.commands.started import change, ids, start

JOB = "20261130T101500-ab12cd"


def test_a_running_cluster_is_shown(aws: Aws) -> None:
    start(aws, spot=True, budget=5.0)
    worker, other = ids(aws)
    one = {"processes": 4, "executing": 3, "state": "running"}
    events = [{"time": 0.0, "kind": "spot", "instance": other, "text": f"notice {n}"} for n in range(9)]
    aws.speak(
        workers={worker: one, other: one | {"state": "draining"}},
        jobs={JOB: "running"},
        events=events,
        idle_since=time.time() - 60,
    )
    said = aws.run("status", "demo")
    assert "Cluster demo of arn:aws:sts::123456789012:user/moto, us-east-1: running" in said
    assert f"worker {worker} m5.xlarge spot us-east-1" in said
    assert "4 processes, 3 busy, draining" in said
    assert f"head {ids(aws, 'head')[0]} m5.large on-demand" in said
    assert f"job {JOB}: running" in said
    assert re.search(r"lease: (2 h|1 h 59 min) left; spent at most \$0\.0", said)
    assert re.search(r"ends after 5 min without work \(in (4 min|3 min [0-9]+ s)\)", said)
    assert "budget $5.00" in said
    assert f"00:00:00 UTC spot {other}: notice 8" in said
    assert "notice 0" not in said


def test_json_is_for_programs(aws: Aws) -> None:
    cluster = start(aws)
    aws.speak()
    aws.patch.setattr("sys.argv", ["isr-cluster", "status", "demo", "--json", "--state", str(PLACE)])
    aws.capsys.readouterr()
    from pipeline.cli.isr_cluster import main

    with pytest.raises(SystemExit):
        main()
    (found,) = json.loads(aws.capsys.readouterr().out)
    assert found["cluster"]["id"] == cluster.id
    assert found["phase"] == "running"
    assert sorted(row["role"] for row in found["instances"]) == ["head", "worker", "worker"]
    assert len(found["status"]["workers"]) == 2
    assert 0 < found["spent_usd_at_most"] < 0.1
    assert found["problems"] == []


def test_all_clusters_are_shown(aws: Aws) -> None:
    assert "There are no clusters in s3://group-data/isr" in aws.run("status")
    assert aws.run("status", "--json").startswith("[]")
    assert "There is no cluster demo" in aws.run("status", "demo", code=1)
    start(aws, "first")
    start(aws, "second")
    said = aws.run("status")
    assert "Cluster first of" in said
    assert "Cluster second of" in said
    aws.store("first").remove()
    assert "first: there is something of it, but no document: isr-cluster sweep" in aws.run("status")
    aws.store("first").write("cluster.json", b"{}")
    said = aws.run("status", code=1)
    assert "first: s3://group-data/isr/clusters/first/cluster.json is not the document of a cluster" in said
    assert "Cluster second of" in said


def test_phases(aws: Aws, ec2) -> None:
    start(aws)
    aws.speak(phase="stopping", reason="no work for 5 min")
    assert "is stopping (no work for 5 min)" in aws.run("status", "demo")
    aws.speak(time=time.time() - 3600)
    assert "running, but its head is silent for 1 h" in aws.run("status", "demo")
    aws.fail("ec2.DescribeVolumes", "UnauthorizedOperation")
    assert "cannot be told: cannot list volumes" in aws.run("status", "demo")
    ec2.terminate_instances(InstanceIds=aws.inventory().alive)
    assert "has ended (why is not known); isr-cluster down demo removes the rest" in aws.run("status", "demo")
    change(aws, lease_until=0)
    assert "has ended (its lease was over)" in aws.run("status", "demo")
    aws.speak(reason="no work for 5 min")
    assert "has ended (no work for 5 min)" in aws.run("status", "demo")
    aws.store().write("status.json", {"id": "of an earlier cluster", "reason": "earlier"})
    assert "earlier" not in aws.run("status", "demo")


def _say(aws: Aws, stream: str, *lines: str, ago: float = 0.0) -> None:
    logs = aws.account.client("logs")
    if not logs.describe_log_streams(logGroupName=PLACE.log_group, logStreamNamePrefix=stream)["logStreams"]:
        logs.create_log_stream(logGroupName=PLACE.log_group, logStreamName=stream)
    now = int((time.time() - ago) * 1000)
    events = [{"timestamp": now + n, "message": line} for n, line in enumerate(lines)]
    logs.put_log_events(logGroupName=PLACE.log_group, logStreamName=stream, logEvents=events)


def test_logs_of_a_cluster_and_of_one_machine(aws: Aws) -> None:
    """Also when the cluster is gone."""
    assert f"There are no logs of demo in {PLACE.log_group}" in aws.run("logs", "demo")
    _say(aws, "demo/abc/head/i-1", "the head begins", "it goes on")
    _say(aws, "demo/abc/worker/i-2", "the worker begins")
    requests = []
    aws.on("logs", "provide-client-params.logs.FilterLogEvents", lambda params, **_: requests.append(params))
    said = aws.run("logs", "demo")
    assert {request["logStreamNamePrefix"] for request in requests} == {"demo/"}  # moto does not look at it
    assert "Z head i-1: the head begins" in said
    assert "Z worker i-2: the worker begins" in said
    start(aws)
    assert "the head begins" in aws.run("logs", "demo", "--region", "us-west-2")
    said = aws.run("logs", "demo", "--instance", "i-2")
    assert "the worker begins" in said
    assert "head" not in said
    aws.fail("logs.FilterLogEvents", "AccessDeniedException")
    assert "you may not do this" in aws.run("logs", "demo", code=1)


def test_logs_are_followed_without_repeating(aws: Aws, monkeypatch) -> None:
    from pipeline.cli import isr_cluster_look

    _say(aws, "demo/abc/head/i-1", "one", ago=3.0)
    naps = []

    class Time:
        gmtime, strftime = staticmethod(time.gmtime), staticmethod(time.strftime)

        @staticmethod
        def sleep(_: float) -> None:
            naps.append(1)
            if len(naps) == 3:
                raise KeyboardInterrupt
            _say(aws, f"demo/abc/worker/i-{len(naps)}", f"late {len(naps)}", ago=4.0)

    monkeypatch.setattr(isr_cluster_look, "time", Time)
    said = aws.run("logs", "demo", "-f", code=130)
    for text in ("head i-1: one", "worker i-1: late 1", "worker i-2: late 2"):
        assert said.count(text) == 1


def test_the_console_of_a_machine(aws: Aws) -> None:
    start(aws)
    (head,) = ids(aws, "head")
    assert "--instance ID" in aws.run("logs", "demo", "--console", code=2)
    for words in ((), ("--region", "us-west-2")):
        assert "Linux version" in aws.run("logs", "demo", "--console", "--instance", head, *words)
    said = aws.run("logs", "demo", "--console", "--instance", "i-0123456789abcdef0")
    assert "AWS has kept nothing" in said


def test_an_old_machine_has_an_old_console(aws: Aws) -> None:
    """Only machines of the Nitro system tell what they have said just now."""
    start(aws)
    (head,) = ids(aws, "head")
    aws.fail("ec2.GetConsoleOutput", "UnsupportedOperation")
    assert "Linux version" in aws.run("logs", "demo", "--console", "--instance", head)
    assert aws.faults == ["ec2.GetConsoleOutput"]


def test_a_cluster_whose_up_was_lost_has_ended(aws: Aws, ec2) -> None:
    start(aws)
    change(aws, phase="starting", heartbeat=time.time() - 400)
    aws.speak(phase="stopping", reason="the command that started it was lost", time=time.time() - 90)
    ec2.terminate_instances(InstanceIds=aws.inventory().alive)
    said = aws.run("status", "demo")
    assert "has ended (the command that started it was lost); isr-cluster down demo removes the rest" in said
