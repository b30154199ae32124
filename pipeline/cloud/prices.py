"""What machines cost.

On-demand prices of Linux in US dollars for an hour, as EC2's price list had
them for us-east-1, us-east-2 and us-west-2 (the same there); from memory,
2026-11, never compared with a bill. Other types and regions are asked of AWS's
price list service.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from pipeline.cloud.aws import Account, explained
from pipeline.errors import CloudError

__all__ = ["ADDRESS_HOUR", "DISK_GB", "DISK_HOUR", "on_demand_prices", "spot_prices"]

ADDRESS_HOUR = 0.005
"""A public IPv4 address, USD for an hour, in all regions."""

DISK_GB = 30
"""Size of an instance's disk: image, temporary files, decoded calibrations."""

DISK_HOUR = DISK_GB * 0.08 / 730
"""That of gp3 storage, USD for an hour, about: 0.08 for a GB and month in us-east-1, elsewhere more."""

_REGIONS = ("us-east-1", "us-east-2", "us-west-2")
_LARGE = {  # of the size "large"; twice as much for each size above it
    "m5": 0.096,
    "m5a": 0.086,
    "m6i": 0.096,
    "m6a": 0.0864,
    "m7i": 0.1008,
    "m7a": 0.11592,
    "c5": 0.085,
    "c6i": 0.085,
    "c6a": 0.0765,
    "r5": 0.126,
    "r6i": 0.126,
}
_SIZES = {"large": 1, "xlarge": 2, "2xlarge": 4, "4xlarge": 8, "8xlarge": 16, "12xlarge": 24, "16xlarge": 32}
_PRICE_LIST_REGION = "us-east-1"


def on_demand_prices(account: Account, types: Sequence[str], given: Mapping[str, float]) -> dict[str, float]:
    """Return what an hour of each type costs, in USD.

    Parameters
    ----------
    account : `~pipeline.cloud.aws.Account`
        Whose price list service is asked for what the table lacks.
    types : `~collections.abc.Sequence` [`str`]
        Instance types.
    given : `~collections.abc.Mapping` [`str`, `float`]
        Prices that the user knows better.

    Raises
    ------
    CloudError
        If a price is not known: then no limit could be promised.
    """
    prices = dict(given)
    for kind in types:
        family, _, size = kind.partition(".")
        if kind not in prices and account.region in _REGIONS and family in _LARGE and size in _SIZES:
            prices[kind] = _LARGE[family] * _SIZES[size]
        elif kind not in prices:
            prices[kind] = _listed_price(account, kind)
    return {kind: prices[kind] for kind in types}


def _listed_price(account: Account, kind: str) -> float:
    wanted = {
        "instanceType": kind,
        "regionCode": account.region,
        "operatingSystem": "Linux",
        "tenancy": "Shared",
        "preInstalledSw": "NA",
        "capacitystatus": "Used",
    }
    filters = [{"Type": "TERM_MATCH", "Field": name, "Value": value} for name, value in wanted.items()]
    try:
        with explained(f"find the price of {kind}"):
            client = Account(_PRICE_LIST_REGION).client("pricing")
            answer = client.get_products(ServiceCode="AmazonEC2", Filters=filters)
        return max(_prices_in(json.loads(product)) for product in answer["PriceList"])
    except (CloudError, ValueError, KeyError) as error:
        raise CloudError(
            f"What an hour of {kind} costs in {account.region} is not known ({error}). "
            f"Say it: --price {kind}=USD."
        ) from error


def _prices_in(product: dict[str, Any]) -> float:
    return max(
        float(dimension["pricePerUnit"]["USD"])
        for term in product["terms"]["OnDemand"].values()
        for dimension in term["priceDimensions"].values()
    )


def spot_prices(account: Account, types: Sequence[str]) -> dict[str, float]:
    """Return what an hour of each type costs as a spot instance now, in the dearest zone, in USD."""
    with explained("ask for spot prices"):
        history = account.client("ec2").describe_spot_price_history(
            InstanceTypes=list(types), ProductDescriptions=["Linux/UNIX"], StartTime=datetime.now(UTC)
        )["SpotPriceHistory"]
    prices: dict[str, float] = {}
    for entry in history:
        kind = entry["InstanceType"]
        prices[kind] = max(prices.get(kind, 0.0), float(entry["SpotPrice"]))
    return prices
