"""Bytes from paths and URIs."""

import os
from importlib.metadata import EntryPoint, EntryPoints

import pytest

from isr.errors import ObjectError
from isr.fits.source import ENTRY_POINTS, read_bytes


def memory(uri):
    return f"content of {uri}".encode()


def fail(uri):
    raise ObjectError(f"{uri}: gone")


@pytest.fixture
def sources(monkeypatch):
    """Entry points for three schemes: one works, one fails, one lacks its package."""
    found = EntryPoints(
        EntryPoint(name, value, ENTRY_POINTS)
        for name, value in (
            ("memory", "tests.isr.fits.test_source:memory"),
            ("gone", "tests.isr.fits.test_source:fail"),
            ("s3", "no_such_package.objects:read_bytes"),
        )
    )
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: found.select(group=group))


def test_paths_and_file_uris(tmp_path, monkeypatch):
    path = tmp_path / "a file+1.fits"
    path.write_bytes(b"content")
    for source in (path, str(path), f"file://{path}", f"file://localhost{path}".replace(" ", "%20")):
        assert read_bytes(source) == b"content"
    monkeypatch.chdir(tmp_path)
    assert read_bytes("a file+1.fits") == b"content"


def test_bytes_are_returned_as_they_are():
    data = b"content"
    assert read_bytes(data) is data


def test_empty_file(tmp_path):
    (tmp_path / "empty").touch()
    assert read_bytes(tmp_path / "empty") == b""


def test_registered_scheme(sources):
    assert read_bytes("memory://x/y.fits") == b"content of memory://x/y.fits"
    assert read_bytes("Memory://x/y.fits") == b"content of Memory://x/y.fits"


def test_error_of_a_registered_scheme(sources):
    with pytest.raises(ObjectError, match="gone://x: gone"):
        read_bytes("gone://x")


def test_missing_package(sources):
    with pytest.raises(ObjectError, match=r"s3://b/k: .*no_such_package.*pip install 'hsc-isr\[aws\]'"):
        read_bytes("s3://b/k")


def test_unknown_scheme(sources):
    with pytest.raises(
        ObjectError, match=r"gs://b/k: cannot read gs://; .*file://, gone://, memory://, s3://"
    ):
        read_bytes("gs://b/k")


def test_s3_is_registered_by_the_project():
    from importlib.metadata import entry_points

    assert [entry.value for entry in entry_points(group=ENTRY_POINTS, name="s3")] == [
        "pipeline.objects:read_bytes"
    ]


def test_missing_file(tmp_path):
    with pytest.raises(ObjectError, match=r"raw\.fits: no such file"):
        read_bytes(tmp_path / "raw.fits")
    with pytest.raises(ObjectError, match=r"raw\.fits: no such file"):
        read_bytes(f"file://{tmp_path}/raw.fits")
    (tmp_path / "file").touch()
    with pytest.raises(ObjectError, match=r"file/raw\.fits: (cannot be read|no such file)"):
        read_bytes(tmp_path / "file" / "raw.fits")


def test_directory(tmp_path):
    with pytest.raises(ObjectError, match="is a directory; give the path of one file"):
        read_bytes(tmp_path)


def test_device_and_pipe(tmp_path):
    """Reading them would never end."""
    with pytest.raises(ObjectError, match="/dev/zero: is not a regular file"):
        read_bytes("/dev/zero")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ObjectError, match="is not a regular file"):
        read_bytes(tmp_path / "pipe")


def test_no_permission(tmp_path, monkeypatch):
    path = tmp_path / "raw.fits"
    path.write_bytes(b"content")
    path.chmod(0)
    if os.access(path, os.R_OK):  # root may read anything

        def deny(self):
            raise PermissionError(13, "Permission denied", str(self))

        monkeypatch.setattr("pathlib.Path.read_bytes", deny)
    with pytest.raises(ObjectError, match=r"raw\.fits: no permission to read it"):
        read_bytes(path)


def test_bad_names():
    with pytest.raises(ObjectError, match="names a host"):
        read_bytes("file://data/raw.fits")
    with pytest.raises(ObjectError, match="cannot be read"):
        read_bytes("raw\0.fits")
    with pytest.raises(ObjectError, match="cannot be read"):
        read_bytes("x" * 5000)
