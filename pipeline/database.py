"""The PostgreSQL database of a shared repository: checks before it is used, and tidying up."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.errors import RepositoryError

if TYPE_CHECKING:
    from sqlalchemy.engine import URL, Connection

__all__ = ["DatabaseState", "check_database", "drop_new_tables"]

TIMEOUT = 10  # seconds until a connection must be there
BUTLER_TABLE = "butler_attributes"

# What the server's or libpq's messages mean and what to do.
_MEANINGS = (
    ("password authentication failed", "the password is wrong. Correct it in the file that {auth}."),
    ("no password supplied", "no password was given. Put it into the file that {auth}."),
    ("Connection refused", "no server answers there. Start it, or check host and port."),
    ("resolve", "there is no such host. Check the address."),
    ("translate host name", "there is no such host. Check the address."),
    ("timeout", "the server does not answer in time. Check host, port, network and firewall."),
    ("no pg_hba.conf entry", "the server does not let this user in from here. Ask its administrator."),
)


@dataclass(frozen=True, slots=True)
class DatabaseState:
    """What was there before a repository was made.

    Attributes
    ----------
    url : `str`
        Address of the database, without password.
    schema : `str`
        Schema that tables go to.
    has_schema : `bool`
        Whether the schema was there.
    """

    url: str
    schema: str
    has_schema: bool


def check_database(url: str, schema: str | None = None) -> DatabaseState:
    """Check that a new repository can be made in a PostgreSQL database; nothing is changed.

    Parameters
    ----------
    url : `str`
        ``postgresql://[user@]host[:port]/database``. User and password come from
        the file that ``LSST_DB_AUTH`` names, as for all of LSST's tools.
    schema : `str`, optional
        Schema for the tables; it need not exist. By default the user's own.

    Returns
    -------
    state : `DatabaseState`
        What is there, for `drop_new_tables`.

    Raises
    ------
    RepositoryError
        If the address is no such address, the database cannot be reached or
        entered, lacks btree_gist, may not be written, or the schema has tables.
    """
    _check_address(url)
    with _connected(url) as connection:
        from sqlalchemy import inspect, text

        where = _where(connection.engine.url)
        if not connection.scalar(text("SELECT count(*) FROM pg_extension WHERE extname = 'btree_gist'")):
            raise RepositoryError(
                f"{where}: the extension btree_gist, which Butler needs, is not installed in this database. "
                "Let an administrator run in it: CREATE EXTENSION btree_gist;"
            )
        schema = schema or connection.scalar(text("SELECT current_schema()"))
        if schema is None:
            raise RepositoryError(f"{where}: this user has no schema there; name one with --schema.")
        inspector = inspect(connection)
        has_schema = schema in inspector.get_schema_names()
        if has_schema:
            right = text("SELECT has_schema_privilege(:name, 'CREATE')").bindparams(name=schema)
        else:
            right = text("SELECT has_database_privilege(current_database(), 'CREATE')")
        if not connection.scalar(right):
            thing = f"tables in schema {schema}" if has_schema else f"the schema {schema}"
            raise RepositoryError(
                f"{where}: this user may not make {thing}. Ask an administrator for the right, or give "
                "another --schema."
            )
        tables = inspector.get_table_names(schema=schema) if has_schema else []
    if BUTLER_TABLE in tables:
        raise RepositoryError(
            f"{where}: schema {schema} holds the registry of a Butler repository already, whose butler.yaml "
            "is elsewhere. Give another --schema."
        )
    if tables:
        raise RepositoryError(
            f"{where}: schema {schema} has {len(tables)} tables that are not Butler's "
            f"({', '.join(sorted(tables)[:3])} ...). Give another --schema, e.g. --schema hsc."
        )
    return DatabaseState(url, schema, has_schema)


def drop_new_tables(state: DatabaseState) -> None:
    """Remove all tables of a schema that was empty, or the schema if it was not there."""
    with _connected(state.url) as connection:
        from sqlalchemy import inspect
        from sqlalchemy.schema import DropSchema, DropSequence, MetaData, Sequence

        if not state.has_schema:
            connection.execute(DropSchema(state.schema, cascade=True, if_exists=True))
        else:
            inspector = inspect(connection)
            metadata = MetaData(schema=state.schema)
            metadata.reflect(connection)
            metadata.drop_all(connection)
            for name in inspector.get_sequence_names(schema=state.schema):
                connection.execute(DropSequence(Sequence(name, schema=state.schema), if_exists=True))
        connection.commit()


def _check_address(url: str) -> None:
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise RepositoryError("--db: not an address; expected postgresql://host[:port]/database.") from None
    if parsed.get_backend_name() != "postgresql" or not parsed.host or not parsed.database:
        raise RepositoryError(
            f"--db {parsed.render_as_string()}: expected postgresql://host[:port]/database. A repository "
            "without --db uses SQLite."
        )
    if parsed.password is not None:
        raise RepositoryError(
            f"--db {parsed.render_as_string()}: the password would be readable in butler.yaml. Put it into "
            f"the file that {_auth_file()}, and leave it out here."
        )


@contextmanager
def _connected(url: str) -> Iterator[Connection]:
    from lsst.daf.butler.registry import RegistryConfig
    from lsst.daf.butler.registry.connectionString import ConnectionStringFactory
    from lsst.utils.db_auth import DbAuthError, DbAuthPermissionsError
    from sqlalchemy import create_engine
    from sqlalchemy.exc import NoSuchModuleError, OperationalError
    from sqlalchemy.pool import NullPool

    config = RegistryConfig()
    config["db"] = url
    try:
        full_url = ConnectionStringFactory.fromConfig(config)
        engine = create_engine(full_url, poolclass=NullPool, connect_args={"connect_timeout": TIMEOUT})
    except DbAuthPermissionsError as error:
        raise RepositoryError(f"{error}: others may read it. Run: chmod 600 {_auth_path()}") from None
    except DbAuthError as error:
        raise RepositoryError(f"{url}: {error} Correct the file that {_auth_file()}.") from None
    except (NoSuchModuleError, ModuleNotFoundError) as error:
        raise RepositoryError(f"--db needs a driver: pip install 'hsc-isr[butler]' ({error}).") from None
    try:
        connection = engine.connect()
    except OperationalError as error:
        raise RepositoryError(f"{_where(full_url)}: {_meaning(str(error.orig))}") from None
    try:
        yield connection
    finally:
        connection.close()
        engine.dispose()


def _where(url: URL) -> str:
    user = f"user {url.username}" if url.username else "no user given"
    port = f":{url.port}" if url.port else ""
    return f"Database {url.database} at {url.host}{port} ({user})"


def _auth_path() -> str:
    return os.environ.get("LSST_DB_AUTH", "~/.lsst/db-auth.yaml")


def _auth_file() -> str:
    note = "" if "LSST_DB_AUTH" in os.environ else "not set: "
    return f"LSST_DB_AUTH names ({note}{_auth_path()})"


def _meaning(message: str) -> str:
    for pattern, meaning in _MEANINGS:
        if pattern in message:
            return meaning.format(auth=_auth_file())
    if "database" in message and "does not exist" in message:
        return "there is no such database. Check its name, or run: createdb NAME"
    if "role" in message and "does not exist" in message:
        return f"there is no such user. Correct it in the address or in the file that {_auth_file()}."
    return f"cannot be entered: {' '.join(message.split())}"
