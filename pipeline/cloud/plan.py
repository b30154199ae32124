"""What a cluster will be and what it can cost, before anything is started."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.cloud.prices import ADDRESS_HOUR, DISK_HOUR
from pipeline.errors import CloudError

__all__ = ["Plan", "check_budget", "in_words"]

_HOUR = 3600.0


@dataclass(frozen=True)
class Plan:
    """Machines, their prices, and how long they may run.

    Attributes
    ----------
    name : `str`
        Name of the cluster.
    head : `str`
        Instance type of the head, which is always on-demand.
    types : `tuple` [`str`, ...]
        Instance types of which the workers may be.
    workers : `int`
        Number of worker instances.
    spot, fallback : `bool`
        Whether they are spot instances, and whether on-demand ones may take their place.
    lease, idle : `int`
        Seconds until it ends whatever happens, and without work.
    on_demand, spot_now : `~collections.abc.Mapping` [`str`, `float`]
        Prices of an hour by type, in USD: the most, and what spot instances cost now.
    """

    name: str
    head: str
    types: tuple[str, ...]
    workers: int
    spot: bool
    fallback: bool
    lease: int
    idle: int
    on_demand: Mapping[str, float]
    spot_now: Mapping[str, float]

    def full_price(self, kind: str) -> float:
        """Return the most that an hour of an instance costs, with its disk and address, in USD."""
        return self.on_demand[kind] + ADDRESS_HOUR + DISK_HOUR

    @property
    def worker_prices(self) -> dict[str, float]:
        """The most that an hour of each type costs: a spot instance never costs more than on-demand."""
        return {kind: self.full_price(kind) for kind in self.types}

    @property
    def hourly(self) -> float:
        """The most that an hour of everything costs, in USD."""
        return self.full_price(self.head) + self.workers * max(self.worker_prices.values())

    @property
    def ceiling(self) -> float:
        """The most that the whole lease costs, in USD."""
        return self.hourly * self.lease / _HOUR

    def lines(self, budget: float | None, zones: int) -> list[str]:
        """Return what a user should read before saying yes."""
        market = "spot" if self.spot else "on-demand"
        if self.fallback:
            market += ", or on-demand where there is no spot capacity"
        lines = [
            f"Cluster {self.name}: 1 head {self.head} (on-demand) + {self.workers} x "
            f"{' or '.join(self.types)} ({market}), in any of {zones} zones",
            f"  ends after {in_words(self.idle)} without work, after {in_words(self.lease)} whatever happens",
            f"  at most ${self.hourly:.3f} an hour, ${self.ceiling:.2f} for the whole lease"
            + (f" (budget ${budget:.2f})" if budget is not None else ""),
        ]
        if self.spot:
            now = [f"{kind} ${price:.4f}" for kind, price in sorted(self.spot_now.items())]
            lines.append(f"  spot prices now, an hour: {', '.join(now) or 'not known'}")
        lines.append(
            "  not counted: traffic between zones ($0.01 a GB each way) and out of the region, "
            "requests to S3, logs (usually cents)"
        )
        return lines


def check_budget(ceiling: float, budget: float | None, spent: float = 0.0) -> None:
    """Refuse what could cost more than the budget.

    Parameters
    ----------
    ceiling : `float`
        The most that may still come, in USD.
    budget : `float` or `None`
        What may be spent in all; `None`: no limit.
    spent : `float`, optional
        What was spent already.

    Raises
    ------
    CloudError
        If it is more.
    """
    if budget is not None and spent + ceiling > budget:
        before = f"${spent:.2f} are spent, " if spent else ""
        raise CloudError(
            f"Over the budget: {before}it could cost up to ${ceiling:.2f}, the budget is ${budget:.2f}. "
            "Nothing was started or changed. Take fewer or smaller machines, a shorter --lease, or a larger "
            "--budget."
        )


def in_words(seconds: float) -> str:
    """Return a time such as ``2 h 30 min``."""
    total = max(0, round(seconds))
    hours, minutes, rest = total // 3600, total % 3600 // 60, total % 60
    parts = [(hours, "h"), (minutes, "min"), (rest if total < _HOUR else 0, "s")]
    return " ".join(f"{number} {unit}" for number, unit in parts if number) or "0 s"
