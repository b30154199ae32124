"""The metadata service of an EC2 instance (IMDSv2): who it is, and whether its time is up."""

from __future__ import annotations

import http.client
import threading
import time
from typing import Any

__all__ = ["INTERRUPTION", "Metadata", "MetadataError"]

INTERRUPTION = "spot/instance-action"
"""Name of the notice that a spot instance gets two minutes before EC2 takes it."""

_HOST = "169.254.169.254"
_SECONDS = 2.0
_TOKEN_SECONDS = 6 * 3600
_TRIES = 5


class MetadataError(OSError):
    """The metadata service does not answer, or not as it should."""


class Metadata:
    """Asks the service; blocks for some seconds at most, so call it in a thread.

    Parameters
    ----------
    host : `str`, optional
        Its address, perhaps with a port.
    """

    def __init__(self, host: str = _HOST) -> None:
        self._host = host
        self._token, self._token_ends = "", 0.0
        self._lock = threading.Lock()

    def get(self, name: str) -> str | None:
        """Return a value below ``/latest/meta-data``; `None` if there is none.

        Raises
        ------
        MetadataError
            If the service does not answer.
        """
        with self._lock:
            if time.monotonic() >= self._token_ends:
                self._renew_token()
            status, text = self._ask("GET", f"meta-data/{name}", {"X-aws-ec2-metadata-token": self._token})
            if status == http.client.UNAUTHORIZED:  # tokens do not survive a stop of the instance
                self._token_ends = 0.0
        if status == http.client.NOT_FOUND:
            return None
        if status != http.client.OK:
            raise MetadataError(f"the metadata service answers {status} for {name}")
        return text

    def value(self, name: str) -> str:
        """Return a value that must be there; waits a little for a service that is not yet up.

        Raises
        ------
        MetadataError
            If it is not there.
        """
        for attempt in range(_TRIES):
            try:
                if found := self.get(name):
                    return found
            except MetadataError:
                if attempt == _TRIES - 1:
                    raise
            time.sleep(0.5 * 2**attempt)
        raise MetadataError(f"the metadata service has no {name}")

    def _renew_token(self) -> None:
        headers = {"X-aws-ec2-metadata-token-ttl-seconds": str(_TOKEN_SECONDS)}
        status, text = self._ask("PUT", "api/token", headers)
        if status != http.client.OK:
            raise MetadataError(f"the metadata service gives no token ({status})")
        self._token, self._token_ends = text, time.monotonic() + _TOKEN_SECONDS / 2

    def _ask(self, method: str, name: str, headers: dict[str, str]) -> tuple[int, str]:
        connection: Any = http.client.HTTPConnection(self._host, timeout=_SECONDS)
        try:
            connection.request(method, f"/latest/{name}", headers=headers)
            answer = connection.getresponse()
            return int(answer.status), str(answer.read().decode())
        except (OSError, http.client.HTTPException, UnicodeError) as error:
            raise MetadataError(f"the metadata service does not answer: {error}") from error
        finally:
            connection.close()
