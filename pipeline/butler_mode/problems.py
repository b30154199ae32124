"""What a user is told about errors of databases, object stores and LSST's packages."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator

from isr.errors import IsrError

__all__ = ["explain"]

_QUERY_HELP = (
    "An example of a query: -d \"exposure=903334 AND detector IN (22, 23)\"; strings are quoted, 'HSC-R'. "
    "Names are those of dimensions (exposure, visit, detector, physical_filter, band, day_obs) "
    "or of their fields (exposure.exposure_time)."
)
_DATABASE_HELP = (
    "Is the server up, and are user and password right? They come from the file that LSST_DB_AUTH names "
    "(default ~/.lsst/db-auth.yaml, mode 0600) or from the URL in butler.yaml."
)
_S3_HELP = (
    "Credentials are found as by any AWS client: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
    "AWS_PROFILE, ~/.aws, or the role of the machine; for a server that is not Amazon's, set S3_ENDPOINT_URL."
)


def explain(error: BaseException) -> str | None:
    """Return a message for an error that a user can mend, `None` for others.

    Parameters
    ----------
    error : `BaseException`
        What was raised; its causes are looked at, too.

    Returns
    -------
    message : `str` or `None`
        What went wrong and what to do.
    """
    for cause in _causes(error):
        for rule in (_ours, _database, _object_store, _system, _butler, _pipeline):
            if message := rule(cause):
                return message
    return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what it was raised from, outermost first."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or current.__context__


def _kind(error: BaseException) -> tuple[str, str]:
    """Return package and class name: comparing them needs no import of optional packages."""
    return type(error).__module__.partition(".")[0], type(error).__name__


def _text(error: BaseException) -> str:
    """Return an error's message on one line, without what SQLAlchemy adds."""
    text = str(error.args[0] if error.args else error)
    text = re.split(r"\n?\[SQL:|\n?\(Background on", text)[0]
    return " ".join(text.split()).rstrip(".?")


def _ours(error: BaseException) -> str | None:
    if isinstance(error, IsrError):
        return str(error)
    if _kind(error)[1] == "RepeatableQuantumError":
        return str(error)
    if isinstance(error, FileNotFoundError) and str(error).startswith("No ") and "isr-repo" in str(error):
        return str(error)  # pipeline.missing_calibs
    return None


def _database(error: BaseException) -> str | None:
    package, name = _kind(error)
    if name == "DbAuthPermissionsError":
        return f"{_text(error)}; chmod 0600 the file."
    if name.startswith("DbAuth"):
        return f"{_text(error)}. {_DATABASE_HELP}"
    if package != "sqlalchemy":
        return None
    text = _text(error)
    if "butler_attributes" in text and ("no such table" in text or "does not exist" in text):
        return (
            f"The database has no tables of a repository: {text}. Do database and schema in butler.yaml "
            "name the right one? If making the repository was interrupted, remove its butler.yaml and make "
            "it again."
        )
    if "disk is full" in text or "No space left" in text:
        return f"The disk of the database is full: {text}. Make room and give the same command again."
    if any(words in text for words in ("readonly database", "read-only", "permission denied")):
        return f"The database cannot be written: {text}. Ask the owner of the repository for the right to."
    if "database is locked" in text:
        return (
            f"The SQLite database is busy: {text}. Give the same command again, or use PostgreSQL "
            "for a repository that many processes write to."
        )
    if name in ("OperationalError", "InterfaceError"):
        return f"The database of the repository does not answer: {text}. {_DATABASE_HELP}"
    return None


def _object_store(error: BaseException) -> str | None:
    package, name = _kind(error)
    if package != "botocore":
        return None
    if name in ("NoCredentialsError", "PartialCredentialsError", "TokenRetrievalError", "ProfileNotFound"):
        return f"No credentials for S3: {_text(error)}. {_S3_HELP}"
    if name in ("EndpointConnectionError", "ConnectTimeoutError", "ConnectionClosedError"):
        return f"S3 does not answer: {_text(error)}. {_S3_HELP}"
    if isinstance(response := getattr(error, "response", None), dict):
        told = response.get("Error", {})
        code = str(told.get("Code", ""))
        path = "/".join(str(told[name]) for name in ("BucketName", "Key") if told.get(name))
        where = f" (s3://{path})" if path else ""
        if code in ("NoSuchBucket", "404", "NoSuchKey"):
            return (
                f"S3 has no such bucket or object{where}: {_text(error)}. Is the name in butler.yaml right?"
            )
        if code in ("AccessDenied", "403", "Forbidden"):  # a HEAD tells no more than its status
            return (
                f"S3 does not allow this{where}: {_text(error)}. The credentials lack the right (to write?), "
                f"or are wrong. {_S3_HELP}"
            )
        return f"S3 refuses{where}: {_text(error)}. {_S3_HELP}"
    return f"S3: {_text(error)}. {_S3_HELP}"


def _system(error: BaseException) -> str | None:
    if not isinstance(error, OSError) or error.errno is None:
        return None
    where = f" {error.filename}" if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"The disk is full:{where} {error.strerror}. Make room and give the same command again."
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return (
            f"Not allowed:{where}: {error.strerror}. Ask the owner of the repository for the right to write."
        )
    if error.errno == errno.ENOENT:
        return f"Not there:{where}: {error.strerror}."
    return None


def _butler(error: BaseException) -> str | None:
    package, name = _kind(error)
    if package != "lsst":
        return None
    text = _text(error)
    if name in ("InvalidQueryError", "UserExpressionError", "UserExpressionSyntaxError", "ParserYaccError"):
        return f"The query (-d) is not understood: {text}. {_QUERY_HELP}"
    if name in ("MissingCollectionError", "CollectionTypeError", "CollectionCycleError"):
        return f"{text}. `butler query-collections REPO` lists what is there."
    if name in ("MissingDatasetTypeError", "DatasetNotFoundError", "DatasetTypeError"):
        return (
            f"{text}. `butler query-dataset-types REPO` lists what is there; those of a pipeline's output "
            "are registered by its first run, or by --init-only."
        )
    if name in ("DataIdValueError", "DimensionNameError", "InconsistentDataIdError", "DimensionValueError"):
        return f"The query (-d) does not fit the repository: {text}. {_QUERY_HELP}"
    if name == "OutputExistsError":
        return f"{text}. Leave --extend-run and --skip-existing away, or add --clobber-outputs."
    if name in ("IncompatibleVersionError", "MissingManagerError", "ManagerMismatchError"):
        return (
            f"The repository was made by another version of LSST's Butler than the one installed: {text}. "
            "Install the version that made it, or ask its owner to migrate it (butler migrate)."
        )
    if name in ("ConflictingDefinitionError", "RepositoryError"):
        return f"{text}. Is another command writing to the same RUN?"
    return None


def _pipeline(error: BaseException) -> str | None:
    package, name = _kind(error)
    if package == "lsst" and name in ("FieldValidationError", "FieldTypeNotSpecifiedError"):
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        return f"Configuration: {lines[0]}."
    return None
