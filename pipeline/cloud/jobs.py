"""Jobs of a cluster: ``isr-run`` command lines that the head executes, as objects in the place.

Whoever may write to the place may let the head run ``isr-run``, whose
configuration files are Python: the right to write there is the right to use
the roles of the cluster's instances.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from pipeline.cloud.aws import Account, explained
from pipeline.cloud.names import Place
from pipeline.cloud.store import Store
from pipeline.errors import CloudError

__all__ = [
    "RESERVED",
    "Job",
    "JobError",
    "Jobs",
    "check_id",
    "file_name",
    "filled",
    "key",
    "new_id",
    "placeholder",
]

RESERVED = (
    "dask",
    "status-file",
    "options-file",
    "pdb",
    "state",
    "region",
    "detach",
    "follow",
    "cancel",
)
"""Options that no job may have: the head sets them, or they are of the machine of the user."""

_WITH_FILES = ("config-file", "pipeline", "qgraph", "data-id-table", "retained-dataset-types")
"""Options whose values may name files that came with the job; the text of others is the user's."""

_ID = re.compile("[0-9]{8}T[0-9]{6}-[0-9a-f]{6}")
_OPTION = re.compile("--([a-z][a-z-]*)(=.*)?", re.DOTALL)
_FILE = re.compile("[0-9]{1,3}-[A-Za-z0-9_.-]{1,100}")
_LONGEST = 100_000  # characters of all arguments
_LATEST = 1e11  # seconds since 1970


class JobError(CloudError):
    """A job that cannot be executed, whoever tries."""


def new_id() -> str:
    """Return an id for a job; ids sort by time."""
    return f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{secrets.token_hex(3)}"


def check_id(text: str) -> str:
    """Return a text if it can be the id of a job.

    Raises
    ------
    CloudError
        If not.
    """
    if not _ID.fullmatch(text):
        raise CloudError(f"{text!r} is not the id of a job; expected one like 20261130T101500-ab12cd.")
    return text


def key(job: str, name: str = "") -> str:
    """Return the key of an object of a job, relative to those of the cluster."""
    return f"jobs/{job}/{name}"


def file_name(number: int, path: str) -> str:
    """Return under what name a local file goes to the place."""
    return f"{number}-{re.sub('[^A-Za-z0-9_.-]', '_', path.rpartition('/')[2])[-100:]}"


def placeholder(name: str) -> str:
    """Return what stands for the path of a file in the arguments, until the head knows it."""
    return f"{{isr-file:{name}}}"


def filled(argument: str, paths: Mapping[str, str]) -> str:
    """Return an argument with the paths of files where placeholders are."""
    if argument.partition("=")[0].removeprefix("--") in _WITH_FILES:
        for name, path in paths.items():
            argument = argument.replace(placeholder(name), path)
    return argument


@dataclass(frozen=True)
class Job:
    """A command line for the head.

    Attributes
    ----------
    id, cluster_id : `str`
        Its id, and that of the cluster that is to do it.
    arguments : `tuple` [`str`, ...]
        Options of ``isr-run -b``, each ``--name`` or ``--name=value``, in the order in which they were given.
    files : `dict` [`str`, `str`]
        Names of files that came with it, and what they were called.
    owner : `str`
        ARN of who submitted it.
    submitted : `float`
        When, in seconds since 1970.
    """

    id: str
    cluster_id: str
    arguments: tuple[str, ...]
    files: dict[str, str]
    owner: str
    submitted: float

    def to_json(self) -> dict[str, Any]:
        """Return the document."""
        return asdict(self)

    @classmethod
    def of_json(cls, job: str, document: Mapping[str, Any]) -> Self:
        """Return the job that a document describes; anybody may have written it.

        Raises
        ------
        JobError
            If it is not what ``isr-run`` writes.
        """
        arguments, files = document.get("arguments"), document.get("files", {})
        if (
            not isinstance(arguments, list)
            or not all(isinstance(argument, str) and "\0" not in argument for argument in arguments)
            or sum(map(len, arguments)) > _LONGEST
        ):
            raise JobError(f"The job {job} is damaged: its arguments are not a list of texts.")
        for argument in arguments:
            match = _OPTION.fullmatch(argument)
            if not match or match[1] in RESERVED:
                raise JobError(f"The job {job} is refused: {argument.partition('=')[0]!r} is not for jobs.")
        if not isinstance(files, dict) or not all(_FILE.fullmatch(str(name)) for name in files):
            raise JobError(f"The job {job} is damaged: {files!r} are not names of files.")
        submitted = document.get("submitted", 0.0)
        # As a key to sort by, NaN would do harm; and integers of JSON may be too large for a float.
        if not isinstance(submitted, int | float) or not 0 <= submitted < _LATEST:
            raise JobError(f"The job {job} is damaged: {submitted!r} is not the time of its submission.")
        return cls(
            id=check_id(job),
            cluster_id=str(document.get("cluster_id", "")),
            arguments=tuple(arguments),
            files={str(name): str(path) for name, path in files.items()},
            owner=str(document.get("owner", "")),
            submitted=float(submitted),
        )


class Jobs:
    """The jobs of a cluster.

    Parameters
    ----------
    account : `~pipeline.cloud.aws.Account`
        Whose S3.
    place : `~pipeline.cloud.names.Place`
        Place of the cluster.
    name : `str`
        Name of the cluster.
    """

    def __init__(self, account: Account, place: Place, name: str) -> None:
        self.store = Store(account, place, name)
        self._s3, self._bucket = account.client("s3"), place.bucket
        self._prefix = f"{place.cluster(name)}jobs/"

    def ids(self) -> list[str]:
        """Return the ids of all jobs, oldest first, also of those that are being submitted."""
        found: list[str] = []
        with explained(f"list {self.store.uri('jobs/')}"):
            pages = self._s3.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=self._prefix, Delimiter="/"
            )
            for page in pages:
                found += [folder["Prefix"] for folder in page.get("CommonPrefixes", ())]
        names = (prefix.removeprefix(self._prefix).rstrip("/") for prefix in found)
        return sorted(name for name in names if _ID.fullmatch(name))

    def submit(self, job: Job, files: Mapping[str, bytes]) -> None:
        """Write a job: its files first, so that who sees the job finds all of it."""
        for name, content in files.items():
            self.store.write(key(job.id, f"files/{name}"), content)
        self.store.write(key(job.id, "job.json"), job.to_json())

    def read(self, job: str) -> dict[str, Any] | None:
        """Return the document of a job; `None` if it is not (yet) there.

        Raises
        ------
        JobError
            If it is not what `submit` writes.
        """
        return self._read(key(job, "job.json"))

    def state(self, job: str) -> dict[str, Any]:
        """Return what the head has written of a job: ``"state"`` and, at the end, ``"exit_code"``.

        Raises
        ------
        JobError
            If that is damaged.
        """
        return {"state": "waiting"} | (self._read(key(job, "state.json")) or {})

    def _read(self, name: str) -> dict[str, Any] | None:
        """Return a JSON object; that it is none is a fault of the job, not of S3."""
        found = self.store.read(name)
        try:
            return None if found is None else self.store.parse(name, found[0])
        except CloudError as error:
            raise JobError(str(error)) from None

    def write_state(self, job: str, state: str, **more: Any) -> None:
        """Write it."""
        document = {"state": state, "exit_code": None, "started": None, "ended": None, "error": ""}
        self.store.write(key(job, "state.json"), document | more)

    def cancel(self, job: str) -> None:
        """Ask the head to end a job."""
        self.store.write(key(job, "cancel"), b"")

    def is_cancelled(self, job: str) -> bool:
        """Tell whether somebody has asked for that."""
        return self.store.read(key(job, "cancel")) is not None
