"""Small objects of clusters in the place: read, written on condition, listed, removed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from botocore.exceptions import ClientError

from pipeline.cloud.aws import Account, explained
from pipeline.cloud.names import Place
from pipeline.errors import CloudError

__all__ = ["Store"]

_BATCH = 1000  # keys of one request
_NOT_FOUND, _CONFLICT, _PRECONDITION_FAILED = 404, 409, 412


class Store:
    """The objects of one cluster; keys are relative to ``PLACE/clusters/NAME/``.

    Parameters
    ----------
    account : `~pipeline.cloud.aws.Account`
        Whose S3.
    place : `~pipeline.cloud.names.Place`
        Where.
    name : `str`
        Name of the cluster.
    """

    def __init__(self, account: Account, place: Place, name: str) -> None:
        self._s3, self._bucket = account.client("s3"), place.bucket
        self._prefix = place.cluster(name)

    def uri(self, key: str = "") -> str:
        """Return where an object is."""
        return f"s3://{self._bucket}/{self._prefix}{key}"

    def read(self, key: str) -> tuple[bytes, str] | None:
        """Return the bytes of an object and its ETag; `None` if it does not exist."""
        with explained(f"read {self.uri(key)}"):
            try:
                answer = self._s3.get_object(Bucket=self._bucket, Key=self._prefix + key)
                return answer["Body"].read(), answer["ETag"]
            except ClientError as error:
                if _status(error) == _NOT_FOUND and error.response["Error"]["Code"] != "NoSuchBucket":
                    return None
                raise

    def read_json(self, key: str) -> dict[str, Any] | None:
        """Return a JSON object; `None` if it does not exist.

        Raises
        ------
        CloudError
            If it is none.
        """
        found = self.read(key)
        return None if found is None else self.parse(key, found[0])

    def parse(self, key: str, content: bytes) -> dict[str, Any]:
        """Return the JSON object that was read.

        Raises
        ------
        CloudError
            If it is none.
        """
        try:
            document = json.loads(content)
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise CloudError(f"{self.uri(key)} is not a JSON object; was it written by something else?")
        return document

    def write(self, key: str, content: bytes | dict[str, Any], *, etag: str | None = None) -> str | None:
        """Write an object, as a whole.

        Parameters
        ----------
        key : `str`
            Its name.
        content : `bytes` or `dict`
            A `dict` is written as JSON.
        etag : `str`, optional
            Write only if this is the ETag of what is there; ``""``: only if nothing is.

        Returns
        -------
        etag : `str` or `None`
            The new ETag; `None` if the condition was not met.
        """
        body = content if isinstance(content, bytes) else json.dumps(content, indent=1).encode()
        condition = {} if etag is None else {"IfMatch": etag} if etag else {"IfNoneMatch": "*"}
        with explained(f"write {self.uri(key)}"):
            try:
                answer = self._s3.put_object(
                    Bucket=self._bucket, Key=self._prefix + key, Body=body, **condition
                )
            except ClientError as error:
                gone = (
                    etag and _status(error) == _NOT_FOUND and error.response["Error"]["Code"] == "NoSuchKey"
                )
                if condition and (_status(error) in (_CONFLICT, _PRECONDITION_FAILED) or gone):
                    return None
                raise
        return str(answer["ETag"])

    def list(self, prefix: str = "", *, after: str = "") -> Iterator[str]:
        """Yield the keys that begin with something, sorted; only those after another if it is given."""
        start = {"StartAfter": self._prefix + after} if after else {}
        with explained(f"list {self.uri(prefix)}"):
            pages = self._s3.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=self._prefix + prefix, **start
            )
            for page in pages:
                for found in page.get("Contents", ()):
                    yield found["Key"].removeprefix(self._prefix)

    def remove(self, prefix: str = "") -> int:
        """Remove the objects whose keys begin with something; return their number."""
        keys = list(self.list(prefix))
        for begin in range(0, len(keys), _BATCH):
            batch = [{"Key": self._prefix + key} for key in keys[begin : begin + _BATCH]]
            with explained(f"remove {self.uri(prefix)}"):
                answer = self._s3.delete_objects(
                    Bucket=self._bucket, Delete={"Objects": batch, "Quiet": True}
                )
            if errors := answer.get("Errors"):
                raise CloudError(f"cannot remove {self.uri(prefix)}: {errors[0]}")
        return len(keys)


def _status(error: ClientError) -> int:
    return int(error.response["ResponseMetadata"]["HTTPStatusCode"])
