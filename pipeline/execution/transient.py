"""Which errors are the machines', so that another try may succeed."""

from __future__ import annotations

import errno
from collections.abc import Iterator

__all__ = ["is_transient"]

_ERRNOS = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.ENOMEM, errno.EMFILE, errno.ENFILE),
    *(errno.ETIMEDOUT, errno.ECONNRESET, errno.ECONNREFUSED, errno.ECONNABORTED, errno.EPIPE),
    *(errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN, errno.EHOSTDOWN, errno.EBUSY),
}
"""Full disks, servers and networks that are away: another worker, or another time, may do better."""

_S3_CODES = {"SlowDown", "ServiceUnavailable", "InternalError", "RequestTimeout", "Throttling"}
_S3_ERRORS = {
    *("EndpointConnectionError", "ConnectTimeoutError", "ReadTimeoutError", "ConnectionClosedError"),
    *("IncompleteReadError", "ResponseStreamingError", "HTTPClientError", "ProxyConnectionError"),
}
_SERVER_ERROR = 500
_TOO_MANY_REQUESTS = 429


def is_transient(error: BaseException) -> bool:
    """Tell whether an error came from a machine, a disk or a network, and not from the task or its data.

    Parameters
    ----------
    error : `BaseException`
        What was raised; its causes are looked at, too.
    """
    causes = list(_causes(error))
    if any(type(cause).__name__ == "RepeatableQuantumError" for cause in causes):
        return False  # the task says so
    return any(_is_machines(cause) for cause in causes)


def _is_machines(error: BaseException) -> bool:
    if isinstance(error, MemoryError | TimeoutError | ConnectionError):
        return True
    if isinstance(error, OSError):
        return error.errno in _ERRNOS
    package, name = type(error).__module__.partition(".")[0], type(error).__name__
    if package not in ("botocore", "boto3", "urllib3", "s3transfer"):
        return False
    if isinstance(response := getattr(error, "response", None), dict):
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        code = response.get("Error", {}).get("Code")
        return code in _S3_CODES or status >= _SERVER_ERROR or status == _TOO_MANY_REQUESTS
    return name in _S3_ERRORS or package == "urllib3"


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what it was raised from."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or current.__context__
