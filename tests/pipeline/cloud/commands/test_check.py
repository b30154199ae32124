"""Everything is checked before anything is started."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pipeline.cloud.names import Place
from tests.pipeline.cloud.commands.conftest import IMAGE, PLACE, Aws
from tests.pipeline.cloud.commands.started import start

ECR = "123456789012.dkr.ecr.us-east-1.amazonaws.com/hsc-isr"
ALL = (
    "credentials",
    "place",
    "role of the head",
    "role of the worker",
    "network",
    "machine image",
    "container image",
    "instance types",
    "zones",
    "quota, on-demand",
)


def _check(aws: Aws, *words: object, code: int = 1, state: Place = PLACE) -> str:
    """Run ``isr-cluster check``; it starts nothing, and leaves nothing in the place."""
    for operation in ("ec2.CreateFleet", "ec2.RunInstances", "ec2.CreateLaunchTemplate"):
        aws.fail(operation, "must not be called", times=99)
    said = aws.run(
        "check", "-n", 2, *(() if "--image" in words else ("--image", IMAGE)), *words, code=code, state=state
    )
    assert not {"ec2.CreateFleet", "ec2.RunInstances", "ec2.CreateLaunchTemplate"} & {*aws.faults}
    assert not aws.account.client("s3").list_objects_v2(Bucket=PLACE.bucket).get("Contents")
    return said


def _quota(aws: Aws, value: float) -> None:
    def answer(**_: Any) -> tuple[Any, dict[str, Any]]:
        from botocore.awsrequest import AWSResponse

        return AWSResponse("", 200, {}, None), {"Quota": {"Value": value}}

    aws.on("service-quotas", "before-call.service-quotas.GetServiceQuota", answer)


def _missing(said: str) -> list[str]:
    return [what for what in ALL if f" {what}: " not in said]


def test_all_is_well(aws: Aws) -> None:
    _quota(aws, 12.0)
    said = _check(aws, code=0)
    assert not _missing(said)
    assert "bad" not in said
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
    allowed = {"--type": {"zones", "quota, on-demand"}, "--subnet": {"zones"}}.get(words[0], set())
    assert set(_missing(said)) <= allowed


def test_all_is_checked_where_nothing_is_set_up(aws: Aws) -> None:
    said = _check(aws, state=Place("no-such-bucket", "isr"))
    assert "bad place: cannot write s3://no-such-bucket/isr/clusters/check-" in said
    assert "isr-cluster setup makes it" in said
    for role in ("head", "worker"):
        assert f"bad role of the {role}: There is no instance profile isr-{role}-" in said
    assert "bad network: There is no security group" in said
    assert _missing(said) == ["zones"]


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
