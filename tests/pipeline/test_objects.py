"""Bytes from and to disk and a real S3 server."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import entry_points
from pathlib import Path
from threading import Barrier

import numpy as np
import pytest

from isr.errors import ObjectError
from pipeline import objects
from tests.s3server import Keys, S3Server, free_ports

DATA = bytes(range(256)) * 40


@pytest.fixture(params=["disk", pytest.param("s3", marks=pytest.mark.s3)])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where to write: a new folder, then a new bucket."""
    return str(tmp_path) if request.param == "disk" else request.getfixturevalue("s3_bucket")


def use(monkeypatch: pytest.MonkeyPatch, server: S3Server, keys: Keys) -> None:
    for name, value in server.environment(keys).items():
        monkeypatch.setenv(name, value)


def message(error: pytest.ExceptionInfo[ObjectError], *, hidden: tuple[str, ...] = ()) -> str:
    """Return the text for the user; no SDK traceback hangs on the error, no credential is in it."""
    assert error.value.__suppress_context__
    text = str(error.value)
    assert not [word for word in hidden if word in text]
    return text


# What disk and S3 have in common.


@pytest.mark.parametrize("data", [DATA, b""], ids=["bytes", "empty"])
def test_round_trip(root: str, data: bytes) -> None:
    uri = objects.join(root, "u/me", "a b#c?%41+ü.fits")
    assert not objects.exists(uri)
    objects.write_bytes(uri, data)
    assert objects.exists(uri)
    assert objects.read_bytes(uri) == data


def test_overwrite(root: str) -> None:
    uri = objects.join(root, "x.fits")
    objects.write_bytes(uri, b"first")
    with pytest.raises(ObjectError, match=r"x\.fits.* exists.*--overwrite"):
        objects.write_bytes(uri, b"second")
    with pytest.raises(ObjectError, match="exists"):  # the same bytes by another run are no success either
        objects.write_bytes(uri, b"first")
    assert objects.read_bytes(uri) == b"first"
    objects.write_bytes(uri, b"third", overwrite=True)
    assert objects.read_bytes(uri) == b"third"


def test_one_of_eight_writers_wins(root: str) -> None:
    uri = objects.join(root, "race.fits")
    barrier = Barrier(8)

    def write(number: int) -> str:
        barrier.wait()
        try:
            objects.write_bytes(uri, b"%d" % number * 1000)
        except ObjectError as error:
            return str(error)
        return ""

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(write, range(8)))
    assert answers.count("") == 1
    assert sum("exists" in answer for answer in answers) == 7
    assert objects.read_bytes(uri) == b"%d" % answers.index("") * 1000


def test_big(root: str) -> None:
    uri = objects.join(root, "big.fits")
    data = np.random.default_rng(1).bytes(30_000_000)
    objects.write_bytes(uri, data)
    assert objects.read_bytes(uri) == data


def test_missing(root: str) -> None:
    with pytest.raises(ObjectError, match=r"cannot read .*none\.fits"):
        objects.read_bytes(objects.join(root, "none.fits"))


def test_check_writable_leaves_nothing(root: str) -> None:
    objects.check_writable(objects.join(root, "a/b"))
    objects.check_writable(root)
    assert not objects.exists(objects.join(root, "a/b"))


# Names.


@pytest.mark.parametrize("part", ["", "/etc/passwd", "..", "a/../../b", ".", "a//b", "a/", "a\0b"])
@pytest.mark.parametrize("base", ["s3://bucket/u", "out"])
def test_join_stays_below_its_root(base: str, part: str) -> None:
    with pytest.raises(ObjectError, match="not a name below"):
        objects.join(base, "good", part)


def test_join() -> None:
    assert objects.join("s3://bucket/u/", "a", "b/c.fits") == "s3://bucket/u/a/b/c.fits"
    assert objects.join("s3://bucket", "..a..") == "s3://bucket/..a.."
    assert objects.join(Path("/out"), "a", "b") == "/out/a/b"
    assert objects.join("file:///my%20out", "a") == "/my out/a"


def test_is_remote() -> None:
    assert objects.is_remote("s3://bucket/key")
    assert objects.is_remote("S3://bucket/key")
    assert objects.is_remote("https://host/x")
    assert not objects.is_remote("file:///x")
    assert not objects.is_remote(Path("/x"))
    assert not objects.is_remote("out/s3:/x")


@pytest.mark.parametrize(
    ("uri", "found"),
    [
        ("https://host/x.fits", "cannot open https://"),
        ("file://host/x.fits", "three slashes.*'host'"),
        ("s3://", "names no bucket"),
        ("s3://bucket", "names no object"),
        ("s3://bucket/folder/", "names no object"),
        ("s3://a@b/key", "not a valid name"),
    ],
)
def test_bad_uri(no_aws: None, monkeypatch: pytest.MonkeyPatch, uri: str, found: str) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    with pytest.raises(ObjectError, match=found):
        objects.read_bytes(uri)


# Disk only.


def test_read_a_directory(tmp_path: Path) -> None:
    with pytest.raises(ObjectError, match="is a directory") as error:
        objects.read_bytes(tmp_path)
    message(error)


def test_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(b"")
    with pytest.raises(ObjectError, match=r"/out is a file"):
        objects.check_writable(tmp_path / "out/sub")


def test_directory_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write anywhere
    with pytest.raises(ObjectError, match="you may not make a directory in"):
        objects.check_writable(tmp_path / "out")
    with pytest.raises(ObjectError, match="you may not write in"):
        objects.check_writable(tmp_path)


def test_impossible_file_name(tmp_path: Path) -> None:
    with pytest.raises(ObjectError, match=r"cannot look for .*too long"):
        objects.exists(tmp_path / ("x" * 300))


# S3 only.


def test_stored_with_checksum(s3: S3Server, s3_bucket: str) -> None:
    objects.write_bytes(f"{s3_bucket}/x", b"abc")
    head = s3.client().head_object(Bucket=s3_bucket[len("s3://") :], Key="x", ChecksumMode="ENABLED")
    assert head["ChecksumSHA256"] == "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0="


def test_wrong_secret(s3: S3Server, s3_bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = Keys(s3.admin.id, "not" + s3.admin.secret)
    use(monkeypatch, s3, keys)
    for action in (objects.read_bytes, objects.check_writable, lambda uri: objects.write_bytes(uri, b"")):
        with pytest.raises(ObjectError, match="secret key does not fit") as error:
            action(f"{s3_bucket}/x")
        text = message(error, hidden=(keys.id, keys.secret))
        assert f"{s3_bucket}/x (endpoint {s3.endpoint})" in text
        assert "AWS_SECRET_ACCESS_KEY" in text
    with pytest.raises(ObjectError, match="access denied, or wrong credentials"):  # HEAD says no more
        objects.exists(f"{s3_bucket}/x")


def test_unknown_key_id(s3: S3Server, s3_bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = Keys("NOBODYATALL", "secret-of-nobody")
    use(monkeypatch, s3, keys)
    with pytest.raises(ObjectError, match="access key id is not known there") as error:
        objects.check_writable(s3_bucket)
    assert s3.endpoint in message(error, hidden=(keys.id, keys.secret))


def test_reader_may_not_write(s3: S3Server, s3_bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    objects.write_bytes(f"{s3_bucket}/x", b"1")
    use(monkeypatch, s3, s3.reader)
    assert objects.read_bytes(f"{s3_bucket}/x") == b"1"
    objects.check_writable(s3_bucket)  # documented: the listing cannot tell
    with pytest.raises(ObjectError, match="access denied") as error:
        objects.write_bytes(f"{s3_bucket}/y", b"2")
    assert f"cannot write {s3_bucket}/y" in message(error, hidden=(s3.reader.id, s3.reader.secret))


def test_missing_bucket(s3_bucket: str) -> None:
    uri = f"{s3_bucket}-not/x"
    for action in (objects.read_bytes, objects.check_writable, lambda uri: objects.write_bytes(uri, b"")):
        with pytest.raises(ObjectError, match="bucket does not exist") as error:
            action(uri)
        assert uri in message(error)
    assert not objects.exists(uri)


def test_missing_key(s3: S3Server, s3_bucket: str) -> None:
    with pytest.raises(ObjectError, match="no such object") as error:
        objects.read_bytes(f"{s3_bucket}/x")
    assert f"{s3_bucket}/x (endpoint {s3.endpoint})" in message(error)


def test_no_credentials(s3: S3Server, no_aws: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3.endpoint)
    with pytest.raises(ObjectError, match=r"no usable credentials.*AWS_PROFILE") as error:
        objects.check_writable("s3://bucket/x")
    message(error)
    monkeypatch.setenv("AWS_PROFILE", "nowhere")
    with pytest.raises(ObjectError, match=r"no usable credentials.*ProfileNotFound"):
        objects.check_writable("s3://bucket/x")


def test_endpoint_down(s3: S3Server, s3_bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    port = free_ports(["one"])["one"]
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://me:hunter2@127.0.0.1:{port}")
    with pytest.raises(ObjectError, match=r"no connection.*Check the network and AWS_ENDPOINT_URL") as error:
        objects.read_bytes(f"{s3_bucket}/x")
    assert f"endpoint http://127.0.0.1:{port}" in message(error, hidden=("hunter2", s3.admin.id))


def test_endpoint_that_is_no_address(s3_bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "me:hunter2@somewhere")
    with pytest.raises(ObjectError, match="not an address such as https://") as error:
        objects.read_bytes(f"{s3_bucket}/x")
    message(error, hidden=("hunter2",))


def test_endpoint_as_lsst_tools_name_it(
    s3: S3Server, s3_bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    down = f"http://127.0.0.1:{free_ports(['one'])['one']}"
    monkeypatch.setenv("S3_ENDPOINT_URL", down)
    objects.write_bytes(f"{s3_bucket}/x", b"1")  # the AWS variable counts first
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    monkeypatch.setenv("S3_ENDPOINT_URL", s3.endpoint)
    assert objects.read_bytes(f"{s3_bucket}/x") == b"1"


def test_one_client_for_each_process_and_environment(s3_bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.s3client import connect

    first = connect()
    assert connect() is first
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "other")
    assert connect() is not first
    monkeypatch.undo()
    pid = os.getpid()
    second = connect()
    monkeypatch.setattr(os, "getpid", lambda: pid + 1)
    assert connect() is not second


def test_without_boto3(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "pipeline.s3client", raising=False)
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(ObjectError, match=r"pip install 'hsc-isr\[aws\]'"):
        objects.read_bytes("s3://bucket/key")


def test_local_files_need_no_boto3() -> None:
    code = "import sys, pipeline.objects as o; o.exists('x'); sys.exit('boto3' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_entry_point_of_the_core() -> None:
    (source,) = entry_points(group="hsc_isr.byte_sources", name="s3")
    assert source.load() is objects.read_bytes
