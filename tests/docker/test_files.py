"""What can be seen of the image without building it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
DOCKER = ROOT / "docker"
PASSWORDS = ("ISR_DB_PASSWORD", "ISR_S3_KEY", "ISR_S3_SECRET")


@pytest.fixture(scope="module")
def compose() -> dict:
    return yaml.safe_load((DOCKER / "compose.yaml").read_text())


def locked(name: str) -> dict[str, str]:
    text = (DOCKER / name).read_text()
    return {
        canonical(package): version for package, version in re.findall(r"(?m)^([\w.-]+)==([^\s;]+)", text)
    }


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def required(extras: tuple[str, ...]) -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [
        *project["dependencies"],
        *(line for extra in extras for line in project["optional-dependencies"][extra]),
    ]
    return {canonical(re.match(r"[\w.-]+", line)[0]) for line in lines}


def test_dockerignore_is_a_list_of_what_is_allowed():
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    assert lines[0] == "*"
    allowed = [line[1:] for line in lines if line.startswith("!")]
    assert all((ROOT / path.removesuffix("/**")).exists() for path in allowed)
    assert not [path for path in allowed if path.startswith((".", "*")) or "env" in path or "compose" in path]
    copied = re.findall(r"(?m)^COPY (?!--from)(.+) \S+$", (DOCKER / "Dockerfile").read_text())
    assert {path.removesuffix("/**") for path in allowed} == set(" ".join(copied).split())


def test_lock_has_the_versions_of_constraints_txt():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    constraints = {
        canonical(line.partition("==")[0]): line.partition("==")[2] for line in lines if "==" in line
    }
    lock = locked("requirements.lock")
    assert lock == {name: constraints.get(name) for name in lock}, "make image-lock"


def test_lock_has_what_the_image_is_for():
    assert required(("aws", "butler", "dask")) <= set(locked("requirements.lock")), "make image-lock"


@pytest.mark.parametrize("name", ["requirements.lock", "build.lock"])
def test_every_locked_version_has_hashes_and_nothing_else_is_in_the_file(name):
    lines = [line for line in (DOCKER / name).read_text().splitlines() if not line.startswith("#")]
    hashes = 0
    for number, line in enumerate(lines):
        if line.startswith(" "):
            assert re.fullmatch(r"    --hash=sha256:[0-9a-f]{64}( \\)?", line)
            hashes += 1
        else:
            assert re.fullmatch(r"[a-z0-9.-]+==[\w.]+( ; [^/]+)? \\", line)
            assert lines[number + 1].startswith("    --hash")
    assert hashes > 100 or name == "build.lock"


def test_no_digest_is_made_up_and_no_address_but_of_the_registry_is_named():
    text = (DOCKER / "Dockerfile").read_text()
    assert re.search(r"(?m)^ARG BASE_IMAGE=docker.io/library/python:3\.1[23]-slim-\w+$", text)
    assert not re.search(r"sha256:[0-9a-f]", text)
    assert not re.search(r"https?://", text)


def test_services_of_aws_that_are_called_stay_in_the_image():
    kept = re.search(r"(?m)^services='(.*)'$", (DOCKER / "trim.sh").read_text())[1].split()
    sources = "".join(path.read_text() for path in (ROOT / "pipeline").rglob("*.py"))
    called = set(re.findall(r"""\.client\(\s*["']([a-z0-9-]+)["']""", sources))
    assert called
    assert called <= set(kept)


def test_every_service_is_hardened(compose):
    for name, service in compose["services"].items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert not {"privileged", "cap_add", "network_mode", "pid"} & set(service), name
        assert any(place.startswith("/tmp") for place in service["tmpfs"]), name


def test_ports_are_published_on_loopback_only(compose):
    ports = {name: service["ports"] for name, service in compose["services"].items() if "ports" in service}
    assert set(ports) == {"s3"}
    assert all(port.startswith("127.0.0.1:") for port in ports["s3"])


def test_scheduler_and_database_are_in_a_network_without_a_way_out(compose):
    assert compose["networks"]["inside"]["internal"] is True
    for name in ("scheduler", "worker", "db", "isr"):
        assert compose["services"][name]["networks"] == ["inside"], name


def test_passwords_come_from_outside(compose):
    text = (DOCKER / "compose.yaml").read_text()
    for name in PASSWORDS:
        assert f"${{{name}:?" in text, name
    for service in compose["services"].values():
        for variable, value in service.get("environment", {}).items():
            if re.search("PASSWORD|SECRET|CREDENTIALS|KEY", variable):
                assert "${ISR_" in value, variable
    example = (DOCKER / "example.env").read_text()
    assert re.findall(r"(?m)^(ISR_\w+)=", example) == list(PASSWORDS)
    assert re.search(r"(?m)^ISR_S3_SECRET=$", example)
    assert re.search(r"(?m)^ISR_DB_PASSWORD=$", example)


def test_database_gets_the_extension_that_the_butler_needs(compose):
    (mounted,) = [place for place in compose["services"]["db"]["volumes"] if "initdb.d" in place]
    assert "CREATE EXTENSION IF NOT EXISTS btree_gist" in (DOCKER / mounted.partition(":")[0]).read_text()
