"""What nobody looks after is ended; what is well is left alone."""

from __future__ import annotations

import time

import pytest

from pipeline.cloud import sweep as sweep_module
from pipeline.cloud.names import Place, tag_list
from tests.pipeline.cloud.commands.conftest import PLACE, Aws
from tests.pipeline.cloud.commands.started import change, ids, start


@pytest.fixture(autouse=True)
def _instances_are_old(monkeypatch) -> None:
    monkeypatch.setattr(sweep_module, "_NEW", -1.0)


def _lease_over(aws: Aws, ec2) -> None:
    change(aws, lease_until=int(time.time()) - 1)


def _head_ended(aws: Aws, ec2) -> None:
    ec2.terminate_instances(InstanceIds=ids(aws, "head"))


def _abandoned(aws: Aws, ec2) -> None:
    change(aws, phase="starting", heartbeat=time.time() - 400)


def _no_document(aws: Aws, ec2) -> None:
    aws.store().remove()


def _ended(aws: Aws, ec2) -> None:
    ec2.terminate_instances(InstanceIds=aws.inventory().alive)


def _ended_without_document(aws: Aws, ec2) -> None:
    _ended(aws, ec2)
    _no_document(aws, ec2)


def _down_lost(aws: Aws, ec2) -> None:
    change(aws, phase="ending", heartbeat=time.time() - 400)


@pytest.mark.parametrize(
    ("happens", "reason"),
    [
        (_lease_over, "its lease is over"),
        (_head_ended, "its head has ended"),
        (_abandoned, "the command that started it was lost"),
        (_no_document, "there is no document of it"),
        (_ended, "it has ended, and left something"),
        (_ended_without_document, "it has ended, and left something"),
        (_down_lost, "it was to be ended, and something is left"),
    ],
)
def test_it_is_found_and_ended(aws: Aws, ec2, happens, reason: str) -> None:
    start(aws)
    happens(aws, ec2)
    aws.head_works = False
    said = aws.run("sweep", "-y", code=1)
    assert f"): {reason}" in said
    assert "Nothing is left of demo" in said
    assert aws.inventory().is_empty
    assert "Nothing was forgotten" in aws.run("sweep", "-y")


def test_a_document_that_nobody_understands_protects_until_the_lease_is_over(aws: Aws, ec2) -> None:
    """A colleague may have a newer version, whose cluster runs well."""
    cluster = start(aws)
    aws.store().write("cluster.json", b"[]")
    assert "cannot be told" in aws.run("sweep", "-y", code=1)
    assert len(aws.inventory().alive) == 3
    document = cluster.to_json() | {"new": 1, "launches": [{**cluster.to_json()["launches"][0], "new": 1}]}
    aws.store().write("cluster.json", document)
    assert aws.cluster().id == cluster.id
    aws.store().write("cluster.json", b"[]")
    over = [{"Key": "isr:lease-until", "Value": "1"}]
    ec2.create_tags(Resources=aws.inventory().alive, Tags=over)
    assert "there is no document of it" in aws.run("sweep", "-y", code=1)
    assert aws.inventory().is_empty


def test_what_has_no_id_is_removed_without_a_filter_for_ids(aws: Aws) -> None:
    """Of a cluster of long ago, whose instances AWS has forgotten; it refuses filters without values."""
    aws.store("old").write("status.json", {})

    def refuse_empty(params: dict, **_: object) -> None:
        assert all(item["Values"] for item in params.get("Filters", ()))

    aws.on("ec2", "provide-client-params.ec2.*", refuse_empty)
    assert "Nothing is left of old" in aws.run("sweep", "-y", code=1)
    assert aws.inventory("old").is_empty


def test_a_silent_head_is_found(aws: Aws) -> None:
    start(aws)
    aws.speak(time=time.time() - 1000)
    assert "its head has been silent for 16 min" in aws.run("sweep", "-y", code=1)
    assert aws.inventory().is_empty


def test_what_its_owner_made_anew_meanwhile_is_left_alone(aws: Aws, monkeypatch) -> None:
    """While the question stands, he ends the old cluster and starts another of that name."""
    start(aws)
    change(aws, lease_until=int(time.time()) - 1)

    def answer(*_: object, **__: object) -> None:
        aws.run("down", "demo", "-y")
        start(aws)

    monkeypatch.setattr("pipeline.cli.isr_cluster_change.ask", answer)
    said = aws.run("sweep", code=1)
    assert "left alone now, runs" in said
    assert len(aws.inventory().alive) == 3


def test_what_is_well_is_left_alone(aws: Aws, monkeypatch) -> None:
    assert "Nothing was forgotten in s3://group-data/isr, us-east-1" in aws.run("sweep", "-y")
    start(aws)
    start(aws, place=Place("group-data", "other"))
    for words, action in {
        "left alone, runs": lambda: None,
        "left alone, is being started": lambda: change(aws, phase="starting", heartbeat=time.time()),
        "left alone, its instances are new": lambda: aws.store().remove(),
    }.items():
        action()
        monkeypatch.setattr(sweep_module, "_NEW", 60.0)
        said = aws.run("sweep", "-y")
        assert words in said
        assert "Nothing was forgotten" in said
        assert len(aws.inventory().alive) == 3
    monkeypatch.setattr(sweep_module, "_NEW", -1.0)
    aws.run("sweep", "-y", code=1)
    assert aws.inventory().is_empty
    assert len(aws.inventory("demo", Place("group-data", "other")).alive) == 3


@pytest.mark.parametrize(("operation", "nth"), [("ec2.DescribeInstances", 2), ("s3.GetObject", 1)])
def test_a_bad_moment_of_aws_ends_no_cluster(aws: Aws, operation: str, nth: int) -> None:
    start(aws)
    aws.fail(operation, "InternalError", nth=nth)
    said = aws.run("sweep", "-y", code=1)
    assert aws.faults
    assert "left alone, how it is cannot be told" in said
    assert "Whether something was forgotten cannot be told" in said
    assert len(aws.inventory().alive) == 3
    assert aws.cluster().phase == "running"
    assert "Nothing was forgotten" in aws.run("sweep", "-y")


def test_one_that_fails_does_not_keep_the_others(aws: Aws) -> None:
    for name in ("first", "second"):
        start(aws, name)
        change(aws, name, lease_until=0)
    aws.head_works = False
    aws.fail("scheduler.DeleteSchedule", "InternalError")
    said = aws.run("sweep", "-y", code=1)
    assert "Left of first: a schedule of EventBridge Scheduler" in said
    assert "Nothing is left of second" in said
    assert not aws.inventory("first").alive
    assert aws.inventory("second").is_empty


def test_nothing_is_ended_without_a_yes(aws: Aws) -> None:
    start(aws)
    change(aws, lease_until=0)
    said = aws.run("sweep", code=1)
    assert "its lease is over" in said
    assert "Nothing was ended" in said
    assert len(aws.inventory().alive) == 3


def test_what_cannot_be_listed_is_an_error(aws: Aws) -> None:
    aws.fail("ec2.DescribeInstances", "UnauthorizedOperation")
    said = aws.run("sweep", "-y", code=1)
    assert "cannot list instances" in said
    assert "Nothing was forgotten" not in said


def test_a_volume_that_nobody_has_is_found(aws: Aws, ec2) -> None:
    """It costs money, and may be all that is left."""
    tags = tag_list({"isr:cluster": "old", "isr:place": str(PLACE), "isr:id": "0123"})
    specification = [{"ResourceType": "volume", "Tags": tags}]
    ec2.create_volume(AvailabilityZone="us-east-1a", Size=1, TagSpecifications=specification)
    assert "There is something of the clusters old" in aws.run("setup", "--remove", "-y", code=1)
    assert "Nothing is left of old" in aws.run("sweep", "-y", code=1)
    assert aws.inventory("old").is_empty
