"""Butler repositories for HSC: making, completing, describing them."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lsst.daf.butler import Butler, CollectionType, Config
from lsst.daf.butler.registry import ConflictingDefinitionError
from lsst.resources import ResourcePath

from isr.errors import IsrError
from pipeline import objects
from pipeline.butler_mode.problems import explain
from pipeline.certify import collection_type
from pipeline.database import DatabaseState, check_database, drop_new_tables
from pipeline.dataset_types import TYPES, dataset_type
from pipeline.errors import RepositoryError
from pipeline.instrument import CLASS_NAME, NAME, HyperSuprimeCam

__all__ = [
    "CALIBS",
    "DEFAULTS",
    "RAWS",
    "complete_repository",
    "create_repository",
    "make_chain",
    "open_repository",
]

log = logging.getLogger(__name__)

RAWS = "HSC/raw/all"
CALIBS = "HSC/calib"
DEFAULTS = "HSC/defaults"
CONFIG_NAME = "butler.yaml"


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a new repository goes, and what was there before."""

    root: ResourcePath
    has_root: bool
    database: DatabaseState | None


def create_repository(root: str, *, db: str | None = None, schema: str | None = None) -> bool:
    """Make a Butler repository for HSC, or complete one that is there.

    Everything that can be checked is checked before anything is written; if
    something fails later, what was written is removed.

    Parameters
    ----------
    root : `str`
        Directory, or ``s3://bucket/prefix``, for butler.yaml and files.
    db : `str`, optional
        ``postgresql://host/database`` of the registry; by default it is an
        SQLite file in the directory.
    schema : `str`, optional
        Schema of the tables in that database.

    Returns
    -------
    is_new : `bool`
        False if it was there.

    Raises
    ------
    RepositoryError
        If something there is not a repository of HSC, or the database is not
        ready.
    ObjectError
        If the place cannot be written.
    """
    if db is None and schema is not None:
        raise RepositoryError("--schema is of a database server; give --db, too.")
    if objects.exists(objects.join(root, CONFIG_NAME)):
        _check_same_database(root, db, schema)
        with open_repository(root) as butler:
            _check_is_hscs(butler, root)
            complete_repository(butler)
        return False
    if db is None and objects.is_remote(root):
        raise RepositoryError(
            f"{root}: a repository in an object store needs a database server: --db postgresql://host/database."
        )
    place = _check_place(root, db, schema)
    config = Config()
    if db is not None:
        config["registry", "db"] = db
        if schema is not None:
            config["registry", "namespace"] = schema
    _make(place, config)
    return True


@contextmanager
def open_repository(root: str, *, collections: object = None) -> Iterator[Butler]:
    """Open a repository for writing, with errors that say what to do.

    Parameters
    ----------
    root : `str`
        Directory or URI of the repository, or of its butler.yaml.
    collections : `object`, optional
        Default collections.

    Raises
    ------
    RepositoryError
        If it cannot be opened.
    """
    try:
        butler = Butler.from_config(root, writeable=True, collections=collections)
    except FileNotFoundError:
        db = "--db postgresql://HOST/DATABASE --root " if objects.is_remote(root) else ""
        raise RepositoryError(
            f"{root}: there is no Butler repository (no {CONFIG_NAME}). Make one with: "
            f"isr-repo create {db}{root}"
        ) from None
    except IsrError:
        raise
    except Exception as error:  # of database drivers, credentials, schema versions
        reason = explain(error) or f"{type(error).__name__}: {_one_line(error)}"
        raise RepositoryError(f"{root}: the repository cannot be opened for writing. {reason}") from error
    with butler:
        yield butler


def complete_repository(butler: Butler) -> None:
    """Register HSC, the dataset types of the ISR, and the usual collections; what is there stays.

    Raises
    ------
    RepositoryError
        If something is there with another definition.
    """
    try:
        HyperSuprimeCam().register(butler.registry)
        for name in TYPES:
            butler.registry.registerDatasetType(dataset_type(name, butler.dimensions))
    except ConflictingDefinitionError as error:
        raise RepositoryError(
            f"The repository has something that differs from this version's definition: {_one_line(error)} "
            "If it is the instrument: butler register-instrument --update."
        ) from error
    if collection_type(butler, RAWS) is None:
        butler.collections.register(RAWS)
    if collection_type(butler, CALIBS) is None:
        butler.collections.register(CALIBS, CollectionType.CHAINED)
    make_chain(butler, DEFAULTS, (RAWS, CALIBS))


def make_chain(butler: Butler, name: str, children: tuple[str, ...]) -> None:
    """Make a chain, or append what an existing one lacks.

    Raises
    ------
    RepositoryError
        If there is a collection of that name that is no chain.
    """
    found = collection_type(butler, name)
    if found is None:
        butler.collections.register(name, CollectionType.CHAINED)
    elif found is not CollectionType.CHAINED:
        raise RepositoryError(f"Collection {name} is a {found.name} collection, expected a chain; rename it.")
    present = butler.collections.get_info(name).children
    missing = [child for child in children if child not in present]
    if missing:
        butler.collections.extend_chain(name, missing)


def _check_is_hscs(butler: Butler, root: str) -> None:
    names = [str(record.name) for record in butler.query_dimension_records("instrument", explain=False)]
    if names and NAME not in names:
        raise RepositoryError(
            f"{root}: there is a Butler repository of another instrument ({', '.join(names)}). Choose "
            f"another place, or add HSC to it with: butler register-instrument REPO {CLASS_NAME}"
        )


def _check_same_database(root: str, db: str | None, schema: str | None) -> None:
    """Refuse to complete a repository if another database was asked for."""
    if db is None:
        return
    config = Config(ResourcePath(root, forceDirectory=True).join(CONFIG_NAME))
    found = config.get(("registry", "db")), config.get(("registry", "namespace"))
    if found[0] != db or (schema is not None and found[1] != schema):
        raise RepositoryError(
            f"{root}: there is a repository with another database ({found[0]}, schema {found[1]}). Leave "
            "--db and --schema out to complete it, or choose another place."
        )


def _check_place(root: str, db: str | None, schema: str | None) -> _Place:
    objects.check_writable(root)
    uri = ResourcePath(root, forceDirectory=True)
    has_root = uri.exists()
    if objects.is_remote(root):
        probe = objects.join(root, f".isr-repo-create-{secrets.token_hex(8)}")
        objects.write_bytes(probe, b"", overwrite=True)
        ResourcePath(probe).remove()
        if not has_root and uri.exists():  # some servers make an object for the directory, and keep it
            uri.remove()
    return _Place(uri, has_root, check_database(db, schema) if db is not None else None)


def _make(place: _Place, config: Config) -> None:
    config_uri = place.root.join(CONFIG_NAME)
    has_tables = False
    try:
        Butler.makeRepo(place.root, config=config)
        has_tables = True
        with Butler.from_config(place.root, writeable=True) as butler:
            complete_repository(butler)
    except FileExistsError:  # of butler.yaml, the first that is written: it is another's
        raise RepositoryError(
            f"{place.root}: another process makes a repository there now. Run this again when it is done."
        ) from None
    except BaseException as error:
        _remove(place, config_uri, has_tables=has_tables)
        if isinstance(error, IsrError) or not isinstance(error, Exception):
            raise
        raise RepositoryError(
            f"{place.root}: making the repository failed, and what was written is removed: "
            f"{type(error).__name__}: {_one_line(error)}"
        ) from error


def _remove(place: _Place, config_uri: ResourcePath, *, has_tables: bool) -> None:
    """Remove what a failed attempt wrote."""
    try:
        if place.database is not None:
            if has_tables:  # else they were rolled back, or are another's
                drop_new_tables(place.database)
        else:
            _remove_file(place.root.join("gen3.sqlite3"))
        _remove_file(config_uri)
        if not place.has_root and place.root.exists():
            _remove_directory(place.root)
    except Exception as error:
        log.warning("%s: could not be tidied up: %s. Remove %s yourself.", place.root, error, config_uri)


def _remove_file(uri: ResourcePath) -> None:
    if uri.exists():
        uri.remove()


def _remove_directory(directory: ResourcePath) -> None:
    """Remove a directory if it is empty, or the object that stands for a directory."""
    if not directory.isLocal:
        directory.remove()
    elif not any(Path(directory.ospath).iterdir()):
        Path(directory.ospath).rmdir()


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text if text.endswith((".", "!", "?")) else f"{text}."
