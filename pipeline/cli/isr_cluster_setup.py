"""``isr-cluster setup`` and ``policy``: what an account needs once."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Literal

import click

from pipeline.cli.cluster_options import ask, with_account, yes_option

if TYPE_CHECKING:
    from pipeline.cloud.aws import Account
    from pipeline.cloud.names import Place
    from pipeline.cloud.policies import Scope

__all__ = ["policy", "setup"]

_repository = click.option(
    "--repository",
    "repositories",
    multiple=True,
    metavar="s3://BUCKET/PREFIX",
    help="A Butler repository that the machines read and write.",
)
_read = click.option(
    "--read",
    multiple=True,
    metavar="s3://BUCKET/PREFIX",
    help="Data that they only read: raws ingested in place.",
)
_images = click.option(
    "--image-repository",
    default="hsc-isr",
    show_default=True,
    metavar="NAME",
    help="Repository of the container image in ECR.",
)


def _scope(
    account: Account, place: Place, repositories: tuple[str, ...], read: tuple[str, ...], images: str
) -> Scope:
    from pipeline.cloud.policies import Scope

    return Scope(
        place=place,
        partition=account.partition,
        region=account.region,
        account=account.identity["Account"],
        repositories=repositories,
        read=read,
        image_repository=images,
    )


@click.command()
@_repository
@_read
@_images
@click.option("--vpc", default="", metavar="VPC", help="VPC of the machines. [default: the default VPC]")
@click.option(
    "--database-port",
    default=5432,
    show_default=True,
    help="Port of the registry's database, which the head reaches in its VPC.",
)
@click.option("--remove", is_flag=True, help="Remove all of it but the bucket.")
@yes_option
@with_account
def setup(
    account: Account,
    place: Place,
    repositories: tuple[str, ...],
    read: tuple[str, ...],
    image_repository: str,
    vpc: str,
    database_port: int,
    remove: bool,
    yes: bool,
) -> int:
    """Make what the account needs once, as an administrator.

    That is the bucket of --state, a log group, roles with the rights that the
    machines need (the data of --repository and --read, nothing else), the
    policy of those who use isr-cluster, and a security group into which
    nothing comes from outside. Nothing of it costs anything. The same command
    again, with all --repository and --read, brings it up to date.

    Exit codes: 0 done, 1 error, 2 wrong usage.
    """
    from pipeline.cloud.setup import operator_arn, remove_setup, set_up

    if remove:
        question = f"Remove roles, policies, security group and logs of {place}?"
        ask(question, "yes", yes=yes, otherwise="Nothing was removed.")
        problems = remove_setup(account, place)
        for problem in problems:
            click.echo(f"Error: {problem}", err=True)
        click.echo(
            f"{'Not all' if problems else 'All'} is removed; the bucket {place.bucket} is kept.", err=True
        )
        return 1 if problems else 0
    if not repositories:
        raise click.UsageError(
            "Name the repositories on which clusters work: --repository s3://BUCKET/PREFIX."
        )
    scope = _scope(account, place, repositories, read, image_repository)
    ask(
        f"Make roles, policies, a security group and a log group in {account.identity['Account']}?",
        "yes",
        yes=yes,
    )
    for line in set_up(account, scope, vpc, database_port):
        click.echo(line, err=True)
    click.echo(
        f"Next: attach the policy {operator_arn(account, place)} to those who may use isr-cluster; then "
        f"isr-cluster check --state {place}",
        err=True,
    )
    return 0


@click.command()
@click.argument("role", type=click.Choice(["operator", "head", "worker", "lease"]))
@_repository
@_read
@_images
@with_account
def policy(
    account: Account,
    place: Place,
    role: Literal["operator", "head", "worker", "lease"],
    repositories: tuple[str, ...],
    read: tuple[str, ...],
    image_repository: str,
) -> None:
    """Print an IAM policy, for those who do not want `setup` to make it."""
    from pipeline.cloud.policies import policy as of_role

    scope = _scope(account, place, repositories, read, image_repository)
    click.echo(json.dumps(of_role(role, scope), indent=2))
