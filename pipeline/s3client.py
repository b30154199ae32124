"""The few S3 operations that `pipeline.objects` needs, and what their failures mean.

Import this only where S3 is used: boto3 takes about 0.3 s.
"""

from __future__ import annotations

import base64
import hashlib
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    HTTPClientError,
    LoginError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
    ProfileNotFound,
    SSOError,
    TokenRetrievalError,
)
from botocore.exceptions import ConnectionError as BotoConnectionError
from botocore.parsers import ResponseParserError

from isr.errors import ObjectError

__all__ = ["S3Client", "connect"]

log = logging.getLogger(__name__)

ATTEMPTS = 5  # of one request, by the SDK; AWS_MAX_ATTEMPTS changes it
BODY_ATTEMPTS = 3  # of a download that breaks off, which the SDK does not repeat
CONFLICT_ATTEMPTS = 5  # of a PUT refused because another conditional PUT was under way
CONNECT_TIMEOUT = 10.0  # seconds
READ_TIMEOUT = 60.0  # seconds without a byte

CREDENTIAL_ERRORS = (
    CredentialRetrievalError,
    LoginError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
    SSOError,
    TokenRetrievalError,
)

KEYS = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
# What the server's answers mean and what to do. HEAD has no body, so only its status tells.
MEANINGS = {
    "NoSuchBucket": "the bucket does not exist there. Check its name, and AWS_ENDPOINT_URL.",
    "NoSuchKey": "no such object. Check the name.",
    "InvalidAccessKeyId": f"the access key id is not known there. Check {KEYS}, and AWS_ENDPOINT_URL.",
    "SignatureDoesNotMatch": f"the secret key does not fit the access key id. Check {KEYS}.",
    "AccessDenied": (
        "access denied (or no such object, if these credentials may not list the bucket). "
        f"Check {KEYS}, and the permissions of that user or role."
    ),
    "403": f"access denied, or wrong credentials. Check {KEYS}, and the permissions of that user or role.",
    "ExpiredToken": "the session token has expired. Log in again.",
    "InvalidToken": "the session token is not valid. Log in again, or unset AWS_SESSION_TOKEN.",
    "RequestTimeTooSkewed": "the clock of this machine is wrong.",
    "NotImplemented": "the server cannot write only if nothing is there yet. Use --overwrite.",
    "ConditionalRequestConflict": "other writers keep writing the same object. Try again later.",
    "OperationAborted": "other writers keep writing the same object. Try again later.",
}


def connect() -> S3Client:
    """Return the client of this process for what the environment says now.

    It is made once for each process (a fork must not share connections) and
    environment (endpoint, credentials, profile, region).
    """
    environment = frozenset(
        (k, v) for k, v in os.environ.items() if k.startswith("AWS_") or k == "S3_ENDPOINT_URL"
    )
    return _connect(os.getpid(), environment)


@lru_cache(maxsize=8)
def _connect(_pid: int, _environment: frozenset[tuple[str, str]]) -> S3Client:
    retries: dict[str, Any] = {"mode": "standard"}
    if "AWS_MAX_ATTEMPTS" not in os.environ:
        retries["total_max_attempts"] = ATTEMPTS
    config = Config(retries=retries, connect_timeout=CONNECT_TIMEOUT, read_timeout=READ_TIMEOUT)
    aws_endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    endpoint = None if aws_endpoint else os.environ.get("S3_ENDPOINT_URL")  # None: as the SDK finds it
    try:
        # A session of our own: boto3's default one is not safe under threads.
        return S3Client(boto3.session.Session().client("s3", config=config, endpoint_url=endpoint))
    except CREDENTIAL_ERRORS as error:
        raise ObjectError(f"S3: no usable credentials ({type(error).__name__}). Set {KEYS}.") from None
    except ValueError:  # its text would show a password in the address
        raise ObjectError(
            "S3: the endpoint is not an address such as https://host:port. Check AWS_ENDPOINT_URL."
        ) from None
    except BotoCoreError as error:
        raise ObjectError(f"S3 cannot be set up: {error} Check the AWS_... variables and files.") from None


class S3Client:
    """S3 for whole objects, with errors that say what to do.

    Repeating a request is left to the SDK ("standard" mode: connection errors,
    timeouts, throttling, 5xx). Two cases that it does not cover are added
    here: a download that breaks off after its header, and a conditional PUT
    that met another one (409).

    Parameters
    ----------
    client : `botocore.client.BaseClient`
        boto3's S3 client.
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        url = urlsplit(client.meta.endpoint_url)
        self.endpoint = f"{url.scheme}://{url.netloc.rpartition('@')[2]}"  # without any user:password@

    def get(self, uri: str) -> bytes:
        """Return the bytes of an object; the SDK checks their number and, where known, their checksum."""
        bucket, key = _bucket_and_key(uri)
        with self._explained("read", uri):
            data = self._download(bucket, key)
        return data

    def exists(self, uri: str) -> bool:
        """Tell whether an object exists."""
        bucket, key = _bucket_and_key(uri)
        with self._explained("look for", uri):
            try:
                self._ask("head_object", Bucket=bucket, Key=key)
            except ClientError as error:
                if _status(error) == 404:
                    return False
                raise
        return True

    def check_bucket(self, uri: str) -> None:
        """Check endpoint, credentials and bucket by listing one name."""
        bucket, prefix = _split(uri)
        with self._explained("write to", uri):
            try:
                self._ask("list_objects_v2", Bucket=bucket, Prefix=prefix, MaxKeys=1)
            except ClientError as error:
                if error.response["Error"]["Code"] != "AccessDenied":
                    raise
                # Credentials may well be allowed to write but not to list.
                log.warning(
                    "%s may not be listed: whether it can be written will show at the first write", uri
                )

    def put(self, uri: str, data: bytes, *, overwrite: bool) -> None:
        """Write an object in one request that carries its SHA-256, which the server verifies.

        Unless ``overwrite``, the request is conditional (``If-None-Match: *``).
        If the answer to a successful attempt is lost, the SDK's next attempt
        meets our own object and is refused (412). So a 412 that came after a
        repetition counts as success if what is there equals ``data``; a 412 at
        the first attempt is always an error.
        """
        bucket, key = _bucket_and_key(uri)
        checksum = base64.b64encode(hashlib.sha256(data).digest()).decode()
        condition = {} if overwrite else {"IfNoneMatch": "*"}
        repeated = False
        with self._explained("write", uri):
            for attempt in range(CONFLICT_ATTEMPTS):
                try:
                    self._ask(
                        "put_object", Bucket=bucket, Key=key, Body=data, ChecksumSHA256=checksum, **condition
                    )
                except ClientError as error:
                    repeated |= error.response["ResponseMetadata"].get("RetryAttempts", 0) > 0
                    if _status(error) == 412:
                        if repeated and self._holds(bucket, key, data, checksum):
                            log.info("%s was written by an attempt whose answer was lost", uri)
                            return
                        raise ObjectError(
                            f"{uri} exists already (endpoint {self.endpoint}). "
                            "Use --overwrite, or another output."
                        ) from None
                    if _status(error) != 409 or attempt == CONFLICT_ATTEMPTS - 1:
                        raise
                    time.sleep(0.1 * 2**attempt)
                else:
                    return

    def _ask(self, operation: str, **request: Any) -> dict[str, Any]:
        answer: dict[str, Any] = getattr(self._client, operation)(**request)
        if "ETag" not in answer and "Name" not in answer:  # S3 tells one of them in every answer used here
            if "Body" in answer:
                answer["Body"].close()
            raise ResponseParserError("a web server or proxy answered, not S3")
        return answer

    def _download(self, bucket: str, key: str) -> bytes:
        attempt = 1
        while True:
            body = self._ask("get_object", Bucket=bucket, Key=key)["Body"]
            try:
                data: bytes = body.read()
            except BotoCoreError as error:
                body.close()
                if attempt == BODY_ATTEMPTS:
                    raise
                log.info("s3://%s/%s broke off (%s): reading it again", bucket, key, type(error).__name__)
            else:
                return data
            attempt += 1

    def _holds(self, bucket: str, key: str, data: bytes, checksum: str) -> bool:
        """Tell whether an object has this content."""
        head = self._ask("head_object", Bucket=bucket, Key=key, ChecksumMode="ENABLED")
        if head["ContentLength"] != len(data):
            return False
        if "ChecksumSHA256" in head:
            return bool(head["ChecksumSHA256"] == checksum)
        return bool(self._ask("get_object", Bucket=bucket, Key=key)["Body"].read() == data)

    @contextmanager
    def _explained(self, action: str, uri: str) -> Iterator[None]:
        """Turn the SDK's errors into `ObjectError`, without texts that may show a credential."""
        start = f"cannot {action} {uri} (endpoint {self.endpoint}): "
        try:
            yield
        except ClientError as error:
            raise ObjectError(start + _meaning(error)) from None
        except CREDENTIAL_ERRORS as error:
            raise ObjectError(f"{start}no usable credentials ({type(error).__name__}). Set {KEYS}.") from None
        except ParamValidationError:
            raise ObjectError(f"{start}not a valid name of a bucket and object.") from None
        except (BotoConnectionError, HTTPClientError) as error:
            raise ObjectError(
                f"{start}no connection, or it broke off ({type(error).__name__}). "
                "Check the network and AWS_ENDPOINT_URL."
            ) from None
        except ResponseParserError:
            raise ObjectError(f"{start}the answer is not S3's. Check AWS_ENDPOINT_URL.") from None
        except BotoCoreError as error:
            raise ObjectError(f"{start}{type(error).__name__}: {error}") from None


def _split(uri: str) -> tuple[str, str]:
    bucket, _, key = uri.partition("://")[2].partition("/")
    if not bucket:
        raise ObjectError(f"{uri}: names no bucket; expected s3://bucket/key.")
    return bucket, key


def _bucket_and_key(uri: str) -> tuple[str, str]:
    bucket, key = _split(uri)
    if not key or key.endswith("/"):
        raise ObjectError(f"{uri}: names no object; expected s3://bucket/key.")
    return bucket, key


def _status(error: ClientError) -> int:
    return int(error.response["ResponseMetadata"]["HTTPStatusCode"])


def _meaning(error: ClientError) -> str:
    code = str(error.response["Error"].get("Code", ""))
    meaning = MEANINGS.get(code)
    if meaning is None and _status(error) == 403:
        meaning = MEANINGS["403"]
    if meaning is None:
        meaning = f"the server says: {error.response['Error'].get('Message', 'nothing')}"
    return f"{meaning} [{_status(error)} {code}]"
