"""A cluster is ended as a whole, and what is not ours or at work is asked about."""

from __future__ import annotations

import time

import pytest

from pipeline.cloud.jobs import Job, Jobs, new_id
from pipeline.cloud.names import Place, tag_list
from tests.pipeline.cloud.commands.conftest import PLACE, Aws
from tests.pipeline.cloud.commands.started import alive, change, ids, start

OTHER = Place("group-data", "other")


def test_nothing_is_left_and_the_costs_are_said(aws: Aws) -> None:
    start(aws)
    said = aws.run("down", "demo", "-y")
    assert "Nothing is left of demo: looked for in us-east-1 and not found. It has cost at most $0.0" in said
    assert "(0.05 instance hours)" in said  # three instances, charged for a minute each
    assert "On the way" not in said
    assert aws.inventory().is_empty
    assert "There is no cluster demo in s3://group-data/isr" in aws.run("down", "demo", "-y", code=1)


def test_a_cluster_of_that_name_elsewhere_is_untouched(aws: Aws) -> None:
    start(aws, place=OTHER)
    assert "There is no cluster demo" in aws.run("down", "demo", "-y", code=1)
    start(aws)
    aws.run("down", "demo", "-y")
    assert aws.inventory().is_empty
    other = aws.inventory("demo", OTHER)
    assert len(other.alive) == 3
    assert other.has_schedule
    assert other.has_document
    assert len(other.parameters) == 2
    assert len(other.templates) == 2


def test_machines_that_a_killed_up_could_not_note_are_found(aws: Aws, ec2) -> None:
    cluster = start(aws)
    launches = [item.__dict__ for item in cluster.launches if item.role == "head"]
    change(aws, launches=launches, phase="starting")
    assert len(ids(aws)) == 2
    said = aws.run("down", "demo", "-y")
    assert "the ends of some instances are estimated" in said
    assert not alive(ec2)
    assert aws.inventory().is_empty


def test_machines_that_aws_does_not_list_yet_are_waited_for(aws: Aws, ec2) -> None:
    """After `kill -9` of `up` between CreateFleet and its note; fleets of type instant are never listed."""
    cluster = start(aws)
    launches = [item.__dict__ for item in cluster.launches if item.role == "head"]
    change(aws, launches=launches, phase="starting")
    new, begin = {*ids(aws)}, aws.naps

    def hide(parsed: dict, **_: object) -> None:
        if aws.naps - begin < 3:
            for group in parsed["Reservations"]:
                group["Instances"] = [i for i in group["Instances"] if i["InstanceId"] not in new]

    aws.on("ec2", "after-call.ec2.DescribeInstances", hide)
    aws.on("ec2", "after-call.ec2.DescribeFleets", lambda parsed, **_: parsed.update(Fleets=[]))
    assert "Nothing is left of demo" in aws.run("down", "demo", "-y")
    assert not alive(ec2)


def test_a_cluster_that_came_while_somebody_was_asked_is_left_alone(aws: Aws, monkeypatch) -> None:
    start(aws)
    change(aws, owner="arn:aws:iam::123456789012:user/somebody")

    def answer(*_: object, **__: object) -> str:
        aws.run("down", "demo", "-y")
        start(aws)
        return "demo"

    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("click.prompt", answer)
    aws.run("down", "demo", code=None)
    assert aws.cluster().phase == "running"
    found = aws.inventory()
    assert len(found.alive) == 3
    assert found.has_schedule
    assert len(found.parameters) == len(found.templates) == 2


def test_machines_without_any_document_are_found(aws: Aws, ec2) -> None:
    start(aws)
    aws.store().remove()
    said = aws.run("down", "demo", "-y")
    assert "Nothing is left of demo" in said
    assert "cost" not in said
    assert not alive(ec2)


@pytest.mark.parametrize("key", ["cluster.json", "status.json"])
def test_a_broken_document_does_not_protect_machines(aws: Aws, ec2, key: str) -> None:
    start(aws)
    aws.head_works = False
    aws.store().write(key, b"<html>")
    assert "no terminal to ask" in aws.run("down", "demo", code=1)
    assert len(alive(ec2)) == 3
    said = aws.run("down", "demo", "-y")
    assert "is not a JSON object" in said
    assert ("It has cost" in said) == (key == "status.json")
    assert aws.inventory().is_empty


@pytest.mark.parametrize("key", ["status.json", "jobs/20261130T101500-ab12cd/state.json"])
def test_a_cluster_is_ended_in_its_region_whatever_is_broken(aws: Aws, ec2, key: str) -> None:
    start(aws)
    aws.speak(jobs={"20261130T101500-ab12cd": "running"})
    aws.head_works = False
    aws.store().write(key, b"<html>")
    said = aws.run("down", "demo", "-y", "--region", "us-west-2")
    assert "looked for in us-east-1" in said
    assert not alive(ec2)
    assert aws.inventory().is_empty


@pytest.mark.parametrize("reason", ["owner", "job"])
def test_others_and_work_are_protected_by_a_typed_name(aws: Aws, monkeypatch, reason: str) -> None:
    start(aws)
    if reason == "owner":
        change(aws, owner="arn:aws:iam::123456789012:user/somebody")
    else:
        aws.speak(jobs={"20261130T101500-ab12cd": "running"})
    asked = []
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("click.prompt", lambda question, **_: asked.append(question) or "yes")
    assert "Nothing was ended" in aws.run("down", "demo", code=1)
    assert len(aws.inventory().alive) == 3
    assert aws.cluster().phase == "running"
    assert ("user/somebody" if reason == "owner" else "20261130T101500-ab12cd") in asked[0]
    assert "Type demo to go on" in asked[0]
    aws.nap = lambda _: aws.speak(jobs={"20261130T101500-ab12cd": "ended"})  # type: ignore[method-assign]
    monkeypatch.setattr("click.prompt", lambda *_, **__: "demo")
    assert "Nothing is left" in aws.run("down", "demo")
    assert aws.inventory().is_empty


def test_a_job_that_has_ended_just_now_is_not_asked_about(aws: Aws) -> None:
    """As in a script: isr-run, then down; the head writes its status every few seconds."""
    start(aws)
    job = "20261130T101500-ab12cd"
    aws.speak(jobs={job: "running"})
    jobs = Jobs(aws.account, PLACE, "demo")
    jobs.write_state(job, "running")
    assert "no terminal to ask" in aws.run("down", "demo", code=1)
    jobs.write_state(job, "ended", exit_code=0)
    assert "Nothing is left" in aws.run("down", "demo")


def test_a_job_that_was_submitted_just_now_is_asked_about(aws: Aws) -> None:
    cluster = start(aws)
    aws.speak()
    job = Job(new_id(), cluster.id, ("--data-query=visit=1",), {}, "somebody", time.time())
    jobs = Jobs(aws.account, PLACE, "demo")
    jobs.submit(job, {})
    jobs.submit(Job(new_id(), "of-an-earlier-one", (), {}, "somebody", 0.0), {})
    assert "no terminal to ask" in aws.run("down", "demo", code=1)
    jobs.write_state(job.id, "ended", exit_code=0)
    assert "Nothing is left" in aws.run("down", "demo")


@pytest.mark.parametrize("head", ["ends its job", "goes on", "is silent"])
def test_a_job_may_register_first(aws: Aws, monkeypatch, head: str) -> None:
    start(aws)
    job = "20261130T101500-ab12cd"
    aws.speak(jobs={job: "running"}, time=time.time() - (100 if head == "is silent" else 0))
    seen, begin = [], aws.naps

    def nap(_: float) -> None:
        aws.naps += 1
        seen.append(len(aws.inventory().alive))
        assert aws.cluster().phase == "ending"
        state = "ended" if head == "ends its job" and aws.naps - begin >= 2 else "running"
        if seen[-1]:
            aws.speak(jobs={job: state}, time=time.time() + 2 * aws.naps)

    monkeypatch.setattr(aws, "nap", nap)
    said = aws.run("down", "demo", "-y")
    assert ("do not end; ending the machines" in said) == (head != "ends its job")
    waited = [number for number in seen if number == 3]
    assert {"ends its job": 2, "is silent": 0}.get(head, len(waited)) == len(waited)
    assert head != "goes on" or len(waited) > 10
    assert aws.inventory().is_empty


def test_volumes_that_nobody_has_are_removed(aws: Aws, ec2) -> None:
    cluster = start(aws)
    tags = tag_list({"isr:cluster": "demo", "isr:place": str(PLACE), "isr:id": cluster.id})
    specification = [{"ResourceType": "volume", "Tags": tags}]
    ec2.create_volume(AvailabilityZone="us-east-1a", Size=1, TagSpecifications=specification)
    assert len(aws.inventory().volumes) == 1
    aws.run("down", "demo", "-y")
    assert aws.inventory().is_empty


def test_a_name_that_cannot_be_one_is_wrong_usage(aws: Aws) -> None:
    assert "cannot be the name of a cluster" in aws.run("down", "../x", "-y", code=2)
