"""Options of isr-cluster: times, and what users are asked."""

from __future__ import annotations

import click
import pytest

from pipeline.cli import cluster_options
from pipeline.cli.cluster_options import DURATION, ask
from pipeline.cli.isr_cluster_up import _prices
from pipeline.errors import CloudError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("5m", 300),
        ("5min", 300),
        ("2h", 7200),
        ("1.5h", 5400),
        ("1h30m", 5400),
        ("1h 30min", 5400),
        ("1d", 86400),
        ("0.5s", 0),
        (42, 42),
    ],
)
def test_times(text: object, seconds: int) -> None:
    assert DURATION.convert(text, None, None) == seconds


@pytest.mark.parametrize("text", ["", "5", "h", "-5m", "5 minutes", "5M", "1h30", "30 1h", "1,5h", "5mm"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(click.BadParameter, match="is not a time; expected for example 90s"):
        DURATION.convert(text, None, None)


@pytest.fixture
def terminal(monkeypatch):
    """Return a function that lets a user at a terminal answer, and the questions."""
    questions: list[str] = []

    def answer(text: str) -> list[str]:
        monkeypatch.setattr(cluster_options.sys.stdin, "isatty", lambda: True, raising=False)
        monkeypatch.setattr("click.prompt", lambda question, **_: questions.append(question) or text)
        return questions

    return answer


@pytest.mark.parametrize("text", ["demo", " demo "])
def test_the_expected_word_goes_on(terminal, text: str) -> None:
    questions = terminal(text)
    ask("End it?", "demo", yes=False)
    assert questions == ["End it? Type demo to go on"]


@pytest.mark.parametrize("text", ["", "y", "yes", "DEMO", "demo2"])
def test_another_word_stops(terminal, text: str) -> None:
    terminal(text)
    with pytest.raises(CloudError, match=r"^Nothing was ended\.$"):
        ask("End it?", "demo", yes=False, otherwise="Nothing was ended.")


def test_yes_asks_nothing(terminal) -> None:
    questions = terminal("no")
    ask("End it?", "demo", yes=True)
    assert not questions


def test_without_a_terminal(monkeypatch) -> None:
    monkeypatch.setattr(cluster_options.sys.stdin, "isatty", lambda: False, raising=False)
    with pytest.raises(CloudError, match=r"no terminal to ask .* Nothing was started\. In scripts add --yes"):
        ask("Start it?", "yes", yes=False)


def test_prices_of_the_user() -> None:
    assert _prices(("m5.large=0.1", "m5.xlarge=2")) == {"m5.large": 0.1, "m5.xlarge": 2.0}


@pytest.mark.parametrize("text", ["m5.large", "a=", "a=x", "a=nan", "a=-1", "a=inf", "a=0"])
def test_prices_that_are_none(text: str) -> None:
    """Not a number would pass any budget."""
    with pytest.raises(click.UsageError, match="expected TYPE=USD"):
        _prices((text,))
