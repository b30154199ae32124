"""S3 over a bad network: a proxy before the real server loses, cuts and refuses."""

from __future__ import annotations

import http.client
from collections import defaultdict
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from isr.errors import ObjectError
from pipeline import objects
from tests.s3server import S3Server

CONFLICT = b"<Error><Code>ConditionalRequestConflict</Code><Message>again</Message></Error>"


class Proxy(ThreadingHTTPServer):
    """Passes requests on; the next fault in ``faults[METHOD]`` happens to the next such request.

    ``"lost"``: done, but the connection closes without an answer. ``"cut"``:
    half of the answer's body. ``"conflict"``: 409, not done. ``"busy"``: 503,
    not done. ``"<html..."``: 200 and this page, not done.
    """

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.behind = port
        self.faults: dict[str, list[str]] = defaultdict(list)
        self.seen: list[str] = []

    def handle_error(self, request: object, client_address: object) -> None:
        """Stay quiet when a client hangs up on us, as it does after a cut."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Proxy

    def handle_any(self) -> None:
        self.server.seen.append(self.command)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        faults = self.server.faults[self.command]
        fault = faults.pop(0) if faults else ""
        if fault.startswith("<html"):
            self.reply(200, {"Content-Type": "text/html"}, fault.encode())
        elif fault == "conflict":
            self.reply(409, {}, CONFLICT)
        elif fault == "busy":
            self.reply(503, {}, b"")
        else:
            status, headers, answer = self.ask_server(body)
            if fault == "lost":
                self.close_connection = True
            elif fault == "cut":
                self.reply(status, headers, answer, send=len(answer) // 2)
                self.close_connection = True
            else:
                self.reply(status, headers, answer)

    do_GET = do_PUT = do_HEAD = handle_any

    def ask_server(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.behind, timeout=20)
        headers = {k: v for k, v in self.headers.items() if k not in ("Expect", "Connection")}
        connection.request(self.command, self.path, body, headers)  # Host is signed, and passed on
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        kept = {k: v for k, v in answer.getheaders() if k not in ("Connection", "Transfer-Encoding", "Date")}
        return answer.status, kept, content

    def reply(self, status: int, headers: dict[str, str], body: bytes, send: int | None = None) -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[:send])

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def proxy(s3: S3Server, s3_bucket: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """Proxy that the AWS variables point to."""
    with Proxy(int(s3.endpoint.rpartition(":")[2])) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_address[1]}")
        yield server
        server.shutdown()
        thread.join()


def test_our_own_object_whose_answer_was_lost_is_a_success(proxy: Proxy, s3_bucket: str) -> None:
    proxy.faults["PUT"] = ["lost"]
    objects.write_bytes(f"{s3_bucket}/x", b"mine")
    assert proxy.seen == ["PUT", "PUT", "HEAD"]
    assert objects.read_bytes(f"{s3_bucket}/x") == b"mine"


@pytest.mark.parametrize("other", [b"else", b"longer than ours"])
def test_the_object_of_another_writer_is_not_ours_after_a_retry(
    proxy: Proxy, s3_bucket: str, other: bytes
) -> None:
    objects.write_bytes(f"{s3_bucket}/x", other)
    proxy.faults["PUT"] = ["busy"]
    with pytest.raises(ObjectError, match="exists already"):
        objects.write_bytes(f"{s3_bucket}/x", b"mine")
    assert objects.read_bytes(f"{s3_bucket}/x") == other


def test_ours_is_known_by_its_bytes_where_no_checksum_is_stored(
    proxy: Proxy, s3: S3Server, s3_bucket: str
) -> None:
    bucket = s3_bucket[len("s3://") :]
    s3.client().put_object(Bucket=bucket, Key="same", Body=b"mine")
    s3.client().put_object(Bucket=bucket, Key="other", Body=b"none")
    s3.client().put_object(Bucket=bucket, Key="longer", Body=b"mine too")
    proxy.faults["PUT"] = ["busy", "", "busy", "", "busy"]
    objects.write_bytes(f"{s3_bucket}/same", b"mine")
    assert proxy.seen == ["PUT", "PUT", "HEAD", "GET"]
    with pytest.raises(ObjectError, match="exists already"):
        objects.write_bytes(f"{s3_bucket}/other", b"mine")
    proxy.seen.clear()
    with pytest.raises(ObjectError, match="exists already"):
        objects.write_bytes(f"{s3_bucket}/longer", b"mine")
    assert proxy.seen == ["PUT", "PUT", "HEAD"]  # another length needs no download


def test_a_conflict_is_tried_again(proxy: Proxy, s3_bucket: str) -> None:
    proxy.faults["PUT"] = ["conflict", "conflict"]
    objects.write_bytes(f"{s3_bucket}/x", b"mine")
    assert proxy.seen == ["PUT"] * 3
    assert objects.read_bytes(f"{s3_bucket}/x") == b"mine"


def test_a_lasting_conflict_is_reported(
    proxy: Proxy, s3_bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.s3client.CONFLICT_ATTEMPTS", 2)
    proxy.faults["PUT"] = ["conflict"] * 3
    with pytest.raises(ObjectError, match="other writers keep writing"):
        objects.write_bytes(f"{s3_bucket}/x", b"mine")
    assert proxy.seen == ["PUT"] * 2


def test_a_download_that_breaks_off_is_read_again(proxy: Proxy, s3_bucket: str) -> None:
    objects.write_bytes(f"{s3_bucket}/x", b"0123456789" * 1000)
    proxy.faults["GET"] = ["cut", "cut"]
    assert objects.read_bytes(f"{s3_bucket}/x") == b"0123456789" * 1000


def test_a_download_that_always_breaks_off_is_an_error(proxy: Proxy, s3_bucket: str) -> None:
    objects.write_bytes(f"{s3_bucket}/x", b"0123456789")
    proxy.seen.clear()
    proxy.faults["GET"] = ["cut"] * 9
    with pytest.raises(ObjectError, match=f"cannot read {s3_bucket}/x"):
        objects.read_bytes(f"{s3_bucket}/x")
    assert proxy.seen == ["GET"] * 3


def test_a_busy_server_is_asked_again_by_the_sdk(proxy: Proxy, s3_bucket: str) -> None:
    proxy.faults["PUT"] = ["busy"]
    objects.write_bytes(f"{s3_bucket}/x", b"1")
    assert proxy.seen == ["PUT"] * 2


def test_a_server_that_stays_busy_is_named(
    proxy: Proxy, s3_bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    proxy.faults["GET"] = ["busy"]
    with pytest.raises(ObjectError, match=r"server says: .*503"):
        objects.read_bytes(f"{s3_bucket}/x")


def test_a_web_page_is_not_s3(proxy: Proxy, s3_bucket: str) -> None:
    page = "<html>Log in</html>"
    proxy.faults |= {"GET": [page] * 2, "PUT": [page], "HEAD": [page]}
    for action in (
        objects.check_writable,
        objects.read_bytes,
        objects.exists,
        lambda uri: objects.write_bytes(uri, b"1"),
    ):
        with pytest.raises(ObjectError, match="not S3's"):
            action(f"{s3_bucket}/x")
