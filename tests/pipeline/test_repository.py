"""Making and completing repositories."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import yaml
from lsst.daf.butler import Butler, CollectionType
from sqlalchemy.exc import OperationalError, ProgrammingError

from isr.errors import ObjectError
from pipeline.dataset_types import CALIB_TYPES, TYPES
from pipeline.errors import RepositoryError
from pipeline.repository import complete_repository, create_repository, make_chain, open_repository


def dump(root: Path) -> list[str]:
    with closing(sqlite3.connect(root / "gen3.sqlite3")) as database:
        return list(database.iterdump())


def test_types_of_the_task(butler):
    for name, definition in TYPES.items():
        found = butler.get_dataset_type(name)
        assert set(found.dimensions.required) == set(definition.dimensions), name
        assert found.storageClass_name == definition.storage_class, name
        assert found.isCalibration() == (name in CALIB_TYPES), name
    assert butler.get_dataset_type("flat").dimensions.required == {
        *("instrument", "physical_filter", "detector")
    }
    assert butler.get_dataset_type("bfKernel").storageClass_name == "NumpyArray"


def test_collections(butler):
    info = {name: butler.collections.get_info(name) for name in ("HSC/raw/all", "HSC/calib", "HSC/defaults")}
    assert [found.type for found in info.values()] == [
        CollectionType.RUN,
        CollectionType.CHAINED,
        CollectionType.CHAINED,
    ]
    assert info["HSC/defaults"].children == ("HSC/raw/all", "HSC/calib")


def test_configuration_holds_nothing_of_ours(empty_repository):
    text = (empty_repository / "butler.yaml").read_text()
    assert "pipeline" not in text
    assert yaml.safe_load(text)["datastore"]["root"] == "<butlerRoot>"
    assert "formatters" not in yaml.safe_load(text)["datastore"]


def test_again_changes_nothing(repository):
    before = dump(repository)
    assert create_repository(str(repository)) is False
    assert dump(repository) == before


def test_repository_can_be_moved(repository, tmp_path):
    moved = tmp_path / "elsewhere"
    shutil.move(repository, moved)
    with open_repository(str(moved)) as butler:
        assert butler.query_dimension_records("instrument")[0].name == "HSC"


def test_incomplete_one_is_completed(tmp_path):
    """What `butler create` makes, or an attempt that was killed."""
    Butler.makeRepo(str(tmp_path / "repo"))
    assert create_repository(str(tmp_path / "repo")) is False
    with open_repository(str(tmp_path / "repo")) as butler:
        assert butler.collections.get_info("HSC/defaults").children == ("HSC/raw/all", "HSC/calib")
        assert len(butler.query_dimension_records("detector", instrument="HSC")) == 112


def test_other_things_in_the_directory_stay(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    assert create_repository(str(tmp_path)) is True
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_repository_of_another_instrument_is_refused(tmp_path):
    Butler.makeRepo(str(tmp_path))
    with Butler.from_config(str(tmp_path), writeable=True) as butler:
        record = {"name": "DECam", "class_name": "x", "visit_max": 1, "exposure_max": 1, "detector_max": 1}
        butler.registry.syncDimensionData("instrument", record)
    before = dump(tmp_path)
    with pytest.raises(RepositoryError, match=r"another instrument \(DECam\).*register-instrument"):
        create_repository(str(tmp_path))
    assert dump(tmp_path) == before


def test_failure_leaves_nothing(tmp_path, monkeypatch):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "notes.txt").write_text("mine")

    def fail(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pipeline.repository.complete_repository", fail)
    for name in ("new", "there"):
        with pytest.raises(RepositoryError, match=r"what was written is removed: OSError.*No space left"):
            create_repository(str(tmp_path / name))
    assert [path.name for path in tmp_path.rglob("*")] == ["there", "notes.txt"]


def test_interruption_leaves_nothing(tmp_path, monkeypatch):
    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr("pipeline.repository.complete_repository", interrupt)
    with pytest.raises(KeyboardInterrupt):
        create_repository(str(tmp_path / "new"))
    assert list(tmp_path.iterdir()) == []


def test_another_process_that_was_first_is_left_alone(tmp_path, monkeypatch):
    """It makes butler.yaml between our look and our writing."""
    make = Butler.makeRepo
    root = tmp_path / "repo"

    def both(*args, **options):
        make(*args, **options)
        return make(*args, **options)

    monkeypatch.setattr(Butler, "makeRepo", both)
    with pytest.raises(RepositoryError, match="another process makes a repository there"):
        create_repository(str(root))
    assert {path.name for path in root.iterdir()} == {"butler.yaml", "gen3.sqlite3"}


def test_conflicting_dataset_type(tmp_path):
    from lsst.daf.butler import DatasetType

    Butler.makeRepo(str(tmp_path))
    with Butler.from_config(str(tmp_path), writeable=True) as butler:
        wrong = DatasetType("bias", ("instrument",), "ExposureF", universe=butler.dimensions)
        butler.registry.registerDatasetType(wrong)
        with pytest.raises(RepositoryError, match=r"differs from this version's definition.*bias"):
            complete_repository(butler)


@pytest.mark.parametrize(
    ("root", "options", "message"),
    [
        ("{tmp}", {"schema": "hsc"}, "--schema is of a database server; give --db"),
        ("{tmp}", {"db": "sqlite:///x"}, "expected postgresql://host"),
        ("{tmp}", {"db": "nonsense"}, "not an address; expected postgresql://host"),
        ("{tmp}", {"db": "postgresql:///db"}, "expected postgresql://host"),
        (
            "{tmp}",
            {"db": "postgresql://u:secret@host/db"},
            r"u:\*\*\*@host/db: the password would be readable",
        ),
        (
            "{tmp}",
            {"db": "postgresql://127.0.0.1:1/db"},
            "Database db at 127.0.0.1:1 .*no server answers there",
        ),
    ],
)
def test_wrong_places_are_refused_before_anything_is_written(tmp_path, root, options, message):
    with pytest.raises(RepositoryError, match=message):
        create_repository(root.format(tmp=tmp_path / "new"), **options)
    assert list(tmp_path.iterdir()) == []


def test_object_store_needs_a_database(s3_bucket):
    with pytest.raises(RepositoryError, match="needs a database server: --db postgresql"):
        create_repository(f"{s3_bucket}/x")


def test_place_that_is_a_file(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ObjectError, match="is a file"):
        create_repository(str(tmp_path / "file"))


def test_credentials_that_others_may_read(tmp_path, monkeypatch):
    path = tmp_path / "db-auth.yaml"
    path.write_text("- url: postgresql://127.0.0.1/db\n  username: u\n  password: p\n")
    path.chmod(0o644)
    monkeypatch.setenv("LSST_DB_AUTH", str(path))
    with pytest.raises(RepositoryError, match=f"others may read it. Run: chmod 600 {path}"):
        create_repository(str(tmp_path / "new"), db="postgresql://127.0.0.1/db")


def test_existing_repository_with_another_database(repository):
    with pytest.raises(RepositoryError, match=r"with another database \(sqlite:///<butlerRoot>/gen3"):
        create_repository(str(repository), db="postgresql://host/db")


def test_opening_what_is_not_there(tmp_path):
    with (
        pytest.raises(RepositoryError, match=r"no Butler repository.*isr-repo create"),
        open_repository(str(tmp_path)),
    ):
        pass


def test_opening_an_empty_bucket_names_what_can_be_made(monkeypatch):
    def fail(*_: object, **__: object) -> None:
        raise FileNotFoundError

    monkeypatch.setattr(Butler, "from_config", fail)
    with (
        pytest.raises(
            RepositoryError, match="isr-repo create --db postgresql://HOST/DATABASE --root s3://b/r"
        ),
        open_repository("s3://b/r"),
    ):
        pass


def test_opening_what_is_damaged(repository):
    (repository / "gen3.sqlite3").write_bytes(b"not a database" * 1000)
    with (
        pytest.raises(RepositoryError, match=r"cannot be opened for writing.*file is not a database"),
        open_repository(str(repository)),
    ):
        pass


@pytest.mark.parametrize(
    ("error", "parts"),
    [
        (
            OperationalError(
                "INSERT INTO opaque_meta", {}, Exception("attempt to write a readonly database")
            ),
            ["cannot be written: ", "attempt to write", "Ask the owner"],
        ),
        (
            ProgrammingError("INSERT INTO opaque_meta", {}, Exception("permission denied for table x")),
            ["cannot be written: ", "permission denied for table x", "Ask the owner"],
        ),
        (
            OperationalError("SELECT 1", {}, Exception("connection refused")),
            ["does not answer: ", "connection refused", "LSST_DB_AUTH"],
        ),
        (RuntimeError("something\nelse"), ["RuntimeError: something else."]),
    ],
    ids=["read-only", "role that may only read", "down", "other"],
)
def test_opening_what_is_whole_but_cannot_be_written(repository, monkeypatch, error, parts):
    """Nothing is said that would lead a user to remove it."""

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(Butler, "from_config", fail)
    with pytest.raises(RepositoryError) as raised, open_repository(str(repository)):
        pass
    assert f"{repository}: the repository cannot be opened for writing." in str(raised.value)
    assert [part for part in parts if part not in str(raised.value)] == []
    assert not [word for word in ("remove", "SQL", "again") if word in str(raised.value)]


def test_opening_what_was_interrupted(repository):
    (repository / "gen3.sqlite3").write_bytes(b"")
    with (
        pytest.raises(RepositoryError, match=r"no tables of a repository.*remove its butler.yaml"),
        open_repository(str(repository)),
    ):
        pass


def test_chains(butler):
    make_chain(butler, "calib", ("HSC/calib",))
    make_chain(butler, "calib", ("HSC/raw/all", "HSC/calib"))
    assert butler.collections.get_info("calib").children == ("HSC/calib", "HSC/raw/all")
    with pytest.raises(RepositoryError, match="HSC/raw/all is a RUN collection, expected a chain"):
        make_chain(butler, "HSC/raw/all", ("HSC/calib",))
