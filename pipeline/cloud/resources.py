"""What a cluster is made of and must be there before: network, machine image, container image, roles."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.cloud.aws import Account, explained, is_missing
from pipeline.cloud.names import Place, Role
from pipeline.errors import CloudError

__all__ = [
    "Network",
    "find_image",
    "find_machine_image",
    "find_network",
    "find_profile",
    "processors",
    "zones_of_types",
]

MACHINE_IMAGE = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"
"""Public parameter with the newest Amazon Linux 2023."""

_ECR = re.compile(
    r"(?P<registry>(?P<account>[0-9]{12})\.dkr\.ecr\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(?:\.cn)?)"
    r"/(?P<repository>[a-z0-9._/-]+)(?::(?P<tag>[\w.-]+))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)


@dataclass(frozen=True)
class Network:
    """Where instances live.

    Attributes
    ----------
    security_group : `str`
        Its id. Nothing may come in but from instances of the group itself.
    subnets : `dict` [`str`, `str`]
        Subnet id: availability zone. EC2 Fleet takes one subnet of each zone.
    """

    security_group: str
    subnets: dict[str, str]

    @property
    def zones(self) -> set[str]:
        """The availability zones."""
        return set(self.subnets.values())


def find_network(account: Account, place: Place, subnets: Sequence[str] = ()) -> Network:
    """Return the security group of a place, and the subnets of its VPC.

    Parameters
    ----------
    account : `~pipeline.cloud.aws.Account`
        Where.
    place : `~pipeline.cloud.names.Place`
        The place.
    subnets : `~collections.abc.Sequence` [`str`], optional
        Subnets that the user wants; else those of the VPC that give public
        addresses, in each zone the one with the most addresses left.

    Raises
    ------
    CloudError
        If they are not there, two are in one zone, or the group lets others in.
    """
    ec2 = account.client("ec2")
    filters = [{"Name": "group-name", "Values": [place.security_group]}]
    with explained("look for the security group"):
        groups = ec2.describe_security_groups(Filters=filters)["SecurityGroups"]
    if len(groups) != 1:
        raise CloudError(
            f"There is {'no' if not groups else 'more than one'} security group {place.security_group} in "
            f"{account.region}. An administrator makes it: isr-cluster setup --state {place}."
        )
    group = groups[0]
    if open_to := _others_let_in(group):
        raise CloudError(
            f"The security group {group['GroupId']} lets others in ({', '.join(open_to)}); "
            "expected only itself. Remove these rules (aws ec2 revoke-security-group-ingress)."
        )
    wanted = [{"Name": "vpc-id", "Values": [group["VpcId"]]}]
    with explained("look for subnets"):
        found = [
            subnet
            for page in ec2.get_paginator("describe_subnets").paginate(Filters=wanted)
            for subnet in page["Subnets"]
        ]
    known = {subnet["SubnetId"]: subnet for subnet in found}
    if missing := [name for name in subnets if name not in known]:
        raise CloudError(
            f"--subnet {','.join(missing)}: not in the VPC {group['VpcId']}, which has {', '.join(known)}."
        )
    chosen = (
        [known[name] for name in dict.fromkeys(subnets)]
        if subnets
        else _one_of_each_zone([subnet for subnet in found if subnet.get("MapPublicIpOnLaunch")])
    )
    if not chosen:
        raise CloudError(
            f"No subnet of the VPC {group['VpcId']} gives public addresses. Name subnets that "
            "reach S3 and SSM in another way (endpoints, NAT): --subnet subnet-...,subnet-..."
        )
    _refuse_shared_zones(chosen)
    zones = {subnet["SubnetId"]: subnet["AvailabilityZone"] for subnet in chosen}
    return Network(group["GroupId"], dict(sorted(zones.items())))


def _one_of_each_zone(subnets: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the subnet of each zone that has the most addresses left, of equal ones the first by its id."""
    best: dict[str, dict[str, Any]] = {}
    for subnet in sorted(subnets, key=lambda item: (-item["AvailableIpAddressCount"], item["SubnetId"])):
        best.setdefault(subnet["AvailabilityZone"], subnet)
    return list(best.values())


def _refuse_shared_zones(subnets: Sequence[dict[str, Any]]) -> None:
    """Refuse what EC2 Fleet would refuse as "duplicate instance pools"."""
    first: dict[str, str] = {}
    for subnet in subnets:
        zone, name = subnet["AvailabilityZone"], subnet["SubnetId"]
        if zone in first:
            raise CloudError(
                f"--subnet {first[zone]},{name}: both are in {zone}, and EC2 Fleet takes one subnet of each "
                "zone. Leave one of them out."
            )
        first[zone] = name


def _others_let_in(group: dict[str, Any]) -> list[str]:
    """Return whom a security group lets in but itself."""
    others: list[str] = []
    for rule in group["IpPermissions"]:
        others += [item["CidrIp"] for item in rule.get("IpRanges", ())]
        others += [item["CidrIpv6"] for item in rule.get("Ipv6Ranges", ())]
        others += [item["PrefixListId"] for item in rule.get("PrefixListIds", ())]
        others += [
            item["GroupId"]
            for item in rule.get("UserIdGroupPairs", ())
            if item.get("GroupId") != group["GroupId"]
        ]
    return others


def find_machine_image(account: Account, given: str = "") -> str:
    """Return the id of the machine image: the newest Amazon Linux 2023, or what the user wants.

    Raises
    ------
    CloudError
        If it is not there, or for another kind of processor.
    """
    name = given
    if not name:
        with explained("look for the newest Amazon Linux 2023"):
            name = account.client("ssm").get_parameter(Name=MACHINE_IMAGE)["Parameter"]["Value"]
    with explained(f"use the machine image {name}"):
        images = account.client("ec2").describe_images(ImageIds=[name])["Images"]
    if not images:
        raise CloudError(f"There is no machine image {name} in {account.region}. Check --ami.")
    if images[0].get("Architecture", "x86_64") != "x86_64":
        raise CloudError(f"The machine image {name} is for {images[0]['Architecture']}; expected x86_64.")
    return str(name)


def find_image(account: Account, image: str) -> str:
    """Return the container image by its digest, if its registry is Amazon's; else as it was given.

    All machines of a cluster run the same image, also those that are added later.

    Raises
    ------
    CloudError
        If it does not exist, or the machines may not pull it.
    """
    match = _ECR.fullmatch(image)
    if not match:
        if ".dkr.ecr." in image:
            raise CloudError(f"--image {image}: expected ACCOUNT.dkr.ecr.REGION.amazonaws.com/NAME:TAG.")
        return image
    if (match["account"], match["region"]) != (account.identity["Account"], account.region):
        raise CloudError(
            f"--image {image}: it is in account {match['account']}, {match['region']}; the machines may only "
            f"pull from account {account.identity['Account']}, {account.region}. Push it there (docs/aws.md)."
        )
    by_tag = {"imageTag": match["tag"] or "latest"}
    wanted = {"imageDigest": match["digest"]} if match["digest"] else by_tag
    try:
        with explained(f"look for the image {image}"):
            details = account.client("ecr").describe_images(
                registryId=match["account"], repositoryName=match["repository"], imageIds=[wanted]
            )["imageDetails"]
    except CloudError as error:
        if not is_missing(error):
            raise
        raise CloudError(f"{error} Push it first (docs/aws.md), or check --image.") from error
    return f"{match['registry']}/{match['repository']}@{details[0]['imageDigest']}"


def find_profile(account: Account, place: Place, role: Role) -> None:
    """Check that the instance profile of a role is there.

    Raises
    ------
    CloudError
        If not.
    """
    name = place.role(role)
    try:
        with explained(f"look for the instance profile {name}"):
            profile = account.client("iam").get_instance_profile(InstanceProfileName=name)["InstanceProfile"]
    except CloudError as error:
        if not is_missing(error):
            raise
        raise CloudError(
            f"There is no instance profile {name}. An administrator makes it: "
            f"isr-cluster setup --state {place}."
        ) from error
    if [item["RoleName"] for item in profile["Roles"]] != [name]:
        raise CloudError(
            f"The instance profile {name} does not have the role {name}. Repair: isr-cluster setup."
        )


def find_lease_role(account: Account, place: Place) -> None:
    """Check that the role is there with which AWS ends clusters.

    Raises
    ------
    CloudError
        If not.
    """
    name = place.role("lease")
    try:
        with explained(f"look for the role {name}"):
            account.client("iam").get_role(RoleName=name)
    except CloudError as error:
        if not is_missing(error):
            raise
        raise CloudError(
            f"There is no role {name}. An administrator makes it: isr-cluster setup --state {place}."
        ) from error


def processors(account: Account, types: Sequence[str]) -> dict[str, int]:
    """Return the number of virtual processors of instance types.

    Raises
    ------
    CloudError
        If one does not exist, or is not for x86_64.
    """
    with explained(f"look for the instance types {', '.join(types)}"):
        found = account.client("ec2").describe_instance_types(InstanceTypes=list(types))["InstanceTypes"]
    known = {item["InstanceType"]: item for item in found}
    for kind in types:
        if kind not in known:
            raise CloudError(f"--type {kind}: there is no such instance type in {account.region}.")
        if "x86_64" not in known[kind]["ProcessorInfo"]["SupportedArchitectures"]:
            raise CloudError(f"--type {kind}: its processors are not x86_64, for which the image is made.")
    return {kind: int(known[kind]["VCpuInfo"]["DefaultVCpus"]) for kind in types}


def zones_of_types(account: Account, types: Sequence[str]) -> dict[str, set[str]]:
    """Return the availability zones in which each type is offered."""
    filters = [{"Name": "instance-type", "Values": list(types)}]
    zones: dict[str, set[str]] = {kind: set() for kind in types}
    with explained("ask where instance types are offered"):
        pages = account.client("ec2").get_paginator("describe_instance_type_offerings")
        for page in pages.paginate(LocationType="availability-zone", Filters=filters):
            for offering in page["InstanceTypeOfferings"]:
                zones[offering["InstanceType"]].add(offering["Location"])
    return zones
