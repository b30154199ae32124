"""The services of AWS in one process: moto, with signatures and IAM, a record of all calls, and faults.

It listens at GATEWAY in the network of the cloud, and on a loopback socket that it inherits
from the process of the tests; only there it takes orders (`Control`). It ends when its
standard input does.

**IAM** is decided here (identity.py, policies.py, resources.py), not by moto, which compares no
resources. Enforced: the signature (not of presigned URLs); identity policies of users, groups
and roles, inline and attached, with Effect, Action, Resource and Condition; PassRole; tags on
creation and tags of existing EC2 resources; that a role trusts EC2 or the scheduler; 403 instead
of 404 for an object of a bucket that may not be listed. Not enforced: conditions of trust
policies, policies of resources (buckets, keys), permission boundaries, SCPs, policy variables,
KMS, session expiry, security groups, ``aws:ResourceTag`` outside EC2, the service-linked roles
of spot and fleets. What a call needs is written down from AWS's reference, not tried on AWS.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import socket
import sys
import threading
import traceback
from collections.abc import Iterable
from pathlib import Path
from typing import Any

os.environ.setdefault("MOTO_IAM_LOAD_MANAGED_POLICIES", "true")  # before moto is imported

from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from werkzeug.serving import make_server

from tests.ec2 import calls, identity, moto_fixes
from tests.ec2.calls import Call
from tests.ec2.faults import Faults, Order, error_of, kill_client, shortage_of
from tests.ec2.hypervisor import Hypervisor
from tests.ec2.identity import Principal, Refused
from tests.ec2.network import GATEWAY
from tests.ec2.resources import needs

PORT = 5000
CONTROL = "/_harness"
REGION = "us-east-1"
ADMINISTRATOR = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}

Answer = tuple[str, list[tuple[str, str]], bytes]


class Gate:
    """WSGI middleware: who is it, may he, what shall go wrong; then moto; and a line in the record."""

    def __init__(self, record: Path, faults: Faults, lock: threading.RLock) -> None:
        self._app = DomainDispatcherApplication(_propagating_app)
        self._faults = faults
        self._lock = lock
        self._record = record.open("a", buffering=1)
        self._record_lock = threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        body = _read(environ)
        call = calls.parse(environ, body)
        line: dict[str, Any] = {
            "time": call.time,
            "principal": None,
            "service": call.service,
            "action": call.action,
            "region": call.region,
            "address": call.address,
            "params": call.params,
        }
        try:
            principal = identity.principal_of(call)
            line |= {"principal": principal.name, "arn": principal.arn}
            status, headers, content = self._answer(call, principal, environ, body, line)
        except Refused as refused:
            line["error"] = refused.code
            status, headers, content = calls.refusal(call, refused.code, refused.message, refused.status)
        except Exception as error:  # of the harness or of moto; 400, as 500 would be tried again
            traceback.print_exc()
            line["error"] = "HarnessError"
            said = f"{type(error).__name__}: {error} (see the server's log)"
            status, headers, content = calls.refusal(call, "HarnessError", said, 400)
        line["status"] = int(status.split()[0])
        with self._record_lock:
            print(json.dumps(line, default=str), file=self._record)
        start_response(status, headers)
        return [content]

    def _answer(
        self, call: Call, principal: Principal, environ: dict[str, Any], body: bytes, line: dict[str, Any]
    ) -> Answer:
        identity.check_signature(call, principal, environ, body)
        line["needs"] = [need.action for need in needs(call)]
        identity.authorize(call, principal)
        orders = self._faults.take(call, principal.name)
        for order in orders:
            line["fault"] = order.kind
            if order.kind in ("refuse", "throttle"):
                code, message, status = error_of(order, call)
                raise Refused(code, message, status)
        self._act(orders, "before", call, line)
        moto_fixes.SETTINGS.request.shortage = shortage_of(orders)
        # moto is not made for threads; only S3's large bodies are worth it.
        with contextlib.nullcontext() if call.service == "s3" else self._lock:
            answer = self._moto(environ, body)
        moto_fixes.SETTINGS.request.shortage = None
        self._act(orders, "after", call, line)
        if any(order.kind == "lose" for order in orders):
            environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
        missing = answer[0].startswith("404") and call.action in ("GetObject", "HeadObject")
        if missing and not identity.may_list(call, principal):
            raise Refused("AccessDenied", "Access Denied")
        return answer

    def _act(self, orders: list[Order], when: str, call: Call, line: dict[str, Any]) -> None:
        """Kill the client, or let it wait."""
        for order in orders:
            if order.kind == "kill" and order.when == when:
                line["killed"] = kill_client(call, PORT)
                if when == "before":
                    raise Refused("Killed", "the client is dead, the call was not carried out", 500)
            elif order.kind == "delay" and when == "before":
                threading.Event().wait(order.seconds)

    def _moto(self, environ: dict[str, Any], body: bytes) -> Answer:
        started: list[Any] = []

        def start(status: str, headers: list[tuple[str, str]], _: Any = None) -> None:
            started.extend([status, headers])

        answer = self._app(environ | {"wsgi.input": io.BytesIO(body)}, start)
        try:
            content = b"".join(answer)
        finally:
            if hasattr(answer, "close"):
                answer.close()
        return started[0], started[1], content


def _propagating_app(service: Any) -> Any:
    """Make moto's application of a service, whose exceptions reach us."""
    app = create_backend_app(service)
    app.config["PROPAGATE_EXCEPTIONS"] = True
    return app


def _read(environ: dict[str, Any]) -> bytes:
    length = environ.get("CONTENT_LENGTH")
    stream = environ["wsgi.input"]
    if length:
        return bytes(stream.read(int(length)))
    body = bytes(stream.read()) if environ.get("wsgi.input_terminated") else b""
    environ.pop("HTTP_TRANSFER_ENCODING", None)
    environ["CONTENT_LENGTH"] = str(len(body))
    return body


class Control:
    """Takes orders of the tests: POST of JSON with ``do`` and arguments; and lets all else through."""

    def __init__(self, gate: Gate, faults: Faults, hypervisor: Hypervisor, lock: threading.RLock) -> None:
        self._gate = gate
        self._faults = faults
        self._hypervisor = hypervisor
        self._lock = lock

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if environ["PATH_INFO"] != CONTROL:
            return self._gate(environ, start_response)
        order = json.loads(_read(environ))
        try:
            status, answer = "200 OK", getattr(self, f"do_{order.pop('do')}")(**order)
        except Exception as error:
            status, answer = "400 Error", f"{type(error).__name__}: {error}"
        start_response(status, [("Content-Type", "application/json")])
        return [json.dumps(answer).encode()]

    def do_user(self, name: str, policy: dict[str, Any]) -> dict[str, str]:
        with self._lock:
            return identity.create_user(name, policy)

    def do_fault(self, **order: Any) -> None:
        self._faults.order(**order)

    def do_clear_faults(self) -> int:
        return self._faults.clear()

    def do_quota(self, code: str, value: float) -> None:
        moto_fixes.SETTINGS.quotas[code] = value

    def do_spot_price(self, dollars: float) -> None:
        moto_fixes.SETTINGS.spot_price = dollars

    def do_hide_new(self, seconds: float) -> None:
        moto_fixes.SETTINGS.hide_new = seconds

    def do_machines(self) -> dict[str, Any]:
        return self._hypervisor.describe()

    def do_power_cut(self, instance: str) -> None:
        self._hypervisor.power_cut(instance)

    def do_notice(self, instance: str, seconds: float, terminate_after: float | None) -> None:
        self._hypervisor.notice(instance, seconds, terminate_after)

    def do_timers(self, work: bool) -> None:
        self._hypervisor.set_timers(work)


def main(folder: Path, descriptor: int) -> None:
    """Serve until standard input ends."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    moto_fixes.apply()
    lock = threading.RLock()
    faults = Faults()
    endpoint = f"http://{GATEWAY}:{PORT}"
    hypervisor = Hypervisor(folder, endpoint, REGION, lock)

    def console(instance_id: str) -> Path | None:
        machine = hypervisor.machines.get(instance_id)
        return machine.console if machine else None

    moto_fixes.SETTINGS.console = console
    gate = Gate(folder / "calls.jsonl", faults, lock)
    control = Control(gate, faults, hypervisor, lock)
    keys = identity.create_user("admin", ADMINISTRATOR)
    listeners = (
        make_server(GATEWAY, PORT, gate, threaded=True, request_handler=MotoRequestHandler),
        make_server(
            "127.0.0.1", 0, control, threaded=True, request_handler=MotoRequestHandler, fd=descriptor
        ),
    )
    for work in (*(listener.serve_forever for listener in listeners), hypervisor.run):
        threading.Thread(target=work, daemon=True).start()
    print(json.dumps(keys), flush=True)
    sys.stdin.buffer.read()
    for machine in list(hypervisor.machines.values()):
        machine.stop()
    os._exit(0)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
