"""Instances for tests of the harness: roles, and fleets as ``isr-cluster`` makes them."""

from __future__ import annotations

import base64
import json
from typing import Any

from tests.ec2.cloud import Cloud

LOGS = "/isr/harness"
BUCKET = "harness"
PROFILE = "harness-node"
POLICY = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Action": ["s3:GetObject", "s3:PutObject"],
            "Resource": f"arn:aws:s3:::{BUCKET}/allowed/*",
        },
        {
            "Effect": "Allow",
            "Action": ["logs:CreateLogStream", "logs:PutLogEvents"],
            "Resource": f"arn:aws:logs:*:*:log-group:{LOGS}:*",
        },
        {"Effect": "Allow", "Action": "ecr:GetAuthorizationToken", "Resource": "*"},
        {
            "Effect": "Allow",
            "Action": ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"],
            "Resource": "arn:aws:ecr:*:*:repository/harness",
        },
    ],
}
TAGS = [{"Key": "isr:cluster", "Value": "harness"}]
RUN = (
    "docker run --rm --name isr --network host --read-only --tmpfs /tmp:size=64m --cap-drop ALL "
    "--security-opt no-new-privileges --user 10001:10001 --ulimit nofile=65536:65536 "
    "-v /run/isr:/run/isr -v /var/lib/isr:/scratch"
)
"""How user-data runs a container."""


def trust(service: str) -> str:
    """Return a trust policy."""
    statement = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def make_role(cloud: Cloud, name: str, service: str, policy: dict[str, Any]) -> str:
    """Make a role; return its ARN."""
    iam = cloud.client("iam")
    made = iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust(service))
    iam.put_role_policy(RoleName=name, PolicyName="all", PolicyDocument=json.dumps(policy))
    return str(made["Role"]["Arn"])


def prepare(cloud: Cloud) -> None:
    """Make what all instances use."""
    iam = cloud.client("iam")
    make_role(cloud, PROFILE, "ec2.amazonaws.com", POLICY)
    iam.create_instance_profile(InstanceProfileName=PROFILE)
    iam.add_role_to_instance_profile(InstanceProfileName=PROFILE, RoleName=PROFILE)
    cloud.client("s3").create_bucket(Bucket=BUCKET)
    cloud.client("logs").create_log_group(logGroupName=LOGS)


def template(cloud: Cloud, name: str, user_data: str) -> str:
    """Make a launch template; return its id."""
    ami = cloud.client("ssm").get_parameter(
        Name="/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"
    )["Parameter"]["Value"]
    made = cloud.client("ec2").create_launch_template(
        LaunchTemplateName=name,
        LaunchTemplateData={
            "ImageId": ami,
            "InstanceType": "m5.large",
            "UserData": base64.b64encode(user_data.encode()).decode(),
            "IamInstanceProfile": {"Name": PROFILE},
            "MetadataOptions": {"HttpTokens": "required", "HttpPutResponseHopLimit": 1},
            "InstanceInitiatedShutdownBehavior": "terminate",
        },
    )
    return str(made["LaunchTemplate"]["LaunchTemplateId"])


def launch(
    cloud: Cloud, user_data: str, *, count: int = 1, spot: bool = False, user: str = "admin"
) -> dict[str, Any]:
    """Make an instant fleet; return the answer of CreateFleet."""
    number = len(cloud.client("ec2").describe_launch_templates()["LaunchTemplates"])
    identity = template(cloud, f"harness-{number}", user_data)
    kind = "spot" if spot else "on-demand"
    answer: dict[str, Any] = cloud.client("ec2", user).create_fleet(
        Type="instant",
        TargetCapacitySpecification={"TotalTargetCapacity": count, "DefaultTargetCapacityType": kind},
        LaunchTemplateConfigs=[
            {
                "LaunchTemplateSpecification": {"LaunchTemplateId": identity, "Version": "$Latest"},
                "Overrides": [{"InstanceType": "m5.xlarge"}],
            }
        ],
        TagSpecifications=[{"ResourceType": kind, "Tags": TAGS} for kind in ("fleet", "instance", "volume")],
    )
    return answer


def ids_of(answer: dict[str, Any]) -> list[str]:
    """Return the instances of a fleet that was just made."""
    return [identity for item in answer["Instances"] for identity in item["InstanceIds"]]
