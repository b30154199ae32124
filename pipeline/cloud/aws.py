"""AWS as a command sees it: clients, who we are, and what refusals mean."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoRegionError, ProfileNotFound
from botocore.exceptions import ConnectionError as BotoConnectionError

from pipeline.errors import CloudError
from pipeline.s3client import CREDENTIAL_ERRORS

__all__ = ["Account", "code_of", "explained", "is_missing", "is_refused"]

ATTEMPTS = 6  # of one request, by the SDK: throttling, 5xx, lost connections
CONNECT_TIMEOUT, READ_TIMEOUT = 10.0, 60.0  # seconds

_EXPIRED = ("ExpiredToken", "ExpiredTokenException", "RequestExpired")
_UNKNOWN = ("AuthFailure", "InvalidClientTokenId", "InvalidAccessKeyId", "UnrecognizedClientException")
_FORBIDDEN = (
    "UnauthorizedOperation",
    "AccessDenied",
    "AccessDeniedException",
    "403",
    "Client.UnauthorizedOperation",
)
_REFUSALS = (*_EXPIRED, *_UNKNOWN, *_FORBIDDEN, "SignatureDoesNotMatch")
_LOGIN = "Log in again (aws sso login, or new keys), then give the same command again."
_MEANINGS = {
    **dict.fromkeys(_EXPIRED, f"the session has expired. {_LOGIN}"),
    **dict.fromkeys(
        _UNKNOWN,
        "AWS does not know these credentials. Check AWS_PROFILE, or AWS_ACCESS_KEY_ID and its secret "
        "(aws sts get-caller-identity tells who you are).",
    ),
    "SignatureDoesNotMatch": "the secret key does not fit the access key id. Check both.",
    **dict.fromkeys(
        _FORBIDDEN,
        "you may not do this. An administrator attaches the policy of operators to your user or role: "
        "isr-cluster setup names it; isr-cluster check shows what is missing.",
    ),
    **dict.fromkeys(
        ("RequestLimitExceeded", "Throttling", "ThrottlingException", "SlowDown", "TooManyRequestsException"),
        f"AWS says that there were too many requests, {ATTEMPTS} times. Wait a minute, then give the same "
        "command again.",
    ),
    **dict.fromkeys(
        ("InsufficientInstanceCapacity", "UnfulfillableCapacity"),
        "AWS has no machine of this type left. Name more types (--type m5.xlarge,m5a.xlarge,m6i.xlarge), "
        "or take --on-demand.",
    ),
    **dict.fromkeys(
        ("VcpuLimitExceeded", "InstanceLimitExceeded", "MaxSpotInstanceCountExceeded"),
        "this account may not have as many processors at once. Take fewer instances, or ask for a higher "
        "quota (Service Quotas, EC2, Running On-Demand Standard or All Standard Spot Instance Requests).",
    ),
    **dict.fromkeys(
        ("InvalidAMIID.NotFound", "InvalidAMIID.Malformed", "InvalidAMIID.Unavailable"),
        "there is no such machine image in this region. Leave --ami out, or check it.",
    ),
    "NoSuchBucket": "the bucket does not exist. Check --state; isr-cluster setup makes it.",
    "RequestTimeTooSkewed": "the clock of this machine is wrong.",
    "OptInRequired": "this account is not (yet) enabled for EC2 in this region. Look into the AWS console.",
}


class Account:
    """Clients of one AWS account and region, made when they are needed.

    Parameters
    ----------
    region : `str`, optional
        Else that of the environment or profile.

    Raises
    ------
    CloudError
        If the profile or the region is not there.
    """

    def __init__(self, region: str | None = None) -> None:
        try:
            self._session = boto3.session.Session(region_name=region)
        except ProfileNotFound as error:
            raise CloudError(f"{error}. Check AWS_PROFILE.") from None
        self.region = str(self._session.region_name or "")
        if not self.region:
            raise CloudError("No AWS region is chosen. Name it: --region us-west-2, or AWS_REGION.")
        self._clients: dict[str, Any] = {}

    def client(self, service: str) -> Any:
        """Return the client of a service."""
        if service not in self._clients:
            retries: dict[str, Any] = {"mode": "standard"}
            if "AWS_MAX_ATTEMPTS" not in os.environ:
                retries["total_max_attempts"] = ATTEMPTS
            config = Config(retries=retries, connect_timeout=CONNECT_TIMEOUT, read_timeout=READ_TIMEOUT)
            with explained(f"use {service}"):
                self._clients[service] = self._session.client(service, config=config)
        return self._clients[service]

    @cached_property
    def identity(self) -> dict[str, str]:
        """Who we are: ``"Account"`` and ``"Arn"``."""
        with explained("ask AWS who you are"):
            answer = self.client("sts").get_caller_identity()
        return {name: str(answer[name]) for name in ("Account", "Arn")}

    @property
    def owner(self) -> str:
        """The ARN of the user or role."""
        return self.identity["Arn"]

    @cached_property
    def partition(self) -> str:
        """``aws``, ``aws-cn`` or ``aws-us-gov``."""
        return self.owner.split(":")[1]


@contextmanager
def explained(what: str) -> Iterator[None]:
    """Turn what AWS or the SDK refuses into a `CloudError` that says what to do.

    Parameters
    ----------
    what : `str`
        What was tried, after "cannot".
    """
    try:
        yield
    except CREDENTIAL_ERRORS as error:
        raise CloudError(
            f"cannot {what}: no usable AWS credentials ({type(error).__name__}). "
            "Set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or log in (aws sso login)."
        ) from error
    except NoRegionError as error:
        raise CloudError(f"cannot {what}: no AWS region is chosen. Name it: --region us-west-2.") from error
    except ClientError as error:
        raise CloudError(f"cannot {what}: {refusal(error)}") from error
    except BotoConnectionError as error:
        raise CloudError(
            f"cannot {what}: AWS cannot be reached ({error}). Check the network and AWS_ENDPOINT_URL."
        ) from error
    except BotoCoreError as error:
        raise CloudError(f"cannot {what}: {error}") from error


def refusal(error: ClientError) -> str:
    """Say what a refusal of AWS means and what to do."""
    code = code_of(error)
    said = str(error.response.get("Error", {}).get("Message", "")).strip()
    meaning = meaning_of(code)
    shown = f"{code}: {said}" if said else code
    return f"{meaning} ({shown})" if meaning else f"{shown} ({error.operation_name})"


def meaning_of(code: str) -> str:
    """Return what an error code of AWS means and what to do; ``""`` if that is not known."""
    return _MEANINGS.get(code, "")


def code_of(error: BaseException) -> str:
    """Return AWS's code of an error, also of one that was explained; ``""`` if it has none."""
    cause = error if isinstance(error, ClientError) else error.__cause__
    return str(cause.response.get("Error", {}).get("Code", "")) if isinstance(cause, ClientError) else ""


def is_refused(error: BaseException) -> bool:
    """Tell whether an error says that we may not do this, or not any more: asking again does not help."""
    return code_of(error) in _REFUSALS or isinstance(error.__cause__, CREDENTIAL_ERRORS)


def is_missing(error: BaseException) -> bool:
    """Tell whether an error says that what it is about does not exist."""
    code = code_of(error)
    return any(word in code for word in ("NotFound", "NoSuch", "NotExist")) or code == "404"
