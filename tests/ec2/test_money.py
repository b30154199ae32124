"""No machine is left running, whatever dies: commands, laptops, heads, timers of hosts, or AWS's answers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.cloud.policies import Scope, policy
from tests.ec2.cloud import REGION, Cloud, wait_for
from tests.ec2.group import PLACE, REPOSITORY, Group, make_empty_group

STEPS = [
    ("s3:PutObject", 2),  # the document; the first is that of the check
    ("PutParameter", 1),
    ("PutParameter", 2),
    ("CreateLaunchTemplate", 1),
    ("CreateFleet", 1),
    ("s3:PutObject", 3),  # the note of the head
    ("CreateSchedule", 1),
    ("s3:PutObject", 4),  # its address
    ("CreateLaunchTemplate", 2),
    ("CreateFleet", 2),
    ("s3:PutObject", 5),  # the note of the workers
    ("UpdateSchedule", 1),
]

EVERYTHING = (
    # What ends machines, or tells the head to, comes first: the command goes on meanwhile.
    *("DeleteFleets", "TerminateInstances", "s3:PutObject", "s3:DeleteObjects"),
    *("DeleteLaunchTemplate", "DeleteParameters", "DeleteSchedule"),
    *("DescribeInstances", "DescribeFleets", "DescribeLaunchTemplates", "DescribeVolumes"),
    *("DescribeParameters", "GetSchedule", "FilterLogEvents", "s3:GetObject", "s3:ListObjectsV2"),
)


@pytest.fixture(scope="module")
def group(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Group]:
    """A group without data."""
    with make_empty_group(cloud, tmp_path_factory.mktemp("money")) as made:
        yield made


@pytest.fixture(autouse=True)
def _no_faults(cloud: Cloud) -> Iterator[None]:
    yield
    cloud.clear_faults()


def test_idle_clusters_end_without_anybody(group: Group) -> None:
    """No command, no laptop: the head ends its workers and itself, and the machines end with them."""
    group.laptop(*group.impatient(*group.up_words("idle", 1), "--idle", "10s"))
    begin = time.monotonic()  # the head begins to count when it has seen that `up` is done; not before
    wait_for(lambda: not group.cloud.instances("idle"), 90, "the end of an idle cluster")
    assert time.monotonic() - begin > 8
    assert "has ended (idle for 10 s)" in group.cluster("status", "idle").said
    said = group.cluster("sweep", "-y", code=1).said
    assert "it has ended, and left something" in said
    assert group.what_is_left("idle") == {}
    assert "Nothing was forgotten" in group.cluster("sweep").said


def kill_up(group: Group, name: str, action: str, nth: int, *words: object) -> None:
    """Start a cluster, and kill the command with -9 when AWS has done something, before it hears of it."""
    group.cloud.kill_at(action, "after", nth, principal="operator")
    result = group.laptop(*group.impatient(*group.up_words(name), *words), code=None)
    assert result.code == -9, result.said


def let_nodes_hang(group: Group) -> None:
    """Let no node get so far that it could end in good order."""
    for role in ("head", "worker"):
        group.cloud.delay("GetParameter", 300, times=99, principal=PLACE.role(role))


def test_kill_minus_nine_at_every_step(group: Group) -> None:
    """Sweep finds all of it, from whichever machine; a lease on the hosts needs nobody at all."""
    let_nodes_hang(group)
    kill_up(group, "lease", "CreateFleet", 2, "--lease", "60s", "--idle", "60s")
    group.cloud.client("scheduler").delete_schedule(Name=PLACE.schedule("lease"))  # the hosts are alone
    leased = [item["InstanceId"] for item in group.cloud.instances("lease")]
    assert len(leased) == 3
    names = [f"killed-{number}" for number in range(len(STEPS))]
    for name, (action, nth) in zip(names, STEPS, strict=True):
        kill_up(group, name, action, nth)
        assert group.what_is_left(name), (action, nth)
    wait_for(lambda: not group.cloud.instances("lease"), 120, "the end of a lease")
    for instance in leased:
        assert "isr-lease-0.timer elapsed" in group.cloud.console(instance)
    said = group.cluster("sweep", "-y", code=None).said
    assert f"{names[-1]} (arn:aws:iam::123456789012:user/operator): left alone, is being started" in said
    assert group.what_is_left(names[-1])
    assert group.cloud.instances(names[-1])
    names.append("lease")
    for name in names:
        if group.document(name, "cluster.json"):
            group.change_document(name, heartbeat=0.0)  # as if it had been killed long ago
    group.cluster("sweep", "-y", code=1)
    for name in names:
        assert group.what_is_left(name) == {}, name
    assert "Nothing was forgotten" in group.cluster("sweep").said


def test_aws_ends_what_the_hosts_do_not(group: Group) -> None:
    """No timer of any host goes off, the command is dead, the nodes hang: the schedule ends them."""
    let_nodes_hang(group)
    with group.cloud.dead_timers():
        kill_up(group, "dead", "UpdateSchedule", 1, "--lease", "60s", "--idle", "60s")
        assert len(group.cloud.instances("dead")) == 3
        wait_for(lambda: not group.cloud.instances("dead"), 150, "AWS's schedule")
    reasons = {item["StateReason"]["Code"] for item in group.cloud.instances("dead", alive=False)}
    assert reasons == {"Client.UserInitiatedShutdown"}
    fired = [one["error"] for one in group.cloud.fired() if one["schedule"] == PLACE.schedule("dead")]
    assert fired == [""]
    assert "Nothing is left of dead" in group.cluster("down", "dead").said
    assert group.what_is_left("dead") == {}


def test_the_end_of_the_lease_comes_in_good_order(group: Group) -> None:
    """Two minutes before it the head ends everything."""
    group.up("short", workers=1)
    group.change_document("short", lease_until=int(time.time()) + 100)
    wait_for(lambda: not group.cloud.instances("short"), 60, "the end before the lease")
    assert group.status("short")["reason"] == "lease"
    assert "Nothing is left" in group.cluster("down", "short").said
    assert group.what_is_left("short") == {}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--ami", "ami-0123456789abcdef0"), "machine image"),
        (("--type", "m5.gigantic"), "instance types"),
        (("--subnet", "subnet-0123"), "not in the VPC"),
        (("--budget", "0.01"), "Over the budget"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_started(
    group: Group, words: tuple[str, ...], expected: str
) -> None:
    """Each is a message, not a traceback, and nothing is there."""
    said = group.up("never", *words, code=1).said
    assert expected in said
    assert "Traceback" not in said
    assert group.what_is_left("never") == {}


def test_wrong_and_missing_credentials(group: Group) -> None:
    """They are told apart, and nothing is started."""
    wrong = group.laptop.with_environment(AWS_SECRET_ACCESS_KEY="x" * 40)
    said = wrong("isr-cluster", *group.up_words("never"), code=1).said
    assert "bad credentials" in said
    assert "secret key does not fit" in said
    none = group.laptop.with_environment(AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY="")
    assert "no usable AWS credentials" in none("isr-cluster", *group.up_words("never"), code=1).said
    assert group.what_is_left("never") == {}


def test_quota_and_capacity(group: Group) -> None:
    """A quota is seen before; what AWS lacks is seen when it says so, and ends what had been started."""
    group.cloud.set_quota("L-1216C47A", 4)
    said = group.up("never", code=1).said
    assert "4 processors, 0 are in use, 6 are wanted" in said
    group.cloud.set_quota("L-1216C47A", 1000)
    group.cloud.short_fleet(launch=1, code="InsufficientInstanceCapacity", principal="operator", skip=1)
    said = group.up("never", code=1).said
    assert "only 1 of 2 workers" in said
    assert "no machine of this type left" in said
    assert group.what_is_left("never") == {}
    group.cloud.refuse("CreateFleet", "VcpuLimitExceeded", "too many", principal="operator")
    assert "higher quota" in group.up("never", code=1).said
    assert group.what_is_left("never") == {}


def test_a_session_that_expires_is_said(group: Group) -> None:
    """From one request to the next nothing is allowed any more: that is said at once, and what ends it all.

    That it does is seen at the end of this file.
    """
    command = group.laptop.start("isr-cluster", *group.up_words("expired", 1))
    wait_for(lambda: len(group.cloud.instances("expired")) == 2, 60, "the instances")
    expired = time.monotonic()
    for action in EVERYTHING:
        group.cloud.refuse(action, "ExpiredToken", "expired", principal="operator", times=999)
    said = group.laptop.finish(command, code=1).said
    assert time.monotonic() - expired < 120
    assert "the session has expired" in said
    assert "their head has seen no command for five minutes" in said
    assert "isr-cluster down expired (after logging in again)" in said
    assert len(group.cloud.instances("expired")) == 2


def test_throttling_is_waited_for_or_said(group: Group) -> None:
    """The SDK repeats; a request that is never answered ends the attempt."""
    group.cloud.throttle("CreateFleet", times=2, principal="operator")
    group.up("patient", workers=1)
    assert "Nothing is left" in group.cluster("down", "patient").said
    group.cloud.throttle("CreateFleet", times=99, principal="operator")
    said = group.up("never", code=1).said
    assert "too many requests" in said
    assert group.what_is_left("never") == {}


def test_a_lost_answer_starts_nothing_twice(group: Group) -> None:
    """AWS has started a fleet, and the connection breaks: the SDK asks again, with the same token."""
    group.cloud.lose_answer("CreateFleet", principal="operator", skip=1)
    group.up("once", workers=1)
    assert len(group.cloud.instances("once")) == 2
    group.cluster("down", "once")
    assert group.what_is_left("once") == {}


def test_a_cluster_whose_up_was_lost_ends_by_itself(group: Group) -> None:
    """Five minutes after its session has expired, though nobody has ended anything."""
    wait_for(lambda: not group.cloud.instances("expired"), 420, "a head that misses `up`")
    assert group.status("expired")["reason"] == "the command that started it was lost"
    assert "has ended (the command that started it was lost)" in group.cluster("status", "expired").said
    assert "Nothing is left" in group.cluster("down", "expired").said
    assert group.what_is_left("expired") == {}


def test_policies_name_what_is_used_and_nothing_else(group: Group) -> None:
    """Compared with all calls of all tests of this cloud, test_cluster.py included; exceptions are listed."""
    scope = Scope(PLACE, "aws", REGION, "123456789012", (REPOSITORY,), (), "hsc-isr")
    if not group.cloud.calls(PLACE.role("worker"), "PutObject"):
        pytest.skip("needs the calls of test_cluster.py, in the same process")
    unseen = {
        # Docker's download; an upload that breaks off; what a quantum has left that is tried again.
        "head": {"ecr:GetDownloadUrlForLayer", "s3:AbortMultipartUpload", "s3:DeleteObject"},
        # A worker lists nothing: the right makes a missing object a 404 rather than a 403.
        "worker": {
            "ecr:GetDownloadUrlForLayer",
            "s3:AbortMultipartUpload",
            "s3:DeleteObject",
            "s3:ListBucket",
        },
        "lease": set(),
        # Prices that the table lacks; a volume that outlives its instance; a console of one without a log.
        "operator": {"pricing:GetProducts", "ec2:DeleteVolume", "ec2:GetConsoleOutput"},
    }
    for name, allowed in unseen.items():
        principal = name if name == "operator" else PLACE.role(name)  # type: ignore[arg-type]
        used = {need for call in group.cloud.calls(principal) for need in call.get("needs", ())}
        named = {
            action
            for statement in policy(name, scope)["Statement"]  # type: ignore[arg-type]
            for action in (
                statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
            )
        }
        assert named - used <= allowed, name
        assert used - {"sts:GetCallerIdentity"} <= named, name  # AWS lets everybody ask who he is


def test_setup_is_removed_again(group: Group) -> None:
    """Back to zero: the account has nothing of ours but the bucket."""
    group.admin("isr-cluster", "setup", "--remove", "-y")
    iam = group.cloud.client("iam")
    roles = [role["RoleName"] for role in iam.list_roles()["Roles"]]
    assert not [name for name in roles if PLACE.id in name]
    assert not [p for p in iam.list_policies(Scope="Local")["Policies"] if PLACE.id in p["PolicyName"]]
    groups = group.cloud.client("ec2").describe_security_groups()["SecurityGroups"]
    assert not [one for one in groups if PLACE.id in one["GroupName"]]
    assert isinstance(group.credentials, Path)
