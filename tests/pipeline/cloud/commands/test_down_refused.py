"""The end of a cluster is reached whatever AWS refuses, and proven."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from tests.pipeline.cloud.commands.conftest import PLACE, Aws
from tests.pipeline.cloud.commands.started import alive, start

REFUSED = {  # operation: exit code, and what is said to be left
    "ec2.DeleteFleets": (1, "fleets: fleet-"),
    "ec2.TerminateInstances": (0, "Nothing is left of demo"),
    "ec2.DescribeInstances": (1, "not known: cannot list instances"),
    "ec2.DeleteLaunchTemplate": (1, "launch templates: isr-demo-"),
    "ssm.DeleteParameters": (1, f"parameters: /isr/{PLACE.id}/demo/"),
    "scheduler.DeleteSchedule": (1, "a schedule of EventBridge Scheduler"),
    "s3.GetObject": (1, "not known: cannot read s3://group-data/isr/clusters/demo/cluster.json"),
    "s3.PutObject": (0, "It has cost at most $"),
    "s3.ListObjectsV2": (1, "not known: cannot list s3://group-data/isr/clusters/demo/"),
    "s3.DeleteObjects": (1, "documents in the place"),
}


@pytest.mark.parametrize("operation", REFUSED)
def test_a_refusal_does_not_keep_the_rest_alive(aws: Aws, ec2, operation: str) -> None:
    code, words = REFUSED[operation]
    start(aws)
    aws.head_works = False
    aws.patch.setattr("pipeline.cloud.end._PATIENCE", 10.0)
    with pytest.MonkeyPatch.context() as patch:
        aws.patch = patch
        aws.fail(operation, "UnauthorizedOperation", times=999)
        said = aws.run("down", "demo", "-y", code=code)
    assert operation in aws.faults
    assert words in said
    assert not alive(ec2)
    found = aws.inventory()
    if "not known" in words:  # nothing is proven
        assert found.has_schedule
        assert found.has_document
    assert found.is_empty == (not code)


def test_nothing_is_proven_where_nobody_may_look(aws: Aws, ec2) -> None:
    start(aws)
    aws.head_works = False
    for operation in (
        "ec2.DescribeFleets",
        "ec2.DescribeLaunchTemplates",
        "ec2.DescribeVolumes",
        "ssm.DescribeParameters",
        "scheduler.GetSchedule",
    ):
        with pytest.MonkeyPatch.context() as patch:
            aws.patch = patch
            aws.fail(operation, "UnauthorizedOperation", times=999)
            said = aws.run("down", "demo", "-y", code=1)
        assert "Left of demo: not known: cannot " in said
        assert not alive(ec2)
        found = aws.inventory()
        assert found.has_schedule
        assert found.has_document


def test_what_ends_and_tells_of_a_living_machine_is_kept(aws: Aws, ec2, monkeypatch) -> None:
    start(aws)
    aws.head_works = False
    monkeypatch.setattr("pipeline.cloud.end._PATIENCE", 10.0)
    with monkeypatch.context() as patch:
        aws.patch = patch
        for operation in ("ec2.DeleteFleets", "ec2.TerminateInstances"):
            aws.fail(operation, "InternalError", times=999)
        said = aws.run("down", "demo", "-y", code=1)
    found = aws.inventory()
    assert sorted(found.alive) == sorted(alive(ec2))
    assert len(found.alive) == 3
    assert found.has_schedule
    assert found.has_document
    assert not found.parameters
    assert all(name in said for name in found.alive)
    assert "It costs money as long as it is there. Give the same command again." in said
    assert aws.cluster().phase == "ending"
    aws.patch = monkeypatch
    assert "Nothing is left of demo" in aws.run("down", "demo", "-y")
    assert aws.inventory().is_empty


def test_a_refusal_that_looks_like_success_is_said(aws: Aws, monkeypatch) -> None:
    start(aws)
    aws.head_works = False
    monkeypatch.setattr("pipeline.cloud.end._PATIENCE", 10.0)
    refused = {"FleetId": "fleet-1", "Error": {"Code": "unexpectedError", "Message": "of AWS"}}
    answer = (SimpleNamespace(status_code=200), {"UnsuccessfulFleetDeletions": [refused]})
    aws.on("ec2", "before-call.ec2.DeleteFleets", lambda **_: answer)
    aws.fail("ec2.TerminateInstances", "InternalError", times=999)
    said = aws.run("down", "demo", "-y", code=1)
    assert "cannot delete the fleet" in said
    assert "unexpectedError: of AWS" in said
