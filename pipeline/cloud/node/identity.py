"""What a node knows of itself: the start script tells the processes that come after it."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from typing import Self

from pipeline.cloud.aws import Account
from pipeline.cloud.names import Place, parse_place
from pipeline.cloud.store import Store

__all__ = ["Identity"]

_VARIABLE = "ISR_NODE"


@dataclass(frozen=True)
class Identity:
    """The cluster that a node belongs to.

    Attributes
    ----------
    cluster, cluster_id : `str`
        Name and id of the cluster.
    state : `str`
        The place, ``s3://BUCKET/PREFIX``.
    region : `str`
        AWS region.
    instance : `str`
        Id of the EC2 instance.
    """

    cluster: str
    cluster_id: str
    state: str
    region: str
    instance: str

    @property
    def place(self) -> Place:
        """Where the state of the cluster is kept."""
        return parse_place(self.state)

    def account(self) -> Account:
        """Return the account, with the credentials of the instance's role."""
        return Account(self.region)

    def store(self) -> Store:
        """Return the objects of the cluster."""
        return Store(self.account(), self.place, self.cluster)

    def environment(self) -> dict[str, str]:
        """Return the variable by which child processes know it."""
        return {_VARIABLE: json.dumps(asdict(self))}

    @classmethod
    def of_environment(cls) -> Self:
        """Return what `environment` has written."""
        return cls(**json.loads(os.environ[_VARIABLE]))
