"""What a cluster will be and can cost."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipeline.cloud.plan import Plan, check_budget, in_words
from pipeline.cloud.prices import ADDRESS_HOUR, DISK_HOUR
from pipeline.errors import CloudError

MORE = ADDRESS_HOUR + DISK_HOUR
PLAN = Plan(
    name="demo",
    head="m5.large",
    types=("m5.xlarge", "m5a.xlarge"),
    workers=3,
    spot=False,
    fallback=False,
    lease=5400,
    idle=300,
    on_demand={"m5.large": 0.1, "m5.xlarge": 0.2, "m5a.xlarge": 0.18},
    spot_now={},
)


def test_the_most_that_it_costs() -> None:
    assert PLAN.worker_prices == pytest.approx({"m5.xlarge": 0.2 + MORE, "m5a.xlarge": 0.18 + MORE})
    assert PLAN.hourly == pytest.approx(0.1 + 3 * 0.2 + 4 * MORE)
    assert PLAN.ceiling == pytest.approx(1.5 * PLAN.hourly)
    assert replace(PLAN, spot=True, spot_now={"m5.xlarge": 0.05}).ceiling == PLAN.ceiling


def test_what_the_user_reads() -> None:
    text = "\n".join(PLAN.lines(None, 6))
    assert "1 head m5.large (on-demand) + 3 x m5.xlarge or m5a.xlarge (on-demand), in any of 6 zones" in text
    assert "ends after 5 min without work, after 1 h 30 min whatever happens" in text
    assert f"at most ${PLAN.hourly:.3f} an hour, ${PLAN.ceiling:.2f} for the whole lease" in text
    assert "not counted: traffic between zones ($0.01 a GB each way) and out of the region" in text
    assert "spot" not in text
    assert "budget" not in text
    assert "(budget $2.00)" in "\n".join(PLAN.lines(2.0, 6))


def test_spot_prices_are_shown() -> None:
    spot = replace(PLAN, spot=True, fallback=True, spot_now={"m5a.xlarge": 0.07, "m5.xlarge": 0.08})
    text = "\n".join(spot.lines(None, 1))
    assert "(spot, or on-demand where there is no spot capacity)" in text
    assert "spot prices now, an hour: m5.xlarge $0.0800, m5a.xlarge $0.0700" in text
    assert "not known" in "\n".join(replace(spot, spot_now={}).lines(None, 1))


def test_the_budget() -> None:
    check_budget(5.0, None, 100.0)
    check_budget(5.0, 5.0)
    with pytest.raises(CloudError, match=r"Over the budget: it could cost up to \$5\.00, the budget is"):
        check_budget(5.0, 4.99)
    with pytest.raises(CloudError, match=r"\$0\.50 are spent, it could"):
        check_budget(5.0, 5.0, 0.5)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (-5, "0 s"), (59.6, "1 min"), (90, "1 min 30 s"), (3600, "1 h"), (5400, "1 h 30 min")],
)
def test_times_in_words(seconds: float, words: str) -> None:
    assert in_words(seconds) == words
    assert in_words(86400 + 61) == "24 h 1 min"
