"""What an account needs once: made, brought up to date, and removed."""

from __future__ import annotations

import json

import pytest

from pipeline.cloud.names import Place
from pipeline.cloud.policies import policy
from pipeline.cloud.setup import operator_arn
from tests.pipeline.cloud.commands.conftest import PLACE, Aws, scope
from tests.pipeline.cloud.commands.started import start

OTHER = Place("group-data", "other")
SETUP = ("setup", "-y", "--repository", "s3://group-data/repo")
ROLES = [PLACE.role(role) for role in ("head", "worker", "lease")]


def _group(ec2, place: Place = PLACE) -> dict:
    filters = [{"Name": "group-name", "Values": [place.security_group]}]
    (group,) = ec2.describe_security_groups(Filters=filters)["SecurityGroups"]
    return group


def _state(aws: Aws, ec2) -> dict:
    """Return all that `setup` has made."""
    iam = aws.account.client("iam")
    policies = {
        name: iam.get_role_policy(RoleName=name, PolicyName="isr")["PolicyDocument"] for name in ROLES
    }
    trusts = {name: iam.get_role(RoleName=name)["Role"]["AssumeRolePolicyDocument"] for name in ROLES}
    versions = iam.list_policy_versions(PolicyArn=operator_arn(aws.account, PLACE))["Versions"]
    logs = aws.account.client("logs").describe_log_groups(logGroupNamePrefix=PLACE.log_group)["logGroups"]
    return {
        "policies": policies,
        "trusts": trusts,
        "versions": [item["VersionId"] for item in versions],
        "logs": [(item["logGroupName"], item["retentionInDays"]) for item in logs],
        "group": _group(ec2),
    }


def _operator(aws: Aws) -> dict:
    iam, arn = aws.account.client("iam"), operator_arn(aws.account, PLACE)
    version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
    return iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"]


def test_it_can_be_given_again(aws: Aws, ec2) -> None:
    before = _state(aws, ec2)
    said = aws.run(*SETUP)
    assert "bucket group-data (was there)" in said
    assert f"attach the policy {operator_arn(aws.account, PLACE)}" in said
    assert f"isr-cluster check --state {PLACE}" in said
    assert _state(aws, ec2) == before
    assert before["logs"] == [(PLACE.log_group, 14)]
    assert before["policies"][PLACE.role("worker")] == policy("worker", scope(PLACE))
    assert _operator(aws) == policy("operator", scope(PLACE))
    services = [before["trusts"][name]["Statement"][0]["Principal"]["Service"] for name in ROLES]
    assert services == ["ec2.amazonaws.com", "ec2.amazonaws.com", "scheduler.amazonaws.com"]


def test_another_port_closes_the_first_and_nothing_of_others(aws: Aws, ec2) -> None:
    group = _group(ec2)["GroupId"]
    own = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "10.1.0.0/16"}]}
    ec2.authorize_security_group_egress(GroupId=group, IpPermissions=[own])
    own6 = {"IpProtocol": "-1", "IpRanges": [{"CidrIp": "10.2.0.0/16"}], "Ipv6Ranges": [{"CidrIpv6": "::/0"}]}
    ec2.authorize_security_group_egress(GroupId=group, IpPermissions=[own6])
    asked: list[dict] = []
    aws.on(
        "ec2", "provide-client-params.ec2.RevokeSecurityGroupEgress", lambda params, **_: asked.append(params)
    )
    aws.run(*SETUP, "--database-port", 6432)
    rules = _group(ec2)["IpPermissionsEgress"]
    ports = sorted(rule["FromPort"] for rule in rules if rule["IpRanges"] and "FromPort" in rule)
    assert ports == [22, 443, 6432]
    everything = [one for rule in rules if rule["IpProtocol"] == "-1" for one in rule["IpRanges"]]
    assert [one["CidrIp"] for one in everything] == ["10.2.0.0/16"]
    # moto does not close what is for IPv6 alone
    assert {"IpProtocol": "-1", "Ipv6Ranges": [{"CidrIpv6": "::/0"}]} in [
        one["IpPermissions"][0] for one in asked
    ]


def test_a_place_has_one_region(aws: Aws, ec2) -> None:
    before = _state(aws, ec2)
    iam = aws.account.client("iam")
    for name in ROLES:  # of an earlier version
        iam.untag_role(RoleName=name, TagKeys=["isr:region"])
    aws.run(*SETUP)
    for words in (SETUP, ("setup", "--remove", "-y")):
        said = aws.run(*words, "--region", "us-west-2", code=1)
        assert "s3://group-data/isr was set up for us-east-1, and a place has one region" in said
        assert "--region us-east-1" in said
    assert _state(aws, ec2) == before


def test_a_new_bucket_is_not_public(aws: Aws) -> None:
    s3 = aws.account.client("s3")
    closed = s3.get_public_access_block(Bucket="group-data")["PublicAccessBlockConfiguration"]
    assert len(closed) == 4
    assert all(closed.values())


def test_other_data_change_the_policies(aws: Aws, ec2) -> None:
    words = (*SETUP, "--repository", "s3://second/repo", "--read", "s3://raws/hsc")
    aws.run(*words)
    for role in ("head", "worker"):
        text = json.dumps(_state(aws, ec2)["policies"][PLACE.role(role)])
        for arn in ("group-data/repo/*", "second/repo/*", "raws/hsc/*"):
            assert f"arn:aws:s3:::{arn}" in text
    aws.run(*SETUP)
    assert "second" not in json.dumps(_state(aws, ec2)["policies"])


def test_the_policy_of_operators_has_five_versions_at_most(aws: Aws) -> None:
    """The oldest goes; AWS keeps no more."""
    iam, arn = aws.account.client("iam"), operator_arn(aws.account, PLACE)
    for number in range(7):
        aws.run(*SETUP, "--image-repository", f"image-{number}")
    versions = iam.list_policy_versions(PolicyArn=arn)["Versions"]
    assert len(versions) == 5
    assert "repository/image-6" in json.dumps(_operator(aws))


def test_nothing_comes_in(aws: Aws, ec2) -> None:
    aws.run(*SETUP)
    group = _group(ec2)
    (inside,) = group["IpPermissions"]
    assert [pair["GroupId"] for pair in inside["UserIdGroupPairs"]] == [group["GroupId"]]
    assert inside["IpRanges"] == inside.get("Ipv6Ranges", []) == inside.get("PrefixListIds", []) == []
    outside = sorted(
        (
            rule["IpProtocol"],
            rule["FromPort"],
            rule["ToPort"],
            *(item["CidrIp"] for item in rule["IpRanges"]),
            *(pair["GroupId"] for pair in rule["UserIdGroupPairs"]),
        )
        for rule in group["IpPermissionsEgress"]
    )
    (vpc,) = ec2.describe_vpcs(VpcIds=[group["VpcId"]])["Vpcs"]
    assert outside == [
        ("tcp", 0, 65535, group["GroupId"]),
        ("tcp", 443, 443, "0.0.0.0/0"),
        ("tcp", 5432, 5432, vpc["CidrBlock"]),
    ]


def test_a_second_place_touches_nothing_of_the_first(aws: Aws, ec2) -> None:
    before = _state(aws, ec2)
    aws.run(*SETUP, "--database-port", 5433, state=OTHER)
    assert _state(aws, ec2) == before
    group = _group(ec2, OTHER)
    assert group["GroupId"] != before["group"]["GroupId"]
    assert {pair["GroupId"] for pair in group["IpPermissions"][0]["UserIdGroupPairs"]} == {group["GroupId"]}
    assert "All is removed" in aws.run("setup", "--remove", "-y", state=OTHER)
    assert _state(aws, ec2) == before


def test_the_security_group_stays_in_its_vpc(aws: Aws, ec2) -> None:
    vpc = ec2.create_vpc(CidrBlock="10.7.0.0/16")["Vpc"]["VpcId"]
    said = aws.run(*SETUP, "--vpc", vpc, code=1)
    assert f"is in {_group(ec2)['VpcId']}, not in {vpc}" in said
    aws.run(*SETUP, "--vpc", vpc, state=OTHER)
    assert _group(ec2, OTHER)["VpcId"] == vpc
    assert "cannot look for the VPC vpc-0" in aws.run(*SETUP, "--vpc", "vpc-0", code=1)


def test_remove_removes_all_but_the_bucket(aws: Aws, ec2) -> None:
    iam = aws.account.client("iam")
    iam.create_user(UserName="observer")
    iam.attach_user_policy(UserName="observer", PolicyArn=operator_arn(aws.account, PLACE))
    aws.run(*SETUP, "--image-repository", "another")
    assert "Nothing was removed" in aws.run("setup", "--remove", code=1)
    assert f"All is removed; the bucket {PLACE.bucket} is kept" in aws.run("setup", "--remove", "-y")
    assert not [role for role in iam.list_roles()["Roles"] if role["RoleName"] in ROLES]
    assert not iam.list_instance_profiles()["InstanceProfiles"]
    assert not iam.list_policies(Scope="Local")["Policies"]
    assert not aws.account.client("logs").describe_log_groups()["logGroups"]
    filters = [{"Name": "group-name", "Values": [PLACE.security_group]}]
    assert not ec2.describe_security_groups(Filters=filters)["SecurityGroups"]
    aws.account.client("s3").head_bucket(Bucket=PLACE.bucket)
    assert "All is removed" in aws.run("setup", "--remove", "-y")  # nothing is there any more
    aws.run(*SETUP)
    assert _operator(aws) == policy("operator", scope(PLACE))


def test_remove_goes_on_and_says_what_is_left(aws: Aws) -> None:
    aws.fail("iam.DeleteRole", "DeleteConflict")
    said = aws.run("setup", "--remove", "-y", code=1)
    assert f"cannot remove the role {PLACE.role('head')}: DeleteConflict" in said
    assert "Not all is removed" in said
    assert not aws.account.client("logs").describe_log_groups()["logGroups"]
    assert "All is removed" in aws.run("setup", "--remove", "-y")


def test_remove_is_refused_while_clusters_are_there(aws: Aws, ec2) -> None:
    start(aws)
    before = _state(aws, ec2)
    assert "There is something of the clusters demo" in aws.run("setup", "--remove", "-y", code=1)
    assert _state(aws, ec2) == before


def test_what_is_missing_or_wrong(aws: Aws) -> None:
    assert "--repository s3://BUCKET/PREFIX" in aws.run("setup", "-y", code=2)
    assert "/local/repo: expected s3://BUCKET/PREFIX" in aws.run(
        "setup", "-y", "--repository", "/local/repo", code=1
    )
    assert "no terminal to ask" in aws.run(*(word for word in SETUP if word != "-y"), code=1)
    aws.fail("iam.CreateRole", "AccessDenied")
    assert f"cannot make the role {PLACE.role('head')}" in aws.run(*SETUP, code=1)


@pytest.mark.parametrize("role", ["operator", "head", "worker", "lease"])
def test_a_policy_is_printed(aws: Aws, role: str) -> None:
    said = aws.run("policy", role, "--repository", "s3://group-data/repo")
    assert json.loads(said) == policy(role, scope(PLACE))  # type: ignore[arg-type]
