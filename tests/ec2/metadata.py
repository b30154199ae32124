"""The instance metadata service, version 2 only: ``http://169.254.169.254`` of one instance."""

from __future__ import annotations

import json
import secrets
import socket
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ADDRESS = ("169.254.169.254", 80)
TOKEN = "/latest/api/token"
DATA = "/latest/meta-data/"


class Metadata:
    """Answers the requests of one instance.

    Parameters
    ----------
    listener
        A socket in the namespace of the instance.
    facts
        Paths below ``meta-data`` and what stands there.
    profile
        ARN of the instance profile, name of its role and a function that returns credentials;
        `None` without a profile.
    """

    def __init__(
        self,
        listener: socket.socket,
        facts: dict[str, str],
        profile: tuple[str, str, Callable[[], dict[str, Any] | None]] | None,
    ) -> None:
        self.facts = facts
        self._profile = profile
        self._tokens: dict[str, float] = {}
        self._credentials: dict[str, Any] | None = None
        self._lock = threading.Lock()
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *args: Any) -> None:
                pass

            def do_PUT(self) -> None:
                self._send(*owner.token(self.path, self.headers.get("X-aws-ec2-metadata-token-ttl-seconds")))

            def do_GET(self) -> None:
                self._send(*owner.answer(self.path, self.headers.get("X-aws-ec2-metadata-token")))

            def _send(self, status: int, text: str) -> None:
                body = text.encode()
                self.send_response(status)
                self.send_header("Content-Type", "text/plain")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        self._server = ThreadingHTTPServer(ADDRESS, Handler, bind_and_activate=False)
        self._server.socket.close()
        self._server.socket = listener
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Stop; the socket would keep the namespace."""
        self._server.shutdown()
        self._server.server_close()

    def token(self, path: str, lifetime: str | None) -> tuple[int, str]:
        """Give a session token."""
        if path != TOKEN or not (lifetime or "").isdigit():
            return 400, ""
        made = secrets.token_urlsafe(24)
        self._tokens[made] = time.time() + int(lifetime or 0)
        return 200, made

    def answer(self, path: str, token: str | None) -> tuple[int, str]:
        """Answer a question with a token."""
        if self._tokens.get(token or "", 0) < time.time():
            return 401, "Unauthorized"
        path = path.partition("?")[0]
        if path == "/latest/dynamic/instance-identity/document":
            names = {"instanceId": "instance-id", "region": "placement/region", "privateIp": "local-ipv4"}
            return 200, json.dumps({key: self.facts[name] for key, name in names.items()})
        name = path.removeprefix(DATA)
        if not path.startswith(DATA):
            return 404, ""
        if name.startswith("iam/"):
            return self._iam(name.rstrip("/"))
        return (200, self.facts[name]) if name in self.facts else (404, "")

    def _iam(self, name: str) -> tuple[int, str]:
        if self._profile is None:
            return 404, ""
        arn, role, get = self._profile
        now = datetime.now(UTC)
        updated = now.strftime("%Y-%m-%dT%H:%M:%SZ")
        if name == "iam/info":
            return 200, json.dumps({"Code": "Success", "LastUpdated": updated, "InstanceProfileArn": arn})
        if name == "iam/security-credentials":
            return 200, role
        if name != f"iam/security-credentials/{role}":
            return 404, ""
        with self._lock:
            self._credentials = self._credentials or get()
        if self._credentials is None:
            said = {"Code": "AssumeRoleUnauthorizedAccess", "Message": "EC2 cannot assume the role"}
            return 200, json.dumps(said | {"LastUpdated": updated})
        return 200, json.dumps(
            {
                "Code": "Success",
                "LastUpdated": updated,
                "Type": "AWS-HMAC",
                "AccessKeyId": self._credentials["id"],
                "SecretAccessKey": self._credentials["secret"],
                "Token": self._credentials["token"],
                "Expiration": (now + timedelta(hours=6)).strftime("%Y-%m-%dT%H:%M:%SZ"),
            }
        )
