"""A lease is made longer: at AWS, in the document, on the instances."""

from __future__ import annotations

import calendar
import time

from pipeline.cloud.names import tags_of
from pipeline.cloud.user_data import LONGEST_LEASE
from tests.pipeline.cloud.commands.conftest import PLACE, Aws
from tests.pipeline.cloud.commands.started import change, start


def _moment(aws: Aws) -> int:
    """Return when AWS ends the cluster."""
    schedule = aws.account.client("scheduler").get_schedule(Name=PLACE.schedule("demo"))
    return calendar.timegm(time.strptime(schedule["ScheduleExpression"], "at(%Y-%m-%dT%H:%M:%S)"))


def test_all_learn_of_the_new_end(aws: Aws) -> None:
    start(aws)
    said = aws.run("extend", "demo", "4h", "-y")
    assert "at most $2.02 more; spent $0.0" in said
    until = aws.cluster().lease_until
    assert abs(until - time.time() - 4 * 3600) < 60
    assert 0 < _moment(aws) - until < 600
    assert {tags_of(item)["isr:lease-until"] for item in aws.inventory().instances} == {str(until)}
    fleets = aws.account.client("scheduler").get_schedule(Name=PLACE.schedule("demo"))["Target"]["Input"]
    assert all(launch.fleet in fleets for launch in aws.cluster().launches)


def test_a_lost_schedule_is_made_again(aws: Aws) -> None:
    start(aws)
    aws.account.client("scheduler").delete_schedule(Name=PLACE.schedule("demo"))
    aws.run("extend", "demo", "4h", "-y")
    assert 0 < _moment(aws) - aws.cluster().lease_until < 600


def test_refusals_change_nothing(aws: Aws) -> None:
    cluster = start(aws, budget=1.5)
    moment = _moment(aws)
    assert "Over the budget" in aws.run("extend", "demo", "4h", "-y", code=1)
    change(aws, budget=None)
    assert "is longer already" in aws.run("extend", "demo", "1h", "-y", code=1)
    assert "No cluster lives longer than 28 days" in aws.run("extend", "demo", "29d", "-y", code=1)
    assert "No cluster lives longer" in aws.run("extend", "demo", "3000000000000h", "-y", code=1)
    change(aws, created=time.time() - LONGEST_LEASE + 3 * 3600)
    assert "No cluster lives longer than 28 days" in aws.run("extend", "demo", "4h", "-y", code=1)
    assert "Nothing was changed" in aws.run("extend", "demo", "150m", code=1)
    assert "is not a time" in aws.run("extend", "demo", "4", "-y", code=2)
    assert aws.cluster().lease_until == cluster.lease_until
    assert _moment(aws) == moment
    aws.run("extend", "demo", "150m", "-y")
    assert _moment(aws) > moment


def test_the_document_is_as_before_if_aws_refuses(aws: Aws) -> None:
    """Else the machines would outlive what ends them."""
    cluster = start(aws)
    aws.fail("scheduler.UpdateSchedule", "AccessDeniedException", times=9)
    said = aws.run("extend", "demo", "4h", "-y", code=1)
    assert "cannot arm the end of the lease" in said
    assert aws.cluster().lease_until == cluster.lease_until


def test_a_cluster_that_is_not_there(aws: Aws) -> None:
    assert "There is no cluster demo" in aws.run("extend", "demo", "3h", "-y", code=1)
