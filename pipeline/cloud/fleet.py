"""Instances started together: a launch template and an EC2 Fleet of type ``instant``."""

from __future__ import annotations

import base64
import logging
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.cloud.aws import Account, explained, is_missing, meaning_of
from pipeline.cloud.document import Cluster, Launch, Market
from pipeline.cloud.names import TAG, Role, parse_place, tag_list
from pipeline.cloud.prices import DISK_GB
from pipeline.cloud.user_data import Node, user_data
from pipeline.errors import CloudError

__all__ = ["Fleet", "cluster_tags", "launch", "make_template", "private_address"]

log = logging.getLogger(__name__)

_TAG_VALUE = 256  # EC2's longest
_SHOW_TRIES = 20  # a new instance may not be listed at once


@dataclass(frozen=True)
class Fleet:
    """What AWS has started.

    Attributes
    ----------
    launch : `~pipeline.cloud.document.Launch`
        The instances.
    wanted : `int`
        How many were asked for.
    refusals : `tuple` [`str`, ...]
        Why others could not be started, each with the types and zones.
    """

    launch: Launch
    wanted: int
    refusals: tuple[str, ...]

    @property
    def missing(self) -> int:
        """Number of instances that could not be started."""
        return self.wanted - len(self.launch.instances)


def cluster_tags(cluster: Cluster, role: Role) -> dict[str, str]:
    """Return the tags of everything that belongs to a cluster."""
    return {
        TAG: cluster.name,
        "isr:id": cluster.id,
        "isr:place": cluster.place,
        "isr:role": role,
        "isr:owner": cluster.owner[:_TAG_VALUE],
        "isr:lease-until": str(cluster.lease_until),
        "Name": f"isr-{cluster.name}-{role}",
    }


def make_template(account: Account, cluster: Cluster, role: Role, options: Sequence[str]) -> str:
    """Make the launch template of a fleet.

    Parameters
    ----------
    account : `~pipeline.cloud.aws.Account`
        Whose EC2.
    cluster : `~pipeline.cloud.document.Cluster`
        What it is for.
    role : `str`
        ``"head"`` or ``"worker"``.
    options : `~collections.abc.Sequence` [`str`]
        Arguments of the node in its container.

    Returns
    -------
    name : `str`
        Name of the template.

    Notes
    -----
    Credentials of the instance come from version 2 of the metadata service
    only, one hop away; its disk is encrypted; there is no ssh key; what ends
    in the machine terminates it.
    """
    ec2 = account.client("ec2")
    node = Node(
        role=role,
        cluster=cluster.name,
        cluster_id=cluster.id,
        place=cluster.place,
        region=cluster.region,
        image=cluster.image,
        lease_until=cluster.lease_until,
        options=tuple(options),
    )
    with explained(f"use the machine image {cluster.ami}"):
        images = ec2.describe_images(ImageIds=[cluster.ami])["Images"]
    if not images:
        raise CloudError(f"There is no machine image {cluster.ami} in {account.region}. Check --ami.")
    disk = {"VolumeSize": DISK_GB, "VolumeType": "gp3", "Encrypted": True, "DeleteOnTermination": True}
    data = {
        "ImageId": cluster.ami,
        "UserData": base64.b64encode(user_data(node).encode()).decode(),
        "SecurityGroupIds": [cluster.security_group],
        "IamInstanceProfile": {"Name": parse_place(cluster.place).role(role)},
        "InstanceInitiatedShutdownBehavior": "terminate",
        "BlockDeviceMappings": [{"DeviceName": images[0].get("RootDeviceName", "/dev/xvda"), "Ebs": disk}],
        "MetadataOptions": {
            "HttpEndpoint": "enabled",
            "HttpTokens": "required",
            "HttpPutResponseHopLimit": 1,
        },
    }
    name = f"isr-{cluster.name}-{role}-{uuid.uuid4().hex[:8]}"
    with explained(f"make the launch template of the {role}"):
        ec2.create_launch_template(
            LaunchTemplateName=name,
            LaunchTemplateData=data,
            TagSpecifications=_tagged(cluster_tags(cluster, role), "launch-template"),
        )
    return name


def launch(
    account: Account,
    cluster: Cluster,
    role: Role,
    template: str,
    count: int,
    market: Market,
    prices: Mapping[str, float],
    launch_id: str,
) -> Fleet:
    """Start instances; those that AWS has, and it says why there are no more.

    Parameters
    ----------
    account : `~pipeline.cloud.aws.Account`
        Whose EC2.
    cluster : `~pipeline.cloud.document.Cluster`
        What they belong to.
    role : `str`
        What they are for.
    template : `str`
        Name of their launch template.
    count : `int`
        How many.
    market : `str`
        ``"spot"`` or ``"on-demand"``.
    prices : `~collections.abc.Mapping` [`str`, `float`]
        The types that they may be, and the most that an hour of each costs, in USD.
    launch_id : `str`
        What distinguishes these instances from others of the cluster; their tag isr:launch.

    Raises
    ------
    CloudError
        If AWS refuses the request as a whole.

    Notes
    -----
    The tags are in this request, not in the template: AWS wants the right to
    CreateFleet for instances and volumes, too, and a policy that asks for
    tags there sees those of the request (as Karpenter's does, which is made
    the same way). Spot requests have none: AWS would refuse the tags of
    something that on-demand instances do not have.
    """
    strategy: dict[str, Any] = (
        {"SpotOptions": {"AllocationStrategy": "price-capacity-optimized"}}
        if market == "spot"
        else {"OnDemandOptions": {"AllocationStrategy": "lowest-price"}}
    )
    tags = cluster_tags(cluster, role) | {"isr:launch": launch_id}
    overrides = [{"InstanceType": kind, "SubnetId": subnet} for kind in prices for subnet in cluster.subnets]
    with explained(f"start {count} {market} instances for the {role}"):
        answer = account.client("ec2").create_fleet(
            Type="instant",
            ClientToken=uuid.uuid4().hex,  # a request that the SDK repeats starts nothing twice
            LaunchTemplateConfigs=[
                {
                    "LaunchTemplateSpecification": {"LaunchTemplateName": template, "Version": "$Latest"},
                    "Overrides": overrides,
                }
            ],
            TargetCapacitySpecification={
                "TotalTargetCapacity": count,
                "DefaultTargetCapacityType": market,
                "OnDemandTargetCapacity": 0 if market == "spot" else count,
                "SpotTargetCapacity": count if market == "spot" else 0,
            },
            TagSpecifications=_tagged(tags, "fleet", "instance", "volume"),
            **strategy,
        )
    instances = [(item, group) for group in answer.get("Instances", ()) for item in group["InstanceIds"]]
    started = Launch(
        role=role,
        fleet=answer["FleetId"],
        market=market,
        started=time.time(),
        instances={item: str(group.get("InstanceType") or next(iter(prices))) for item, group in instances},
        price=dict(prices),
    )
    return Fleet(started, count, _refusals(answer.get("Errors", ())))


def _tagged(tags: dict[str, str], *kinds: str) -> list[dict[str, Any]]:
    return [{"ResourceType": kind, "Tags": tag_list(tags)} for kind in kinds]


def _refusals(errors: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Say each reason once, with the pools that it is about."""
    pools: dict[tuple[str, str], list[str]] = {}
    for error in errors:
        override = error.get("LaunchTemplateAndOverrides", {}).get("Overrides", {})
        where = override.get("AvailabilityZone") or override.get("SubnetId", "?")
        key = (str(error.get("ErrorCode", "?")), str(error.get("ErrorMessage", "")))
        pools.setdefault(key, []).append(f"{override.get('InstanceType', '?')} in {where}")
    return tuple(
        f"{', '.join(places)}: {meaning_of(code) or 'refused.'} ({code}: {said})"
        for (code, said), places in pools.items()
    )


def private_address(account: Account, instance: str) -> str:
    """Return the private address of a new instance.

    Raises
    ------
    CloudError
        If it does not get one.
    """
    for _ in range(_SHOW_TRIES):
        try:
            with explained(f"look at the instance {instance}"):
                answer = account.client("ec2").describe_instances(InstanceIds=[instance])
            found = answer["Reservations"][0]["Instances"][0]
            if address := found.get("PrivateIpAddress"):
                return str(address)
        except CloudError as error:
            if not is_missing(error):
                raise
        time.sleep(1.0)
    raise CloudError(f"The instance {instance} has no address after {_SHOW_TRIES} s.")
