"""What a request to AWS asks for, read with the service models of botocore; and answers that refuse it."""

from __future__ import annotations

import contextlib
import io
import json
import time
import uuid
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

from moto.core.parse import PROTOCOL_PARSERS
from moto.core.request import determine_request_protocol
from moto.core.routing import get_service_router
from moto.core.utils import get_service_model
from moto.moto_server.werkzeug_app import BackendRequest

MODELS = {
    "servicequotas": "service-quotas",
    "tagging": "resourcegroupstaggingapi",
    "monitoring": "cloudwatch",
}
"""Models whose names are not those that stand in signatures."""


@dataclass
class Call:
    """One request."""

    service: str
    action: str
    params: dict[str, Any]
    region: str
    access_key: str
    token: str
    address: str
    port: int
    protocol: str
    method: str
    time: float = field(default_factory=time.time)


def _credential(environ: dict[str, Any]) -> list[str]:
    """Return key id, date, region, service of a signature in the header or in the query."""
    header = environ.get("HTTP_AUTHORIZATION", "")
    if "Credential=" in header:
        return str(header).partition("Credential=")[2].partition(",")[0].split("/")
    query = parse_qs(environ.get("QUERY_STRING", ""))
    if "X-Amz-Credential" in query:
        return query["X-Amz-Credential"][0].split("/")
    return ["", "", "us-east-1", "s3"]


def parse(environ: dict[str, Any], body: bytes) -> Call:
    """Read a request. ``action`` is empty if there is no such operation."""
    key, _, region, service = (*_credential(environ), "", "", "", "")[:4]
    query = parse_qs(environ.get("QUERY_STRING", ""))
    token = environ.get("HTTP_X_AMZ_SECURITY_TOKEN") or query.get("X-Amz-Security-Token", [""])[0]
    call = Call(
        service=service,
        action="",
        params={},
        region=region,
        access_key=key,
        token=token,
        address=environ.get("REMOTE_ADDR", ""),
        port=int(environ.get("REMOTE_PORT") or 0),
        protocol="",
        method=environ["REQUEST_METHOD"],
    )
    name = MODELS.get(service, service)
    model = get_service_model(name)
    is_object = service == "s3" and call.method == "PUT"
    request = BackendRequest(environ | {"wsgi.input": io.BytesIO(body)})
    call.protocol = determine_request_protocol(model, request.content_type)
    uri: dict[str, Any] = {}
    if target := environ.get("HTTP_X_AMZ_TARGET"):
        call.action = target.rpartition(".")[2]
    elif call.protocol in ("ec2", "query"):
        call.action = request.values.get("Action", "")
    else:
        with contextlib.suppress(Exception):  # no such operation
            operation, uri = get_service_router(name).match(request)
            call.action = operation.name
    if call.action not in model.operation_names:
        return call
    parser = PROTOCOL_PARSERS[call.protocol](model.operation_model(call.action), map_type=dict)
    try:
        call.params = dict(
            parser.parse(
                {
                    "method": call.method,
                    "values": request.values,
                    "headers": request.headers,
                    "body": b"" if is_object else body,
                    "url_path": request.path,
                    "url_params": uri,
                }
            )
        )
    except Exception:  # moto itself reads it in another way, and may understand it
        call.params = dict(uri)
    call.params.pop("Body", None)
    return call


def refusal(call: Call, code: str, message: str, status: int) -> tuple[str, list[tuple[str, str]], bytes]:
    """Return status, headers and body of an error as this service says it."""
    request_id = str(uuid.uuid4())
    error = f"<Code>{escape(code)}</Code><Message>{escape(message)}</Message>"
    kind = "text/xml"
    if call.protocol == "ec2":
        text = (
            f"<Response><Errors><Error>{error}</Error></Errors><RequestID>{request_id}</RequestID></Response>"
        )
    elif call.protocol == "query":
        text = (
            f"<ErrorResponse><Error><Type>Sender</Type>{error}</Error>"
            f"<RequestId>{request_id}</RequestId></ErrorResponse>"
        )
    elif call.protocol == "rest-xml":
        text = f"<Error>{error}<RequestId>{request_id}</RequestId></Error>"
        kind = "application/xml"
    else:
        text = json.dumps({"__type": code, "message": message, "Message": message})
        kind = "application/json" if call.protocol == "rest-json" else "application/x-amz-json-1.1"
    body = b"" if call.method == "HEAD" else text.encode()
    headers = [
        ("Content-Type", kind),
        ("Content-Length", str(len(body))),
        ("x-amzn-RequestId", request_id),
        ("x-amzn-ErrorType", code),
    ]
    return f"{status} {'OK' if status < 400 else 'Error'}", headers, body
