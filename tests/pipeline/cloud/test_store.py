"""Objects of a cluster on a real S3 server: written on condition, listed, removed."""

from __future__ import annotations

import pytest
from moto import mock_aws

from pipeline.cloud import document
from pipeline.cloud.aws import Account
from pipeline.cloud.document import Cluster
from pipeline.cloud.names import Place
from pipeline.cloud.store import Store
from pipeline.errors import CloudError
from tests.pipeline.cloud.documents import cluster


@pytest.fixture
def store(account: Account, place: Place) -> Store:
    return Store(account, place, "demo")


def test_what_is_written_is_read(store: Store) -> None:
    assert store.read("a") is None
    assert store.read_json("a") is None
    etag = store.write("a", b"bytes")
    assert store.read("a") == (b"bytes", etag)
    store.write("a", {"x": 1})
    assert store.read_json("a") == {"x": 1}
    assert store.uri("a").endswith("/isr/clusters/demo/a")


def test_conditions(store: Store) -> None:
    first = store.write("a", b"1", etag="")
    assert first
    assert store.write("a", b"2", etag="") is None
    second = store.write("a", b"2", etag=first)
    assert second
    assert second != first
    assert store.write("a", b"3", etag=first) is None
    assert store.read("a") == (b"2", second)
    store.remove()
    assert store.write("a", b"3", etag=second) is None
    assert store.read("a") is None


def test_lists_are_sorted_and_of_one_cluster(store: Store, account: Account, place: Place) -> None:
    Store(account, place, "demo2").write("a", b"")
    for key in ("jobs/2/log", "jobs/1/log", "status.json", "jobs/1/job.json"):
        store.write(key, b"")
    assert list(store.list("jobs/")) == ["jobs/1/job.json", "jobs/1/log", "jobs/2/log"]
    assert list(store.list("jobs/", after="jobs/1/job.json")) == ["jobs/1/log", "jobs/2/log"]
    assert store.remove("jobs/1/") == 2
    assert store.remove() == 2
    assert store.remove() == 0
    assert list(Store(account, place, "demo2").list()) == ["a"]


def test_more_objects_than_one_request_removes(store: Store, monkeypatch) -> None:
    monkeypatch.setattr("pipeline.cloud.store._BATCH", 2)
    for number in range(5):
        store.write(str(number), b"")
    assert store.remove() == 5
    assert not list(store.list())


@pytest.mark.parametrize("content", [b"<html>", b"[]", b"\xff", b""])
def test_what_is_no_json_object(store: Store, content: bytes) -> None:
    store.write("a", content)
    with pytest.raises(CloudError, match="clusters/demo/a is not a JSON object"):
        store.read_json("a")


@mock_aws
def test_a_bucket_that_does_not_exist(no_aws: None, monkeypatch) -> None:
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(variable, "testing")
    store = Store(Account("us-east-1"), Place("no-such-bucket", "isr"), "demo")
    for action in (
        lambda: store.read("a"),
        lambda: store.write("a", b""),
        lambda: store.write("a", b"", etag=""),
        lambda: store.write("a", b"", etag='"0"'),
        lambda: list(store.list()),
    ):
        with pytest.raises(CloudError, match="the bucket does not exist"):
            action()


def test_a_cluster_is_created_once(store: Store) -> None:
    assert document.read(store) is None
    assert document.create(store, cluster())
    assert not document.create(store, cluster(id="other"))
    found = document.read(store)
    assert found is not None
    assert found[0] == cluster()


def test_changes_at_the_same_time_are_all_kept(store: Store, monkeypatch) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    document.create(store, cluster())
    quicker = iter([5, 6])

    def change(current: Cluster) -> None:
        current.idle += 1
        if (wanted := next(quicker, None)) is not None:  # somebody else, between our reading and writing
            store.write("cluster.json", cluster(workers=wanted).to_json())

    changed = document.update(store, "abc", change)
    assert (changed.workers, changed.idle) == (6, 301)
    found = document.read(store)
    assert found is not None
    assert found[0] == changed


def test_what_changes_all_the_time_is_given_up(store: Store, monkeypatch) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    document.create(store, cluster())
    numbers = iter(range(100))
    with pytest.raises(CloudError, match="being changed by others all the time"):
        document.update(
            store, "abc", lambda _: store.write("cluster.json", cluster(workers=next(numbers)).to_json())
        )


def test_another_cluster_of_that_name_is_not_changed(store: Store) -> None:
    for create in (lambda: None, lambda: document.create(store, cluster(id="other"))):
        create()
        with pytest.raises(CloudError, match="was ended by somebody else meanwhile"):
            document.update(store, "abc", lambda current: setattr(current, "workers", 9))
    assert store.read_json("cluster.json") == cluster(id="other").to_json()


def test_a_document_of_a_later_version_is_read(store: Store) -> None:
    store.write("cluster.json", cluster().to_json() | {"new": True})
    found = document.read(store)
    assert found is not None
    assert found[0] == cluster()
    store.write("cluster.json", {"name": "demo"})
    with pytest.raises(CloudError, match=r"cluster\.json is not the document of a cluster: .*missing"):
        document.read(store)
