"""A proxy before the S3 server that lets requests fail, as often as a seed says."""

from __future__ import annotations

import contextlib
import http.client
import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_BODY = (
    b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>"
)
_SLOW_SECONDS = 1.0


@dataclass(frozen=True)
class Trouble:
    """What happens to requests.

    Attributes
    ----------
    shares : `dict` [`str`, `float`]
        Part of the requests that meet ``503``, ``cut`` (the connection, before
        anything is done), ``cut-answer`` (within the answer) or ``slow``.
    is_away : `bool`
        Nobody answers.
    seed : `int`
        Of the choice.
    """

    shares: dict[str, float] = field(default_factory=dict)
    is_away: bool = False
    seed: int = 0


class Proxy:
    """Passes on what it is sent, from a port of its own.

    Attributes
    ----------
    endpoint : `str`
        ``http://127.0.0.1:PORT``.
    met : `~collections.Counter`
        How many requests met each kind of trouble; ``""`` none.
    traffic : `~collections.Counter`
        Requests by method, and the bytes of whole objects: ``bytes received``, ``bytes sent``.
    """

    def __init__(self, target: str) -> None:
        self.target = target.removeprefix("http://")
        self.met: Counter[str] = Counter()
        self.traffic: Counter[str] = Counter()
        self._trouble, self._chooser, self._lock = Trouble(), random.Random(0), threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"proxy": self}))
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def set(self, trouble: Trouble) -> None:
        """Make trouble from now on."""
        with self._lock:
            self._trouble, self._chooser, self.met = trouble, random.Random(trouble.seed), Counter()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()

    def choose(self) -> str:
        """Choose what a request meets."""
        with self._lock:
            kinds, shares = [*self._trouble.shares, ""], [*self._trouble.shares.values()]
            kind = self._chooser.choices(kinds, [*shares, 1.0 - sum(shares)])[0]
            kind = "away" if self._trouble.is_away else kind
            self.met[kind] += 1
            return kind

    def count(self, method: str, path: str, *, sent: int, received: int) -> None:
        """Count a request that was answered; the sizes of listings say nothing."""
        with self._lock:
            self.traffic[method] += 1
            if "?" not in path:
                self.traffic["bytes sent"] += sent
                self.traffic["bytes received"] += received


class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    proxy: Proxy
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _serve(self) -> None:
        """Pass on a request and its answer, or not."""
        kind = self.proxy.choose()
        if kind in ("away", "cut"):
            self.close_connection = True
            return
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if kind == "503":
            self._answer(503, "Slow Down", [("Content-Length", str(len(_BODY)))], _BODY)
            return
        if kind == "slow":
            time.sleep(_SLOW_SECONDS)
        connection = http.client.HTTPConnection(self.proxy.target, timeout=60)
        try:
            with contextlib.suppress(OSError, http.client.HTTPException):
                self._pass_on(connection, body, is_cut=kind == "cut-answer")
                return
            self.close_connection = True  # the server is away
        finally:
            connection.close()

    def _pass_on(self, connection: http.client.HTTPConnection, body: bytes, *, is_cut: bool) -> None:
        connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() != "expect":
                connection.putheader(name, value)
        connection.endheaders(body)
        answer = connection.getresponse()
        content = answer.read()
        self.proxy.count(self.command, self.path, sent=len(body), received=len(content))
        headers = [(name, value) for name, value in answer.getheaders() if name.lower() not in _OF_A_HOP]
        if answer.getheader("Content-Length") is None and self.command != "HEAD":
            headers.append(("Content-Length", str(len(content))))
        if is_cut:
            content, self.close_connection = content[: len(content) // 2], True
            if not content:
                return  # not even a status
        self._answer(answer.status, answer.reason, headers, content)

    def _answer(self, status: int, reason: str, headers: list[tuple[str, str]], content: bytes) -> None:
        self.send_response_only(status, reason)
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _serve


_OF_A_HOP = ("connection", "transfer-encoding", "keep-alive")
