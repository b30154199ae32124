"""A cluster is started as a whole or not at all."""

from __future__ import annotations

import base64
import json
import time
from types import SimpleNamespace

import boto3
import pytest

from pipeline.cloud import inventory as inventory_module
from pipeline.cloud import joining
from pipeline.cloud import up as up_module
from pipeline.cloud.names import Place, tags_of
from tests.pipeline.cloud.commands.conftest import PLACE, SECRET, Aws
from tests.pipeline.cloud.commands.started import start

STEPS = [
    *(("ssm.PutParameter", n) for n in (1, 2)),
    *(("ec2.CreateLaunchTemplate", n) for n in (1, 2)),
    *(("ec2.CreateFleet", n) for n in (1, 2)),
    ("scheduler.CreateSchedule", 1),
    ("scheduler.UpdateSchedule", 1),
    ("s3.PutObject", 4),
    ("s3.PutObject", 5),
    ("s3.PutObject", 6),
]


def test_up_starts_all_with_tags_and_leases(aws: Aws, tmp_path) -> None:
    said = aws.up("--lease", "1h")
    assert "at most $0.50" in said
    assert "The cluster demo is up" in said
    cluster, found = aws.cluster(), aws.inventory()
    assert cluster.phase == "running"
    assert abs(cluster.lease_until - time.time() - 3600) < 60
    assert len(found.alive) == 3
    roles = sorted(tags_of(item)["isr:role"] for item in found.instances)
    assert roles == ["head", "worker", "worker"]
    for item in found.instances:
        tags = tags_of(item)
        assert tags["isr:cluster"] == "demo"
        assert tags["isr:place"] == str(PLACE)
        assert tags["isr:id"] == cluster.id
        assert int(tags["isr:lease-until"]) == cluster.lease_until
    schedule = aws.account.client("scheduler").get_schedule(Name=PLACE.schedule("demo"))
    assert schedule["ActionAfterCompletion"] == "DELETE"
    target = json.loads(schedule["Target"]["Input"])
    assert target == {"FleetIds": [item.fleet for item in cluster.launches], "TerminateInstances": True}
    assert schedule["Target"]["RoleArn"].endswith(f":role/{PLACE.role('lease')}")
    late = time.strptime(schedule["ScheduleExpression"], "at(%Y-%m-%dT%H:%M:%S)")
    assert 0 < time.mktime(late) - time.mktime(time.gmtime(cluster.lease_until)) < 600


def test_machines_are_closed(aws: Aws, ec2) -> None:
    aws.up("--spot")
    for name in aws.inventory().templates:
        versions = ec2.describe_launch_template_versions(LaunchTemplateName=name)["LaunchTemplateVersions"]
        data = versions[0]["LaunchTemplateData"]
        assert data["MetadataOptions"]["HttpTokens"] == "required"
        assert data["MetadataOptions"]["HttpPutResponseHopLimit"] == 1
        assert data["BlockDeviceMappings"][0]["Ebs"]["Encrypted"] is True
        assert data["BlockDeviceMappings"][0]["Ebs"]["DeleteOnTermination"] is True
        assert data["InstanceInitiatedShutdownBehavior"] == "terminate"
        assert "KeyName" not in data
        role = name.split("-")[2]
        assert data["IamInstanceProfile"] == {"Name": PLACE.role(role)}


def test_secrets_are_in_the_parameter_store_only(aws: Aws, ec2, tmp_path) -> None:
    file = tmp_path / "db-auth.yaml"
    file.touch(mode=0o600)
    file.write_text(SECRET)
    said = aws.up("--db-auth", file)
    ssm = aws.account.client("ssm")
    values = {
        name.removeprefix(PLACE.parameters("demo", aws.cluster().id)): ssm.get_parameter(
            Name=name, WithDecryption=True
        )["Parameter"]
        for name in aws.inventory().parameters
    }
    assert sorted(values) == ["/db-auth", "/tls/scheduler", "/tls/worker"]
    assert all(value["Type"] == "SecureString" for value in values.values())
    assert values["/db-auth"]["Value"] == SECRET
    keys = [json.loads(values[name]["Value"])["key"] for name in ("/tls/scheduler", "/tls/worker")]
    assert keys[0] != keys[1]
    user_data = [
        base64.b64decode(version["LaunchTemplateData"]["UserData"]).decode()
        for name in aws.inventory().templates
        for version in ec2.describe_launch_template_versions(LaunchTemplateName=name)[
            "LaunchTemplateVersions"
        ]
    ]
    assert len(user_data) == 2
    document = json.dumps(aws.cluster().to_json())
    for secret in (*keys, "planted-database-password", "planted-aws-secret", "PRIVATE KEY"):
        for text in (*user_data, document, said):
            assert secret.strip() not in text


@pytest.mark.parametrize("mode", ["0644", "0640"])
def test_credentials_that_others_can_read_are_refused(aws: Aws, tmp_path, mode: str) -> None:
    file = tmp_path / "db-auth.yaml"
    file.write_text(SECRET)
    file.chmod(int(mode, 8))
    assert "chmod 600" in aws.up("--db-auth", file, code=2)


@pytest.mark.parametrize(("operation", "nth"), STEPS)
@pytest.mark.parametrize("how", ["UnauthorizedOperation", "interrupt"])
def test_nothing_is_left_when_a_step_fails(aws: Aws, operation: str, nth: int, how: str) -> None:
    aws.fail(operation, KeyboardInterrupt() if how == "interrupt" else how, nth)
    said = aws.up(code=130 if how == "interrupt" else 1)
    assert aws.faults, f"{operation} is not called {nth} times"
    found = aws.inventory()
    assert found.is_empty, found.lines()
    assert "othing" in said
    if how != "interrupt":
        assert "you may not do this" in said


def test_ctrl_c_after_the_document_was_written(aws: Aws) -> None:
    def interrupt(**_: object) -> None:
        if aws.store().read("cluster.json") is not None and not aws.faults:
            aws.faults.append("s3.PutObject")
            raise KeyboardInterrupt

    aws.on("s3", "after-call.s3.PutObject", interrupt)
    assert "Nothing is left" in aws.up(code=130)
    assert aws.faults
    assert aws.inventory().is_empty


def test_a_lost_answer_of_the_parameter_store(aws: Aws) -> None:
    """The SDK gives the request again, and hears that there is the parameter already."""
    aws.on("ssm", "before-call.ssm.PutParameter", _answer_twice)
    aws.up()
    assert len(aws.inventory().parameters) == 2


def _answer_twice(model: object, params: dict, request_signer: object, **_: object) -> object:
    body = {"Error": {"Code": "ParameterAlreadyExists", "Message": "stub"}}
    client = boto3.client("ssm", region_name="us-east-1")
    client.put_parameter(**json.loads(params["body"]))
    return SimpleNamespace(status_code=400), body


def test_ctrl_c_while_waiting_ends_all(aws: Aws, monkeypatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(up_module, "wait_for_workers", interrupt)
    assert "Nothing is left" in aws.up(code=130)
    assert aws.inventory().is_empty


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("InsufficientInstanceCapacity", "AWS has no machine of this type left"),
        ("VcpuLimitExceeded", "ask for a higher quota"),
    ],
)
def test_a_partial_fleet_is_ended(aws: Aws, code: str, words: str) -> None:
    aws.short_fleet(1, nth=2, code=code)
    said = aws.up(code=1)
    assert "only 1 of 2 workers" in said
    assert words in said
    assert "m5.xlarge in us-east-1a" in said
    assert "nothing of it is left" in said
    assert aws.inventory().is_empty


def test_no_head_is_said(aws: Aws) -> None:
    aws.short_fleet(0, nth=1)
    assert "does not start the head" in aws.up(code=1)
    assert aws.inventory().is_empty


def test_on_demand_takes_the_place_of_spot(aws: Aws) -> None:
    aws.short_fleet(1, nth=2)
    aws.up("--spot-with-fallback")
    launches = aws.cluster().launches
    assert [(item.market, len(item.instances)) for item in launches] == [
        ("on-demand", 1),
        ("spot", 1),
        ("on-demand", 1),
    ]


def test_expired_credentials_say_what_is_left(aws: Aws) -> None:
    aws.fail("ec2.CreateFleet", "ExpiredToken", 2, 99)
    for operation in ("DeleteFleets", "TerminateInstances", "DescribeInstances"):
        aws.fail(f"ec2.{operation}", "ExpiredToken", 4 if operation == "DescribeInstances" else 1, 999)
    said = aws.up(code=1)
    assert aws.naps < 10, "nothing gets better by waiting, and Ctrl-C is not heard meanwhile"
    assert "the session has expired" in said
    assert "themselves when their head has seen no command for five minutes" in said
    assert "isr-cluster down demo" in said


def test_an_instance_that_ends_is_not_waited_for(aws: Aws, ec2, monkeypatch) -> None:
    aws.head_works = False
    original = aws.nap

    def end_worker(seconds: float) -> None:
        original(seconds)
        workers = [item for item in aws.inventory().instances if tags_of(item)["isr:role"] == "worker"]
        ec2.terminate_instances(InstanceIds=[workers[0]["InstanceId"]])

    monkeypatch.setattr(aws, "nap", end_worker)
    said = aws.up(code=1)
    assert "has ended" in said
    assert "nothing of it is left" in said
    assert aws.inventory().is_empty


def test_workers_that_never_come_end_the_attempt(aws: Aws, monkeypatch) -> None:
    aws.head_works = False
    monkeypatch.setattr(joining, "START_SECONDS", 0.0)
    assert "Only 0 of 2 workers have joined" in aws.up(code=1)
    assert aws.inventory().is_empty


def test_a_name_in_use_is_refused(aws: Aws) -> None:
    aws.up()
    said = aws.up(code=1)
    assert "There is a cluster demo already" in said
    assert len(aws.inventory().alive) == 3


def test_two_that_start_the_same_do_not_meet(aws: Aws) -> None:
    """The second sees the document of the first, which has no instances yet."""
    aws.up()
    cluster = aws.cluster()
    for fleet in aws.inventory().fleets:
        aws.account.client("ec2").delete_fleets(FleetIds=[fleet], TerminateInstances=True)
    cluster.phase, cluster.heartbeat = "starting", time.time()
    aws.store().write("cluster.json", cluster.to_json())
    assert "is starting a cluster demo right now" in aws.up(code=1)
    assert aws.store().read("cluster.json") is not None
    cluster.heartbeat -= 400
    aws.store().write("cluster.json", cluster.to_json())
    assert "is up" in aws.up()
    assert aws.cluster().id != cluster.id


def test_a_rollback_leaves_a_successor_of_that_name_alone(aws: Aws, monkeypatch) -> None:
    """The laptop slept; somebody has ended the cluster, and started another of that name."""
    ids, original = [], up_module.wait_for_workers

    def sleep(*_: object, **__: object) -> None:
        monkeypatch.setattr(up_module, "wait_for_workers", original)
        ids.append(aws.cluster().id)
        aws.run("down", "demo", "-y")
        start(aws)
        raise KeyboardInterrupt

    monkeypatch.setattr(up_module, "wait_for_workers", sleep)
    aws.up(code=130)
    assert aws.cluster().id not in ids
    assert len(aws.inventory().alive) == 3
    assert len(aws.inventory().parameters) == 2
    assert aws.inventory().has_schedule


def test_instances_that_are_listed_late_are_ended_too(aws: Aws, monkeypatch) -> None:
    """Ctrl-C while AWS starts workers, which it lists a moment later; and it refuses the first request."""
    original, calls = inventory_module._instances, []

    def late(account, filters):
        calls.append(1)
        for item in original(account, filters):
            if tags_of(item)["isr:role"] == "head" or len(calls) > 4:
                yield item

    def interrupt(*_: object, **__: object) -> None:
        monkeypatch.setattr(inventory_module, "_instances", late)
        raise KeyboardInterrupt

    aws.on(
        "ec2", "after-call.ec2.CreateFleet", lambda **_: interrupt() if len(aws.cluster().launches) else None
    )
    aws.fail("ec2.TerminateInstances", "RequestLimitExceeded")
    aws.fail("ec2.DeleteFleets", "RequestLimitExceeded", times=2)
    aws.up(code=130)
    assert calls
    assert aws.inventory().is_empty


def test_the_same_name_in_another_place_is_another_cluster(aws: Aws) -> None:
    aws.up()
    assert aws.inventory("demo", Place("group-data", "other")).is_empty


def test_budget_dry_run_and_confirmation(aws: Aws, monkeypatch) -> None:
    assert "Over the budget" in aws.up("--budget", "0.5", code=1)
    said = aws.up("--dry-run", yes=False)
    assert "$1.01 for the whole lease" in said
    assert "Nothing was started" in said
    assert "no terminal to ask" in aws.up(code=1, yes=False)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("click.prompt", lambda *_, **__: "y")
    assert "Nothing was started" in aws.up(code=1, yes=False)
    assert aws.inventory().is_empty
    monkeypatch.setattr("click.prompt", lambda *_, **__: "yes")
    assert "is up" in aws.up(yes=False)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--lease", "1"), "not a time"),
        (("--lease", "1m"), "from 10m to 7d"),
        (("--lease", "8d"), "from 10m to 7d"),
        (("--idle", "3h"), "from 1m to the --lease"),
        (("--type", ","), "name at least one"),
        (("--price", "m5.xlarge"), "TYPE=USD"),
    ],
)
def test_wrong_options_are_usage_errors(aws: Aws, words: tuple[str, ...], expected: str) -> None:
    assert expected in aws.up(*words, code=2)


@pytest.mark.parametrize("name", ["Demo", "-demo", "a" * 40, "a/b", "a b"])
def test_wrong_names_are_usage_errors(aws: Aws, name: str) -> None:
    aws.up(name=name, code=2)


def test_an_unknown_price_is_refused_or_given(aws: Aws) -> None:
    said = aws.run("up", "demo", "-n", 1, "--image", "x/y", "--type", "t3.large", "--dry-run", code=1)
    assert "--price t3.large=USD" in said
    aws.run(
        *("up", "demo", "-n", 1, "--image", "x/y", "--type", "t3.large", "--dry-run"),
        "--price",
        "t3.large=3.06",
    )


def test_a_cluster_that_came_while_somebody_was_asked_is_left_alone(aws: Aws, monkeypatch) -> None:
    """What an earlier one has left is to be removed first, and is another's by then."""
    aws.up()
    aws.run("down", "demo", "-y")
    aws.store().write("status.json", {})

    def answer(*_: object, **__: object) -> str:
        aws.up()
        return "yes"

    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("click.prompt", answer)
    said = aws.up(code=1, yes=False)
    assert "There is a cluster demo already" in said
    assert aws.cluster().phase == "running"
    assert len(aws.inventory().alive) == 3
