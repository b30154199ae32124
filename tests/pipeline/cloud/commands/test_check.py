"""Everything is checked before anything is started."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from pipeline.cloud.check import Checks, Wish
from pipeline.cloud.names import Place
from pipeline.cloud.resources import find_network
from tests.pipeline.cloud.commands.conftest import IMAGE, PLACE, Aws
from tests.pipeline.cloud.commands.started import start

ECR = "123456789012.dkr.ecr.us-east-1.amazonaws.com/hsc-isr"
ALL = (
    "credentials",
    "place",
    "role of the head",
    "role of the worker",
    "role of the lease",
    "network",
    "machine image",
    "container image",
    "instance types",
    "zones",
    "right to start",
    "quota, on-demand",
)


def _check(aws: Aws, *words: object, code: int = 1, state: Place = PLACE) -> str:
    """Run ``isr-cluster check``; it starts nothing, and leaves nothing in the place."""
    for operation in ("ec2.CreateFleet", "ec2.CreateLaunchTemplate"):
        aws.fail(operation, "must not be called", times=99)

    def only_ask(params: dict[str, Any], **_: Any) -> None:
        assert params["DryRun"] is True

    aws.on("ec2", "provide-client-params.ec2.RunInstances", only_ask)
    said = aws.run(
        "check", "-n", 2, *(() if "--image" in words else ("--image", IMAGE)), *words, code=code, state=state
    )
    assert not {"ec2.CreateFleet", "ec2.CreateLaunchTemplate"} & {*aws.faults}
    assert not aws.account.client("s3").list_objects_v2(Bucket=PLACE.bucket).get("Contents")
    return said


def _quota(aws: Aws, value: float | dict[str, int]) -> None:
    """Let quotas have a value, or each its own."""

    def answer(params: dict[str, Any], **_: Any) -> tuple[Any, dict[str, Any]]:
        from botocore.awsrequest import AWSResponse

        code = json.loads(params["body"])["QuotaCode"]
        said = value[code] if isinstance(value, dict) else value
        return AWSResponse("", 200, {}, None), {"Quota": {"Value": said}}

    aws.on("service-quotas", "before-call.service-quotas.GetServiceQuota", answer)


def _missing(said: str) -> list[str]:
    return [what for what in ALL if f" {what}: " not in said]


def _bad(said: str) -> list[str]:
    return re.findall(r"(?<!\S)bad [^:]*", said)  # not within an id


def test_all_is_well(aws: Aws) -> None:
    _quota(aws, 12.0)
    said = _check(aws, code=0)
    assert not _missing(said)
    assert not _bad(said)
    assert "unsure" not in said
    assert "12 processors, 0 in use, 10 wanted" in said
    assert "(not in ECR: whether it exists is seen when it is pulled)" in said


def test_the_quota_counts_what_runs(aws: Aws) -> None:
    _quota(aws, 15.0)
    start(aws)  # three instances, of which moto says that each has two processors
    said = aws.run("check", "-n", 2, "--image", IMAGE, code=1)
    assert "bad quota, on-demand: Running On-Demand Standard instances: 15 processors, 6 are in use" in said
    assert "10 are wanted" in said
    assert "higher quota" in said
    said = aws.run("check", "-n", 3, "--image", IMAGE, "--spot", code=0)
    assert "quota, spot: 15 processors, 0 in use, 12 wanted" in said
    assert "bad quota, spot" in aws.run("check", "-n", 4, "--image", IMAGE, "--spot", code=1)


@pytest.mark.parametrize(
    ("on_demand", "spot", "expected"),
    [
        (10, 8, {}),
        (10, 7, {"quota, spot": "unsure"}),
        (9, 8, {"quota, on-demand": "unsure"}),
        (9, 1, {"quota, on-demand": "unsure", "quota, spot": "unsure"}),
        (
            8,
            1,
            {"quota, on-demand": "unsure", "quota, spot": "unsure", "quota, both": "bad"},
        ),
        (1, 64, {"quota, on-demand": "bad"}),
    ],
)
def test_a_fallback_may_need_the_quota_of_on_demand(
    aws: Aws, on_demand: int, spot: int, expected: dict[str, str]
) -> None:
    """Two processors for the head for sure, eight for workers of the one kind or the other."""
    _quota(aws, {"L-1216C47A": on_demand, "L-34B43A08": spot})
    wish = Wish(IMAGE, "", "m5.large", ("m5.xlarge",), 2, "spot", fallback=True)
    findings = {item.what: item for item in Checks(aws.account, PLACE, wish).run()}
    assert {what: item.state for what, item in findings.items() if item.state != "ok"} == expected
    said = findings["quota, spot"].text
    assert ("enough only if some of them are on-demand" in said) == ("quota, spot" in expected)


def test_what_is_stopped_or_has_another_quota_is_not_counted(aws: Aws, ec2) -> None:
    _quota(aws, 12.0)
    ec2.stop_instances(InstanceIds=_run(ec2, "m5.xlarge"))
    _run(ec2, "inf1.xlarge")
    assert "12 processors, 0 in use, 10 wanted" in _check(aws, code=0)
    _run(ec2, "i3.large")
    assert "12 processors, 2 in use, 10 wanted" in _check(aws, code=0)
    said = _check(aws, "--type", "g4dn.xlarge", code=0)
    assert "unsure quota, on-demand: g4dn.xlarge: of families with quotas of their own" in said


def _run(ec2: Any, kind: str) -> list[str]:
    answer = ec2.run_instances(ImageId="ami-1", MinCount=1, MaxCount=1, InstanceType=kind)
    return [item["InstanceId"] for item in answer["Instances"]]


def test_a_right_or_a_role_that_is_missing_is_seen(aws: Aws) -> None:
    aws.account.client("iam").delete_role_policy(RoleName=PLACE.role("lease"), PolicyName="isr")
    aws.account.client("iam").delete_role(RoleName=PLACE.role("lease"))
    aws.fail("ec2.RunInstances", "UnauthorizedOperation", times=99)
    said = _check(aws)
    assert f"bad role of the lease: There is no role {PLACE.role('lease')}" in said
    assert "bad right to start: cannot start instances: you may not do this" in said
    assert not _missing(said)


def test_a_quota_that_is_not_told_is_unsure(aws: Aws) -> None:
    assert "unsure quota, on-demand: cannot ask for the quota" in _check(aws, code=0)


def test_an_image_of_ecr_is_looked_for(aws: Aws) -> None:
    said = _check(aws, "--image", f"{ECR}:1.0")
    assert "bad container image: cannot look for the image" in said
    assert "Push it first" in said
    assert not _missing(said)
    client = aws.account.client("ecr")
    client.create_repository(repositoryName="hsc-isr")
    assert "bad container image" in _check(aws, "--image", f"{ECR}:1.0")
    kind = "application/vnd.oci.image.manifest.v1+json"
    manifest = json.dumps({"schemaVersion": 2, "mediaType": kind, "config": {}, "layers": []})
    client.put_image(repositoryName="hsc-isr", imageManifest=manifest, imageTag="1.0")
    digest = client.describe_images(repositoryName="hsc-isr")["imageDetails"][0]["imageDigest"]
    assert f"container image: {ECR}@{digest}" in _check(aws, "--image", f"{ECR}:1.0", code=0)
    assert f"{ECR}@{digest}" in _check(aws, "--image", f"{ECR}@{digest}", code=0)
    assert "expected ACCOUNT.dkr.ecr" in _check(aws, "--image", "1.dkr.ecr.us-east-1.amazonaws.com/x")
    assert "No container image is named" in _check(aws, "--image", "")


@pytest.mark.parametrize("elsewhere", [("210987654321", "us-east-1"), ("123456789012", "eu-west-1")])
def test_an_image_that_machines_may_not_pull_is_refused(aws: Aws, elsewhere: tuple[str, str]) -> None:
    account, region = elsewhere
    said = _check(aws, "--image", f"{account}.dkr.ecr.{region}.amazonaws.com/hsc-isr:1")
    assert f"bad container image: --image {account}" in said
    assert f"it is in account {account}, {region}" in said
    assert "may only pull from account 123456789012, us-east-1. Push it there" in said


def _second_subnet(ec2, zone: str, block: str) -> tuple[str, str]:
    """Make another public subnet in a zone; return the one that was there, and the new one."""
    there = [item for item in ec2.describe_subnets()["Subnets"] if item["AvailabilityZone"] == zone]
    made = ec2.create_subnet(VpcId=there[0]["VpcId"], CidrBlock=block, AvailabilityZone=zone)["Subnet"]
    ec2.modify_subnet_attribute(SubnetId=made["SubnetId"], MapPublicIpOnLaunch={"Value": True})
    return there[0]["SubnetId"], made["SubnetId"]


def test_one_subnet_of_each_zone(aws: Aws, ec2) -> None:
    """EC2 Fleet refuses two of one zone: that with the most addresses left is taken."""
    before = find_network(aws.account, PLACE).subnets
    _, small = _second_subnet(ec2, "us-east-1a", "172.31.240.0/28")
    old, large = _second_subnet(ec2, "us-east-1b", "172.31.128.0/19")
    same = _second_subnet(ec2, "us-east-1c", "172.31.208.0/20")
    after = find_network(aws.account, PLACE).subnets
    assert sorted(after.values()) == sorted(before.values())
    assert {small, old, max(same)}.isdisjoint(after)
    assert {large, min(same)} < {*after}
    assert find_network(aws.account, PLACE, (small,)).subnets == {small: "us-east-1a"}


def test_two_subnets_of_one_zone_are_refused(aws: Aws, ec2) -> None:
    old, new = _second_subnet(ec2, "us-east-1b", "172.31.240.0/24")
    said = _check(aws, "--subnet", f"{new},{old}")
    assert f"bad network: --subnet {new},{old}: both are in us-east-1b" in said
    assert "Leave one of them out" in said
    assert not _bad(_check(aws, "--subnet", f"{new},{new}", code=0))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--ami", "ami-0123456789abcdef0"), "bad machine image: cannot use the machine image ami-0123"),
        (("--type", "m5.huge"), "bad instance types: "),
        (("--type", "m7g.xlarge"), "m7g.xlarge: its processors are not x86_64"),
        (("--subnet", "subnet-0123"), "--subnet subnet-0123: not in the VPC"),
    ],
)
def test_what_the_user_wants_is_not_there(aws: Aws, words: tuple[str, ...], expected: str) -> None:
    said = _check(aws, *words)
    assert expected in said
    allowed = {
        "--ami": {"right to start"},
        "--type": {"zones", "quota, on-demand"},
        "--subnet": {"zones", "right to start"},
    }[words[0]]
    assert set(_missing(said)) <= allowed


def test_all_is_checked_where_nothing_is_set_up(aws: Aws) -> None:
    said = _check(aws, state=Place("no-such-bucket", "isr"))
    assert "bad place: cannot write s3://no-such-bucket/isr/clusters/_check-" in said
    assert "isr-cluster setup makes it" in said
    for role in ("head", "worker"):
        assert f"bad role of the {role}: There is no instance profile isr-{role}-" in said
    assert "bad network: There is no security group" in said
    assert _missing(said) == ["zones", "right to start"]


def test_a_profile_without_its_role(aws: Aws) -> None:
    name = PLACE.role("head")
    aws.account.client("iam").remove_role_from_instance_profile(InstanceProfileName=name, RoleName=name)
    assert f"bad role of the head: The instance profile {name} does not have the role" in _check(aws)


@pytest.mark.parametrize("addresses", ["IpRanges", "Ipv6Ranges", "UserIdGroupPairs"])
def test_an_open_security_group_is_refused(aws: Aws, ec2, addresses: str) -> None:
    groups = {item["GroupName"]: item["GroupId"] for item in ec2.describe_security_groups()["SecurityGroups"]}
    who = {
        "IpRanges": {"CidrIp": "0.0.0.0/0"},
        "Ipv6Ranges": {"CidrIpv6": "::/0"},
        "UserIdGroupPairs": {"GroupId": groups["default"]},
    }[addresses]
    rule = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, addresses: [who]}
    ec2.authorize_security_group_ingress(GroupId=groups[PLACE.security_group], IpPermissions=[rule])
    said = _check(aws)
    assert "bad network: The security group" in said
    assert f"lets others in ({next(iter(who.values()))})" in said
    assert "Nothing was started" in aws.up(code=1)


def test_zones_without_the_type(aws: Aws, ec2) -> None:
    subnets = ec2.describe_subnets()["Subnets"]
    (lonely,) = (item["SubnetId"] for item in subnets if item["AvailabilityZone"] == "us-east-1e")
    said = _check(aws, "--subnet", lonely)
    assert "bad zones: m5.large is offered in us-east-1a" in said
    assert "the subnets are in us-east-1e" in said


def test_wrong_credentials_are_said_once(aws: Aws) -> None:
    aws.fail("sts.GetCallerIdentity", "InvalidClientTokenId")
    said = _check(aws)
    assert "bad credentials: cannot ask AWS who you are: AWS does not know these credentials" in said
    assert _missing(said) == list(ALL[1:])


def test_a_place_that_may_not_be_written(aws: Aws) -> None:
    aws.fail("s3.PutObject", "AccessDenied")
    said = _check(aws)
    assert "bad place: cannot write" in said
    assert "isr-cluster setup names it" in said
    assert not _missing(said)
