"""Prices come from the table, the user, or AWS's price list; or nothing is promised."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from pipeline.cloud import prices as prices_module
from pipeline.cloud.prices import on_demand_prices, spot_prices
from pipeline.errors import CloudError


class Service:
    """AWS's price list, and spot prices."""

    def __init__(self, answer: Any) -> None:
        self.answer, self.asked = answer, []

    def __call__(self, region: str) -> Service:
        assert region == "us-east-1", "the price list is not everywhere"
        return self

    def client(self, _: str) -> Service:
        return self

    def get_products(self, **request: Any) -> Any:
        self.asked.append(request)
        if isinstance(self.answer, Exception):
            raise self.answer
        return {"PriceList": self.answer}

    def describe_spot_price_history(self, **request: Any) -> Any:
        self.asked.append(request)
        return {"SpotPriceHistory": self.answer}


def _product(*usd: str) -> str:
    dimensions = {f"d{n}": {"pricePerUnit": {"USD": value}} for n, value in enumerate(usd)}
    return json.dumps({"terms": {"OnDemand": {"t": {"priceDimensions": dimensions}}}})


@pytest.fixture
def service(monkeypatch):
    """Return a function that makes the price list answer."""

    def make(answer: Any, region: str = "eu-west-1") -> Service:
        service = Service(answer)
        monkeypatch.setattr(prices_module, "Account", service)
        service.region = region
        return service

    return make


@pytest.mark.parametrize("region", ["us-east-1", "us-east-2", "us-west-2"])
def test_the_table(service, region: str) -> None:
    asked = service(RuntimeError("must not be asked"), region)
    found = on_demand_prices(asked, ("m5.large", "m5.xlarge", "r5.4xlarge"), {})
    assert found == pytest.approx({"m5.large": 0.096, "m5.xlarge": 0.192, "r5.4xlarge": 1.008})


def test_what_the_user_knows_comes_first(service) -> None:
    asked = service(RuntimeError("must not be asked"), "us-east-1")
    given = {"m5.large": 0.05, "p9.huge": 7.0, "not.wanted": 1.0}
    assert on_demand_prices(asked, ("m5.large", "p9.huge"), given) == {"m5.large": 0.05, "p9.huge": 7.0}


def test_the_price_list_is_asked_for_what_the_table_lacks(service) -> None:
    asked = service([_product("0.0", "0.107"), _product("0.2")])
    assert on_demand_prices(asked, ("m5.large",), {}) == {"m5.large": 0.2}
    (request,) = asked.asked
    wanted = {item["Field"]: item["Value"] for item in request["Filters"]}
    assert wanted["instanceType"] == "m5.large"
    assert wanted["regionCode"] == "eu-west-1"
    assert wanted["operatingSystem"] == "Linux"
    assert wanted["capacitystatus"] == "Used"


@pytest.mark.parametrize(
    "answer",
    [
        [],
        ["{}"],
        ["<html>"],
        [_product()],
        [_product("free")],
        ClientError({"Error": {"Code": "AccessDeniedException"}}, "GetProducts"),
        EndpointConnectionError(endpoint_url="https://pricing"),
    ],
)
def test_without_a_price_nothing_is_promised(service, answer: Any) -> None:
    with pytest.raises(CloudError, match=r"an hour of m5\.large costs in eu-west-1 is not known") as error:
        on_demand_prices(service(answer), ("m5.large",), {})
    assert "Say it: --price m5.large=USD" in str(error.value)


def test_spot_prices_are_those_of_the_dearest_zone(service) -> None:
    history = [
        {"InstanceType": "m5.large", "SpotPrice": "0.03"},
        {"InstanceType": "m5.large", "SpotPrice": "0.04"},
        {"InstanceType": "m5a.large", "SpotPrice": "0.02"},
    ]
    asked = service(history)
    assert spot_prices(asked, ("m5.large", "m5a.large", "m6i.large")) == {"m5.large": 0.04, "m5a.large": 0.02}
    assert asked.asked[0]["InstanceTypes"] == ["m5.large", "m5a.large", "m6i.large"]
