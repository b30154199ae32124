"""What AWS refuses is said in words that help."""

from __future__ import annotations

import pytest
from botocore.exceptions import (
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    NoRegionError,
    ParamValidationError,
    PartialCredentialsError,
    TokenRetrievalError,
)

from pipeline.cloud.aws import _MEANINGS, Account, code_of, explained, is_missing
from pipeline.errors import CloudError


def _refusal(code: str, message: str = "stub") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, "CreateFleet")


def _explain(error: Exception) -> CloudError:
    with pytest.raises(CloudError) as raised, explained("start the head"):
        raise error
    assert str(raised.value).startswith("cannot start the head: ")
    return raised.value


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("ExpiredToken", "the session has expired. Log in again"),
        ("ExpiredTokenException", "the session has expired"),
        ("RequestExpired", "the session has expired"),
        ("InvalidClientTokenId", "AWS does not know these credentials. Check AWS_PROFILE"),
        ("AuthFailure", "AWS does not know these credentials"),
        ("SignatureDoesNotMatch", "the secret key does not fit"),
        ("UnauthorizedOperation", "you may not do this. An administrator attaches the policy of operators"),
        ("AccessDenied", "isr-cluster setup names it"),
        ("RequestLimitExceeded", "too many requests, 6 times. Wait a minute"),
        ("ThrottlingException", "too many requests"),
        ("SlowDown", "too many requests"),
        ("InsufficientInstanceCapacity", "AWS has no machine of this type left. Name more types"),
        ("VcpuLimitExceeded", "ask for a higher quota"),
        ("MaxSpotInstanceCountExceeded", "ask for a higher quota"),
        ("InvalidAMIID.NotFound", "no such machine image in this region"),
        ("NoSuchBucket", "the bucket does not exist. Check --state"),
        ("RequestTimeTooSkewed", "the clock of this machine is wrong"),
        ("OptInRequired", "not (yet) enabled"),
    ],
)
def test_codes_become_words(code: str, words: str) -> None:
    error = _explain(_refusal(code, "as AWS says it"))
    assert words in str(error)
    assert f"({code}: as AWS says it)" in str(error)
    assert code_of(error) == code


def test_every_meaning_is_a_sentence() -> None:
    assert all(text.endswith((".", ")")) and text[0] != " " for text in _MEANINGS.values())


def test_unknown_codes_are_shown_as_they_are() -> None:
    assert str(_explain(_refusal("Odd", "text"))) == "cannot start the head: Odd: text (CreateFleet)"
    assert str(_explain(_refusal("Odd", ""))) == "cannot start the head: Odd (CreateFleet)"
    assert "cannot start the head: " in str(_explain(ClientError({}, "CreateFleet")))


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (NoCredentialsError(), "no usable AWS credentials (NoCredentialsError). Set AWS_PROFILE"),
        (PartialCredentialsError(provider="env", cred_var="x"), "no usable AWS credentials"),
        (TokenRetrievalError(provider="sso", error_msg="expired"), "aws sso login"),
        (NoRegionError(), "no AWS region is chosen. Name it: --region us-west-2"),
        (EndpointConnectionError(endpoint_url="https://x"), "AWS cannot be reached"),
        (ConnectTimeoutError(endpoint_url="https://x"), "Check the network and AWS_ENDPOINT_URL"),
        (ParamValidationError(report="odd"), "odd"),
    ],
)
def test_what_the_sdk_refuses(error: Exception, words: str) -> None:
    found = _explain(error)
    assert words in str(found)
    assert found.__cause__ is error
    assert code_of(found) == ""


def test_our_own_mistakes_are_not_explained() -> None:
    with pytest.raises(KeyError), explained("start"):
        raise KeyError


@pytest.mark.parametrize("code", ["404", "NoSuchKey", "InvalidFleetId.NotFound", "ResourceNotFoundException"])
def test_what_is_missing(code: str) -> None:
    assert is_missing(_refusal(code))
    assert is_missing(_explain(_refusal(code)))
    assert not is_missing(_refusal("AccessDenied"))
    assert not is_missing(ValueError(code))


def test_region_and_profile(no_aws: None, monkeypatch) -> None:
    with pytest.raises(CloudError, match=r"No AWS region is chosen\. Name it: --region"):
        Account()
    assert Account("eu-west-1").region == "eu-west-1"
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-west-2")
    assert Account().region == "us-west-2"
    monkeypatch.setenv("AWS_PROFILE", "missing")
    with pytest.raises(CloudError, match=r"profile \(missing\) could not be found\. Check AWS_PROFILE"):
        Account()


def test_without_credentials_nothing_is_sent(no_aws: None) -> None:
    with pytest.raises(CloudError, match="cannot ask AWS who you are: no usable AWS credentials"):
        _ = Account("us-west-2").owner


def test_clients_are_kept_and_retry(no_aws: None, monkeypatch) -> None:
    account = Account("us-west-2")
    assert account.client("sts") is account.client("sts")
    assert account.client("sts").meta.config.retries == {"mode": "standard", "total_max_attempts": 6}
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
    assert account.client("sqs").meta.config.retries["total_max_attempts"] == 2


@pytest.mark.parametrize("partition", ["aws", "aws-cn", "aws-us-gov"])
def test_the_partition_is_that_of_the_identity(no_aws: None, partition: str) -> None:
    account = Account("us-west-2")
    account.identity = {"Account": "123456789012", "Arn": f"arn:{partition}:iam::123456789012:user/me"}
    assert account.partition == partition
    assert account.owner.endswith("user/me")
