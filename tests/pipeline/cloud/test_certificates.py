"""The parts of a cluster know each other, and nobody else."""

from __future__ import annotations

import asyncio
import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from distributed import Scheduler, Worker
from distributed.comm import connect
from distributed.security import Security

from pipeline.cloud.certificates import store_secrets
from pipeline.cloud.names import Place, tags_of
from pipeline.cloud.user_data import LONGEST_LEASE
from tests.pipeline.cloud.documents import cluster

PLACE = Place("group-data", "isr")


class Parameters:
    """An account with nothing but a parameter store."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []

    def client(self, _: str) -> Parameters:
        return self

    def put_parameter(self, **request: Any) -> None:
        self.requests.append(request)


def _make(db_auth: str = "") -> tuple[list[dict[str, Any]], dict[str, dict[str, str]]]:
    """Return the requests, and the texts of scheduler and worker."""
    account = Parameters()
    store_secrets(account, PLACE, cluster(), db_auth)  # type: ignore[arg-type]
    return account.requests, {
        request["Name"].rpartition("/")[2]: json.loads(request["Value"])
        for request in account.requests
        if "/tls/" in request["Name"]
    }


@pytest.fixture(scope="module")
def secrets() -> dict[str, dict[str, str]]:
    return _make()[1]


@pytest.fixture(scope="module")
def foreign() -> dict[str, dict[str, str]]:
    """Those of another cluster."""
    return _make()[1]


def _load(text: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(text.encode())


def _certificates(secrets: dict[str, dict[str, str]]) -> dict[str, tuple[str, str]]:
    scheduler, worker = secrets["scheduler"], secrets["worker"]
    return {
        "scheduler": (scheduler["cert"], scheduler["key"]),
        "client": (scheduler["client_cert"], scheduler["client_key"]),
        "worker": (worker["cert"], worker["key"]),
    }


def test_where_they_are_kept() -> None:
    requests, _ = _make("- url: x\n")
    prefix = PLACE.parameters("demo", "abc")
    assert [item["Name"].removeprefix(prefix) for item in requests] == [
        "/tls/scheduler",
        "/tls/worker",
        "/db-auth",
    ]
    for request in requests:
        assert request["Type"] == "SecureString"
        assert len(request["Value"].encode()) <= 4096
        tags = {"isr:cluster": "demo", "isr:id": "abc", "isr:place": str(PLACE)}
        assert tags_of(request) == tags
    assert len(_make()[0]) == 2


def test_the_chain_verifies(secrets, foreign) -> None:
    authority = _load(secrets["scheduler"]["ca"])
    assert secrets["worker"]["ca"] == secrets["scheduler"]["ca"]
    authority.verify_directly_issued_by(authority)
    keys = set()
    for role, (text, private) in _certificates(secrets).items():
        certificate = _load(text)
        certificate.verify_directly_issued_by(authority)
        with pytest.raises((InvalidSignature, ValueError)):
            certificate.verify_directly_issued_by(_load(foreign["scheduler"]["ca"]))
        key = load_pem_private_key(private.encode(), None).public_key()
        assert key == certificate.public_key()
        assert key != authority.public_key()
        keys.add(certificate.serial_number)
        assert f"isr-{role}" in certificate.subject.rfc4514_string()
    assert len(keys) == 3


def test_only_the_authority_can_issue(secrets) -> None:
    """And its key is kept nowhere."""
    constraints = _load(secrets["worker"]["ca"]).extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.critical
    assert constraints.value == x509.BasicConstraints(ca=True, path_length=0)
    for text, _ in _certificates(secrets).values():
        constraints = _load(text).extensions.get_extension_for_class(x509.BasicConstraints)
        assert constraints.critical
        assert not constraints.value.ca
    assert json.dumps(secrets).count("BEGIN PRIVATE KEY") == 3


def test_the_worker_has_no_key_of_others(secrets) -> None:
    assert set(secrets["worker"]) == {"ca", "cert", "key"}
    assert secrets["scheduler"]["key"] not in secrets["worker"].values()


def test_they_live_as_long_as_a_cluster_can(secrets) -> None:
    now, slack = datetime.now(UTC), timedelta(minutes=30)
    for text in (secrets["worker"]["ca"], *(text for text, _ in _certificates(secrets).values())):
        certificate = _load(text)
        assert certificate.not_valid_before_utc < now - slack
        end = certificate.not_valid_after_utc - now - timedelta(seconds=LONGEST_LEASE)
        assert slack < end < timedelta(hours=2)


def _security(secrets: dict[str, dict[str, str]], role: str, folder: Path, authority: str = "") -> Security:
    folder.mkdir()
    certificate, key = _certificates(secrets)[role]
    files = {}
    for name, text in {"ca": authority or secrets["worker"]["ca"], "cert": certificate, "key": key}.items():
        files[name] = folder / name
        with os.fdopen(os.open(files[name], os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
            file.write(text)
    return Security(
        require_encryption=True,
        tls_ca_file=str(files["ca"]),
        **{
            f"tls_{part}_{name}": str(files[name])
            for part in ("scheduler", "worker", "client")
            for name in ("cert", "key")
        },
    )


def test_scheduler_and_worker_meet_and_strangers_do_not(secrets, foreign, tmp_path: Path) -> None:
    ours = {role: _security(secrets, role, tmp_path / role) for role in ("scheduler", "worker", "client")}
    strangers = [
        _security(foreign, "worker", tmp_path / "stranger"),
        # One that trusts our scheduler, which must not trust it.
        _security(foreign, "worker", tmp_path / "friend", secrets["worker"]["ca"]),
    ]

    async def meet() -> None:
        options = {"host": "127.0.0.1", "port": 0, "protocol": "tls", "dashboard": False}
        async with Scheduler(security=ours["scheduler"], **options) as scheduler:
            assert scheduler.address.startswith("tls://127.0.0.1:")
            async with Worker(
                scheduler.address, security=ours["worker"], host="127.0.0.1", nthreads=1, dashboard=False
            ) as worker:
                assert list(scheduler.workers) == [worker.address]
                comm = await connect(scheduler.address, 5, **ours["client"].get_connection_args("client"))
                comm.abort()
            for stranger in strangers:
                with pytest.raises(OSError, match=r"in 2 s|certificate|closed"):
                    await connect(scheduler.address, 2, **stranger.get_connection_args("worker"))
            with pytest.raises(OSError, match=r"in 2 s|closed"):
                await connect(scheduler.address.replace("tls", "tcp"), 2)

    asyncio.run(meet())
