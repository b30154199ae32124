"""A cluster gets more or fewer workers, or stays as it was."""

from __future__ import annotations

import pytest

from tests.pipeline.cloud.commands.conftest import PLACE, Aws
from tests.pipeline.cloud.commands.started import change, ids, start


def test_more_workers_are_started_with_the_lease_of_the_cluster(aws: Aws) -> None:
    before = start(aws)
    said = aws.run("scale", "demo", 3, "-y")
    assert "1 more workers: at most $0.70" in said  # head and three workers, an hour
    assert "spent $0.0" in said
    assert "The cluster demo has 3 workers" in said
    cluster = aws.cluster()
    assert len(ids(aws)) == 3
    assert cluster.workers == 3
    assert len(cluster.launches) == 3
    assert cluster.launches[-1].price == before.launches[-1].price
    target = aws.account.client("scheduler").get_schedule(Name=PLACE.schedule("demo"))["Target"]["Input"]
    assert all(launch.fleet in target for launch in cluster.launches)
    assert all(
        tag["Value"] == str(before.lease_until)
        for item in aws.inventory().instances
        for tag in item["Tags"]
        if tag["Key"] == "isr:lease-until"
    )


def test_fewer_are_left_to_the_head(aws: Aws, ec2) -> None:
    start(aws)
    for operation in ("ec2.TerminateInstances", "ec2.DeleteFleets", "ec2.CreateFleet"):
        aws.fail(operation, "must not be called", times=99)
    said = aws.run("scale", "demo", 1)  # without -y: nothing is asked
    assert "1 workers end after what they execute" in said
    assert aws.cluster().workers == 1
    assert len(ids(aws)) == 2
    assert not aws.faults


def test_one_that_is_about_to_leave_is_replaced(aws: Aws) -> None:
    """AWS has given notice that it takes a spot instance."""
    start(aws)
    leaving, other = ids(aws)
    one = {"processes": 4, "executing": 1, "state": "running"}
    aws.speak(workers={leaving: one | {"state": "draining"}, other: one})
    aws.run("scale", "demo", 2, "-y")
    assert len(ids(aws)) == 3
    assert aws.cluster().workers == 2


def test_what_is_cheaper_is_not_refused(aws: Aws) -> None:
    start(aws)
    change(aws, budget=0.001)
    assert "end after what they execute" in aws.run("scale", "demo", 1)


def test_a_partial_fleet_leaves_the_cluster_as_before(aws: Aws) -> None:
    start(aws)
    before = ids(aws)
    aws.short_fleet(1, nth=1)
    said = aws.run("scale", "demo", 5, "-y", code=1)
    assert "AWS starts only 1 of 3 workers" in said
    assert "no machine of this type left" in said
    assert "the cluster demo is as before" in said
    assert aws.cluster().workers == 2
    assert ids(aws) == before
    assert len(ids(aws, "head")) == 1
    assert aws.cluster().phase == "running"
    aws.head_works = False
    aws.run("down", "demo", "-y")
    assert aws.inventory().is_empty


@pytest.mark.parametrize(
    "event",
    [
        "before-parameter-build.ec2.CreateLaunchTemplate",
        "before-parameter-build.ec2.CreateFleet",
        "after-call.ec2.CreateFleet",
        "before-parameter-build.scheduler.UpdateSchedule",
    ],
)
def test_ctrl_c_leaves_the_cluster_as_before(aws: Aws, event: str) -> None:
    """Also where AWS has started instances that could not be noted any more."""
    start(aws)
    before, head = ids(aws), ids(aws, "head")

    def interrupt(**_: object) -> None:
        aws.faults.append(event)
        raise KeyboardInterrupt

    aws.on(event.split(".")[1], event, interrupt)
    assert "the cluster demo is as before" in aws.run("scale", "demo", 4, "-y", code=130)
    assert aws.faults
    assert ids(aws) == before
    assert ids(aws, "head") == head
    assert aws.cluster().workers == 2


def test_ctrl_c_while_waiting_ends_only_the_new(aws: Aws, monkeypatch) -> None:
    start(aws)
    before = ids(aws)

    def interrupt(_: float) -> None:
        if aws.naps == naps:
            aws.naps += 1
            assert len(ids(aws)) == 3
            assert aws.cluster().workers == 3
            raise KeyboardInterrupt

    naps = aws.naps
    monkeypatch.setattr(aws, "nap", interrupt)
    aws.run("scale", "demo", 3, "-y", code=130)
    assert ids(aws) == before
    assert aws.cluster().workers == 2


def test_what_cannot_be_taken_back_is_said(aws: Aws, monkeypatch) -> None:
    start(aws)
    monkeypatch.setattr("pipeline.cloud.change._PATIENCE", 10.0)
    aws.short_fleet(1, nth=1)
    aws.fail("ec2.TerminateInstances", "InternalError", times=99)
    aws.fail("ec2.DeleteFleets", "InternalError", times=99)
    said = aws.run("scale", "demo", 5, "-y", code=1)
    new = ids(aws)[-1]
    assert "AWS starts only 1 of 3 workers" in said
    assert "could not be ended completely" in said
    assert f"The instance {new} does not end" in said
    assert "isr-cluster down demo ends all" in said


def test_a_lost_worker_can_be_replaced(aws: Aws, ec2) -> None:
    """EC2 still tells of it, for an hour."""
    start(aws)
    lost = ids(aws)[0]
    ec2.terminate_instances(InstanceIds=[lost])
    aws.speak()
    assert "The cluster demo has 2 workers" in aws.run("scale", "demo", 2, "-y")
    assert len(ids(aws)) == 2
    assert lost not in ids(aws)


def test_a_head_that_ends_meanwhile_is_not_waited_for(aws: Aws, ec2, monkeypatch) -> None:
    start(aws)
    before, head = ids(aws), ids(aws, "head")
    monkeypatch.setattr(aws, "nap", lambda _: ec2.terminate_instances(InstanceIds=head))
    assert f"The instance {head[0]} has ended" in aws.run("scale", "demo", 3, "-y", code=1)
    assert ids(aws) == before


def test_the_budget_counts_what_was_spent(aws: Aws) -> None:
    start(aws, budget=1.2)
    said = aws.run("scale", "demo", 3, "-y", code=1)
    assert "Over the budget: $0.01 are spent, it could cost up to $1.41, the budget is $1.20" in said
    assert len(ids(aws)) == 2
    assert aws.cluster().workers == 2


def test_a_cluster_that_cannot_be_changed(aws: Aws) -> None:
    as_it_was = start(aws).to_json()
    cases: dict[str, dict[str, object]] = {
        "The lease of demo is over soon. First: isr-cluster extend demo 1h": {"lease_until": 0},
        "The cluster demo is starting": {"phase": "starting"},
        "The cluster demo is ending": {"phase": "ending"},
        "The head of demo has ended": {"head": {"instance": "i-gone", "address": "10.0.0.1"}},
    }
    for words, fields in cases.items():
        change(aws, **as_it_was | fields)
        assert words in aws.run("scale", "demo", 3, "-y", code=1)
        assert len(ids(aws)) == 2
        assert aws.cluster().workers == 2


def test_what_is_not_there_or_not_confirmed(aws: Aws) -> None:
    assert "There is no cluster demo" in aws.run("scale", "demo", 3, "-y", code=1)
    start(aws)
    assert "no terminal to ask" in aws.run("scale", "demo", 3, code=1)
    aws.fail("ec2.DescribeInstances", "RequestLimitExceeded", times=99)
    said = aws.run("scale", "demo", 3, "-y", code=1)
    assert "What there is of demo cannot be told" in said
    assert "too many requests" in said
