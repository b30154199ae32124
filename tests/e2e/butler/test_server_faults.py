"""What goes wrong between a command and its servers: passwords, keys, servers that are gone, races.

No secret may appear in what a command says: `Commands` looks at everything.
"""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
import yaml

from tests.e2e.butler.commands import (
    DETECTORS,
    INPUTS,
    PER_DETECTOR,
    PER_RUN,
    QUICK_TASK,
    UPSTREAM_LOSES,
    VISIT,
    Commands,
    Repository,
)
from tests.e2e.butler.conftest import BUCKET

pytestmark = [pytest.mark.xdist_group("butler-server"), pytest.mark.s3]

WRONG_PASSWORD = "a-password-that-is-wrong"
WRONG_KEY = "a-secret-key-that-is-wrong-0123456789abc"
ONE = f"instrument='HSC' AND exposure={VISIT} AND detector=22"


def words(run: str, query: str = ONE) -> tuple[object, ...]:
    return ("-i", INPUTS, "--output-run", run, "--register-dataset-types", *QUICK_TASK, "-d", query)


def changed(repository: Repository, *secrets: str, **variables: str) -> Repository:
    """Return the repository as somebody with another environment sees it."""
    run = repository.run.with_environment(**variables)
    run = Commands(run.folder, run.environment, (*run.secrets, *secrets))
    return Repository(repository.kind, repository.uri, run, repository.data)


def keys_below(own_s3, prefix: str) -> list[str]:
    listed = own_s3.client().list_objects_v2(Bucket=BUCKET, Prefix=f"repo/{prefix}/")
    return [item["Key"] for item in listed.get("Contents", [])]


def both(repository: Repository, run: str) -> tuple[str, str]:
    """Let pipetask and isr-run fail; return what they say."""
    upstream = repository.pipetask("run", *words(run), code=1)
    ours = repository.isr_run(*words(run), code=1)
    assert "Traceback" not in ours.err
    return upstream.said, ours.said


def test_wrong_password(server, pg, tmp_path):
    wrong = pg.write_credentials(tmp_path / "db-auth.yaml", WRONG_PASSWORD)
    user = changed(server, WRONG_PASSWORD, LSST_DB_AUTH=str(wrong))
    upstream, ours = both(user, "u/me/password")
    assert "password authentication failed" in upstream
    assert "password authentication failed" in ours
    assert "LSST_DB_AUTH" in ours
    assert not server.has_collection("u/me/password")


def test_wrong_keys(server):
    user = changed(server, WRONG_KEY, AWS_SECRET_ACCESS_KEY=WRONG_KEY)
    upstream, ours = both(user, "u/me/keys")
    assert "AWS_SECRET_ACCESS_KEY" in ours
    assert "403" in upstream or "Forbidden" in upstream or "Signature" in upstream
    assert not server.has_collection("u/me/keys")


def test_keys_that_may_only_read(server, own_s3):
    """Nothing can be stored: the quantum fails, the registry does not say otherwise."""
    reader = own_s3.reader
    user = changed(server, AWS_ACCESS_KEY_ID=reader.id, AWS_SECRET_ACCESS_KEY=reader.secret)
    said = user.isr_run(*words("u/me/reader"), code=1).said
    assert re.search("AccessDenied|Access Denied|403", said)
    for name in PER_DETECTOR:
        assert server.detectors(name, "u/me/reader") == []
    assert keys_below(own_s3, "u/me/reader") == []
    server.isr_run(*words("u/me/reader"))
    assert server.detectors("postISRCCD", "u/me/reader") == [22]


def test_bucket_that_is_gone(server, own_s3, tmp_path):
    """Of the repository, and of its files only."""
    gone = Repository("server", "s3://bucket-that-is-gone/repo", server.run, server.data)
    upstream, ours = both(gone, "u/me/gone")
    assert "bucket-that-is-gone" in upstream
    assert "bucket-that-is-gone" in ours
    body = own_s3.client().get_object(Bucket=BUCKET, Key="repo/butler.yaml")["Body"].read()
    config = yaml.safe_load(body)
    config["datastore"]["root"] = "s3://bucket-that-is-gone/repo/"
    (tmp_path / "butler.yaml").write_text(yaml.safe_dump(config))
    half = Repository("server", str(tmp_path), server.run, server.data)
    said = half.isr_run(*words("u/me/half-gone"), code=1)
    assert "bucket-that-is-gone" in said.said
    assert "Traceback" not in said.err
    assert server.detectors("isr_metadata", "u/me/half-gone") == []


def test_database_that_is_down(server, pg):
    pg.kill()
    try:
        upstream, ours = both(server, "u/me/down")
        assert "Connection refused" in upstream
        assert "does not answer" in ours
        assert f":{pg.port}" in ours or str(pg.port) in ours
        said = server.run("butler", "define-visits", server.uri, "HSC", code=1).said
        assert "cannot be opened for writing. The database of the repository does not answer" in said
        assert "butler.yaml and make it again" not in said
    finally:
        pg.launch()
    assert not server.has_collection("u/me/down")


@pytest.mark.parametrize("tool", [("pipetask", "run"), ("isr-run",)], ids=["pipetask", "isr-run"])
def test_database_that_dies_during_a_run(server, pg, own_s3, tmp_path, tool):
    """The command ends with an error; the same again, of ours, completes the RUN."""
    run = f"u/me/dies-{tool[0]}"
    with (tmp_path / "err").open("w") as err:
        process = server.run.start(*tool, "-b", server.uri, *words(run), stderr=err)
        wait_for(tmp_path / "err", "SAT amplifier 0", process)
        pg.kill()
        try:
            result = server.run.finish(process, None)
        finally:
            pg.launch()
    said = (tmp_path / "err").read_text()
    assert result.code == 1
    assert re.search("OperationalError|does not answer", said)
    assert tool[0] == "pipetask" or "Traceback" not in said, said
    assert not any(secret in said for secret in server.run.secrets)
    for name in PER_DETECTOR:
        assert server.detectors(name, run) == []
    done = server.isr_run(*words(run))
    assert "1 done, 0 skipped (done before), 0 failed." in done.said
    check_complete(server, own_s3, run, [22])


def wait_for(file: Path, text: str, process) -> None:
    deadline = time.monotonic() + 120
    while text not in file.read_text():
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            process.communicate()
            pytest.fail(f"it did not say {text!r}:\n{file.read_text()}")
        time.sleep(0.02)


def check_complete(repository: Repository, own_s3, run: str, detectors: list[int]) -> None:
    """All datasets are there and can be read, and there is no object more."""
    for name in PER_DETECTOR:
        assert repository.detectors(name, run) == detectors
    with repository.butler(run) as butler:
        for detector in detectors:
            assert butler.get("postISRCCD", exposure=VISIT, detector=detector).detector.id == detector
    assert len(keys_below(own_s3, run)) == len(PER_RUN) + len(PER_DETECTOR) * len(detectors)


@pytest.mark.parametrize(
    ("tool", "reason"),
    [
        (("pipetask", "run"), UPSTREAM_LOSES),
        (("isr-run",), r"right now|exists"),
    ],
    ids=["pipetask", "isr-run"],
)
def test_two_commands_on_one_run(server, own_s3, tool, reason):
    run = f"u/me/race-{tool[0]}"
    command = (*tool, "-b", server.uri, *words(run, f"visit={VISIT}"))
    racers = [server.run.start(*command) for _ in range(2)]
    results = [server.run.finish(racer, None) for racer in racers]
    assert sorted(result.code for result in results) == [0, 1], "\n\n".join(r.err for r in results)
    (loser,) = (result for result in results if result.code)
    assert "SAT amplifier" not in loser.err
    assert re.search(reason, loser.said), loser.err
    check_complete(server, own_s3, run, sorted(DETECTORS))


def test_nothing_in_the_repository_is_secret(server, own_s3):
    """Configuration, logs, versions: all that is text."""
    client = own_s3.client()
    texts = [
        item["Key"]
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
        for item in page["Contents"]
        if not item["Key"].endswith((".fits", ".pickle"))
    ]
    assert any(key.endswith("butler.yaml") for key in texts)
    assert any("isr_log" in key for key in texts)
    for key in texts:
        content = client.get_object(Bucket=BUCKET, Key=key)["Body"].read().decode()
        for secret in server.run.secrets:
            assert secret not in content, key
