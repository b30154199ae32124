"""Names of clusters, places, and what belongs to them."""

from __future__ import annotations

import hashlib

import click
import pytest

from pipeline.cloud.names import Place, check_name, parse_place, tag_list, tags_of


@pytest.mark.parametrize("name", ["a", "demo", "visit-903334", "a" + "b" * 30])
def test_names_of_clusters(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize(
    "name", ["", "A", "1a", "-a", "a_b", "a.b", "a/b", "../a", "a b", "a\n", "a" * 32, "*", "ä"]
)
def test_what_cannot_be_a_name(name: str) -> None:
    with pytest.raises(click.UsageError, match="cannot be the name of a cluster"):
        check_name(name)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("s3://bucket/isr", Place("bucket", "isr")),
        ("s3://bucket/isr/", Place("bucket", "isr")),
        ("s3://my.bucket-1/a/b_c.d-e", Place("my.bucket-1", "a/b_c.d-e")),
    ],
)
def test_places(text: str, place: Place) -> None:
    assert parse_place(text) == place
    assert parse_place(str(place)) == place


@pytest.mark.parametrize(
    "text",
    [
        "",
        "bucket/isr",
        "s3://bucket",
        "s3://bucket/",
        "s3:///isr",
        "s3://Bucket/isr",
        "s3://bucket/a//b",
        "s3://bucket/a/../b",
        "s3://bucket/..",
        "s3://bucket/a*",
        "s3://bucket/a b",
        "s3://bucket/$a",
        "https://bucket/isr",
        "s3://bucket/isr\n",
    ],
)
def test_what_is_no_place(text: str) -> None:
    with pytest.raises(click.UsageError, match="expected s3://BUCKET/PREFIX"):
        parse_place(text)


def test_what_belongs_to_a_place() -> None:
    place = parse_place("s3://bucket/isr/")
    assert place.id == hashlib.sha256(b"s3://bucket/isr").hexdigest()[:8]
    assert place.role("lease") == f"isr-lease-{place.id}"
    assert place.cluster("demo") == "isr/clusters/demo/"
    assert place.parameters("demo") == f"/isr/{place.id}/demo"
    assert place.parameters("demo", "abc") == f"/isr/{place.id}/demo/abc"
    assert place.log_stream("demo", "abc", "head") == "demo/abc/head/"
    longest = "a" * 31
    assert len(place.schedule(longest)) <= 64  # EventBridge Scheduler's limit
    assert len(place.role("worker")) <= 64  # IAM's


def test_tags() -> None:
    assert tags_of({"Tags": tag_list({"a": "1", "b": ""})}) == {"a": "1", "b": ""}
    assert tags_of({}) == tags_of({"Tags": None}) == {}
