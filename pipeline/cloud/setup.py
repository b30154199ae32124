"""What an account needs once for each place: roles, security group, log group, bucket."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Literal

from pipeline.cloud.aws import Account, code_of, explained, is_missing
from pipeline.cloud.inventory import cluster_names
from pipeline.cloud.names import ROLES, Place, tag_list, tags_of
from pipeline.cloud.policies import Scope, policy, trust
from pipeline.errors import CloudError

__all__ = ["operator_arn", "remove_setup", "set_up"]

log = logging.getLogger(__name__)

LOG_DAYS = 14
_POLICY = "isr"  # name of the policy in each role
_VERSIONS = 5  # of a managed policy, at most
_LINKED = ("ec2fleet.amazonaws.com", "spot.amazonaws.com")
_HTTPS = 443
_REGION = "isr:region"  # tag of what is not in a region
_DATABASE = "database of the registry"
_US_EAST_1 = "us-east-1"


def set_up(account: Account, scope: Scope, vpc: str, database_port: int) -> list[str]:
    """Make what is missing, and bring what differs to what it should be.

    Parameters
    ----------
    account : `~pipeline.cloud.aws.Account`
        Of an administrator.
    scope : `~pipeline.cloud.policies.Scope`
        Place and data.
    vpc : `str`
        VPC of the instances; ``""``: the default one.
    database_port : `int`
        Port of the registry's database, which the head reaches within the VPC.

    Returns
    -------
    done : `list` [`str`]
        What there is now.

    Raises
    ------
    CloudError
        If AWS refuses something, or the place belongs to another region.
    """
    place = scope.place
    _refuse_another_region(account, place)
    done = [_make_bucket(account, place), _make_log_group(account, place)]
    tags = tag_list({"isr:place": str(place), _REGION: account.region})
    for role in ROLES:
        done.append(_make_role(account, place.role(role), "ec2.amazonaws.com", policy(role, scope), tags))
        _make_profile(account, place.role(role), tags)
    lease = policy("lease", scope)
    done.append(_make_role(account, place.role("lease"), "scheduler.amazonaws.com", lease, tags))
    done.append(_make_operator_policy(account, scope, tags))
    for service in _LINKED:
        _make_linked_role(account, service)
    done.append(_make_security_group(account, place, vpc, database_port, tags))
    return done


def _refuse_another_region(account: Account, place: Place) -> None:
    """Roles and policies have a name everywhere, and are about one region: clusters there need them."""
    try:
        with explained("look for an earlier setup"):
            role = account.client("iam").get_role(RoleName=place.role(ROLES[0]))["Role"]
    except CloudError as error:
        if is_missing(error):
            return
        raise
    region = tags_of(role).get(_REGION, account.region)
    if region != account.region:
        raise CloudError(
            f"{place} was set up for {region}, and a place has one region. Take another prefix for "
            f"{account.region}, or use this one: --region {region} (and setup --remove, if it is to move)."
        )


def operator_arn(account: Account, place: Place) -> str:
    """Return the ARN of the policy of those who use ``isr-cluster``."""
    return f"arn:{account.partition}:iam::{account.identity['Account']}:policy/{place.operator_policy}"


def _make_bucket(account: Account, place: Place) -> str:
    s3 = account.client("s3")
    try:
        with explained(f"look at the bucket {place.bucket}"):
            s3.head_bucket(Bucket=place.bucket)
        return f"bucket {place.bucket} (was there)"
    except CloudError as error:
        if not is_missing(error):
            raise
    where: dict[str, Any] = {}
    if account.region != _US_EAST_1:
        where = {"CreateBucketConfiguration": {"LocationConstraint": account.region}}
    with explained(f"make the bucket {place.bucket}"):
        s3.create_bucket(Bucket=place.bucket, **where)
        closed = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
        s3.put_public_access_block(
            Bucket=place.bucket, PublicAccessBlockConfiguration=dict.fromkeys(closed, True)
        )
    return f"bucket {place.bucket}, not public"


def _make_log_group(account: Account, place: Place) -> str:
    logs = account.client("logs")
    with _unless("ResourceAlreadyExistsException", f"make the log group {place.log_group}"):
        logs.create_log_group(logGroupName=place.log_group)
    with explained("limit how long logs are kept"):
        logs.put_retention_policy(logGroupName=place.log_group, retentionInDays=LOG_DAYS)
    return f"log group {place.log_group}, kept for {LOG_DAYS} days"


def _make_role(
    account: Account,
    name: str,
    service: Literal["ec2.amazonaws.com", "scheduler.amazonaws.com"],
    rights: dict[str, Any],
    tags: list[dict[str, str]],
) -> str:
    iam = account.client("iam")
    document = json.dumps(trust(service, account.identity["Account"]))
    with _unless("EntityAlreadyExists", f"make the role {name}"):
        iam.create_role(RoleName=name, AssumeRolePolicyDocument=document, Tags=tags)
    with explained(f"set the policies of the role {name}"):
        iam.tag_role(RoleName=name, Tags=tags)
        iam.update_assume_role_policy(RoleName=name, PolicyDocument=document)
        iam.put_role_policy(RoleName=name, PolicyName=_POLICY, PolicyDocument=json.dumps(rights))
    return f"role {name}"


def _make_profile(account: Account, name: str, tags: list[dict[str, str]]) -> None:
    iam = account.client("iam")
    with _unless("EntityAlreadyExists", f"make the instance profile {name}"):
        iam.create_instance_profile(InstanceProfileName=name, Tags=tags)
    with explained(f"give the instance profile {name} its role"):
        profile = iam.get_instance_profile(InstanceProfileName=name)["InstanceProfile"]
        if not profile["Roles"]:
            iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=name)


def _make_operator_policy(account: Account, scope: Scope, tags: list[dict[str, str]]) -> str:
    iam, arn = account.client("iam"), operator_arn(account, scope.place)
    document = policy("operator", scope)
    text = json.dumps(document, separators=(",", ":"))
    try:
        with explained(f"look at the policy {arn}"):
            default = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
            old = iam.get_policy_version(PolicyArn=arn, VersionId=default)["PolicyVersion"]["Document"]
    except CloudError as error:
        if not is_missing(error):
            raise
        with explained(f"make the policy {arn}"):
            iam.create_policy(PolicyName=scope.place.operator_policy, PolicyDocument=text, Tags=tags)
        return f"policy {arn}"
    if old != document:
        with explained(f"change the policy {arn}"):
            versions = iam.list_policy_versions(PolicyArn=arn)["Versions"]
            others = sorted(
                (item for item in versions if not item["IsDefaultVersion"]),
                key=lambda item: str(item["CreateDate"]),
            )
            if len(versions) >= _VERSIONS:
                iam.delete_policy_version(PolicyArn=arn, VersionId=others[0]["VersionId"])
            iam.create_policy_version(PolicyArn=arn, PolicyDocument=text, SetAsDefault=True)
    return f"policy {arn}"


def _make_linked_role(account: Account, service: str) -> None:
    """Let EC2 Fleet and spot instances work in this account at all."""
    with _unless("InvalidInput EntityAlreadyExists", f"make the service-linked role of {service}"):
        account.client("iam").create_service_linked_role(AWSServiceName=service)


def _make_security_group(
    account: Account, place: Place, vpc: str, port: int, tags: list[dict[str, str]]
) -> str:
    ec2 = account.client("ec2")
    choice = {"VpcIds": [vpc]} if vpc else {"Filters": [{"Name": "is-default", "Values": ["true"]}]}
    with explained(f"look for the VPC {vpc or '(default)'}"):
        found = ec2.describe_vpcs(**choice)["Vpcs"]
    if not found:
        raise CloudError(f"{account.region} has no default VPC. Name one: --vpc vpc-...")
    chosen = found[0]
    filters = [{"Name": "group-name", "Values": [place.security_group]}]
    with explained("make the security group"):
        groups = ec2.describe_security_groups(Filters=filters)["SecurityGroups"]
        if groups and groups[0]["VpcId"] != chosen["VpcId"]:
            raise CloudError(
                f"The security group {place.security_group} is in {groups[0]['VpcId']}, not in "
                f"{chosen['VpcId']}. Name that one (--vpc), or first: isr-cluster setup --remove."
            )
        if groups:
            group = groups[0]["GroupId"]
        else:
            group = ec2.create_security_group(
                GroupName=place.security_group,
                Description="Clusters of isr-cluster: nothing comes in but from themselves",
                VpcId=chosen["VpcId"],
                TagSpecifications=[{"ResourceType": "security-group", "Tags": tags}],
            )["GroupId"]
    among = [{"IpProtocol": "tcp", "FromPort": 0, "ToPort": 65535, "UserIdGroupPairs": [{"GroupId": group}]}]
    outside = [
        _rule(_HTTPS, "0.0.0.0/0", "AWS, container and package registries"),
        _rule(port, chosen["CidrBlock"], _DATABASE),
    ]
    with _unless("InvalidPermission.Duplicate", "let instances talk to each other"):
        ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=among)
    for rule in (*among, *outside):
        with _unless("InvalidPermission.Duplicate", "let instances out"):
            ec2.authorize_security_group_egress(GroupId=group, IpPermissions=[rule])
    _close_others(ec2, group, port)
    return f"security group {place.security_group} ({group}) in {chosen['VpcId']}, closed from outside"


def _close_others(ec2: Any, group: str, port: int) -> None:
    """Close what EC2 opens by default, and what an earlier setup has opened for another database."""
    with explained("close what instances do not need"):
        (found,) = ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"]
        for rule in found["IpPermissionsEgress"]:
            if rule["IpProtocol"] == "-1":
                old = [one for one in rule["IpRanges"] if one["CidrIp"] == "0.0.0.0/0"]
                old6 = [one for one in rule.get("Ipv6Ranges", ()) if one["CidrIpv6"] == "::/0"]
            elif rule["FromPort"] != port:  # not what an administrator has added by hand
                old, old6 = [one for one in rule["IpRanges"] if one.get("Description") == _DATABASE], []
            else:
                continue
            ranges = {"IpRanges": old, "Ipv6Ranges": old6}
            closed = {key: rule[key] for key in ("IpProtocol", "FromPort", "ToPort") if key in rule}
            closed |= {key: value for key, value in ranges.items() if value}
            if old or old6:
                ec2.revoke_security_group_egress(GroupId=group, IpPermissions=[closed])


def _rule(port: int, addresses: str, why: str) -> dict[str, Any]:
    ranges = [{"CidrIp": addresses, "Description": why}]
    return {"IpProtocol": "tcp", "FromPort": port, "ToPort": port, "IpRanges": ranges}


@contextmanager
def _unless(codes: str, what: str) -> Iterator[None]:
    """Explain errors, but for the one that says that it is so already."""
    try:
        with explained(what):
            yield
    except CloudError as error:
        if code_of(error) not in codes.split():
            raise


def remove_setup(account: Account, place: Place) -> list[str]:
    """Remove what `set_up` has made but the bucket, which may hold data.

    Returns
    -------
    problems : `list` [`str`]
        What could not be removed.

    Raises
    ------
    CloudError
        If there are clusters, or the place belongs to another region.
    """
    _refuse_another_region(account, place)
    if names := cluster_names(account, place):
        raise CloudError(
            f"There is something of the clusters {', '.join(sorted(names))}: isr-cluster sweep, or down."
        )
    iam, ec2, logs = (account.client(name) for name in ("iam", "ec2", "logs"))
    problems: list[str] = []

    def remove(what: str, action: Callable[[], object]) -> None:
        try:
            with explained(f"remove {what}"):
                action()
        except CloudError as error:
            if not is_missing(error):
                problems.append(str(error))

    for name in map(place.role, ROLES):
        in_profile = partial(iam.remove_role_from_instance_profile, InstanceProfileName=name, RoleName=name)
        remove(f"{name} from its profile", in_profile)
        remove(f"the profile {name}", partial(iam.delete_instance_profile, InstanceProfileName=name))
    for name in (*map(place.role, ROLES), place.role("lease")):
        remove(f"the policy of {name}", partial(iam.delete_role_policy, RoleName=name, PolicyName=_POLICY))
        remove(f"the role {name}", partial(iam.delete_role, RoleName=name))
    remove("the policy of operators", lambda: _remove_policy(iam, operator_arn(account, place)))
    remove("the log group", lambda: logs.delete_log_group(logGroupName=place.log_group))
    filters = [{"Name": "group-name", "Values": [place.security_group]}]
    with explained("look for the security group"):
        groups = ec2.describe_security_groups(Filters=filters)["SecurityGroups"]
    for group in groups:
        remove("the security group", partial(ec2.delete_security_group, GroupId=group["GroupId"]))
    return problems


def _remove_policy(iam: Any, arn: str) -> None:
    users = iam.list_entities_for_policy(PolicyArn=arn)
    for user in users["PolicyUsers"]:
        iam.detach_user_policy(UserName=user["UserName"], PolicyArn=arn)
    for group in users["PolicyGroups"]:
        iam.detach_group_policy(GroupName=group["GroupName"], PolicyArn=arn)
    for role in users["PolicyRoles"]:
        iam.detach_role_policy(RoleName=role["RoleName"], PolicyArn=arn)
    for version in iam.list_policy_versions(PolicyArn=arn)["Versions"]:
        if not version["IsDefaultVersion"]:
            iam.delete_policy_version(PolicyArn=arn, VersionId=version["VersionId"])
    iam.delete_policy(PolicyArn=arn)
