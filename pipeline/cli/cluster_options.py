"""Options that commands about clusters share, and what users are asked."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from functools import wraps
from typing import Any

import click

from pipeline.errors import CloudError
from pipeline.logs import log_options, set_up_logging

__all__ = [
    "DURATION",
    "ask",
    "name_argument",
    "price_option",
    "with_account",
    "yes_option",
]

_UNITS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(s|min|m|h|d)")

yes_option = click.option("-y", "--yes", is_flag=True, help="Do not ask.")
name_argument = click.argument("name")
price_option = click.option(
    "--price",
    "prices",
    multiple=True,
    metavar="TYPE=USD",
    help="On-demand price of an hour, if you know it better.",
)


class _Duration(click.ParamType[int]):
    """Seconds, written like 90s, 5m, 2h, 1h30m or 1d."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the seconds."""
        if isinstance(value, int):
            return value
        words = str(value).split()
        parts = [part for word in words for part in _PART.findall(word)]
        if not parts or "".join(map("".join, parts)) != "".join(words):
            self.fail(f"{value!r} is not a time; expected for example 90s, 5m, 2h or 1h30m.", param, ctx)
        return round(sum(float(number) * _UNITS[unit] for number, unit in parts))


DURATION = _Duration()


def with_account(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that all commands about clusters have; the function gets account and place first."""

    @log_options
    @click.option("--region", metavar="REGION", help="AWS region; else that of the environment.")
    @click.option(
        "--state",
        envvar="ISR_STATE",
        required=True,
        metavar="s3://BUCKET/PREFIX",
        help="Where the state of your group's clusters is kept; or the variable ISR_STATE.",
    )
    @wraps(function)
    def command(
        *arguments: Any,
        state: str,
        region: str | None,
        log_levels: tuple[str, ...],
        long_log: bool,
        log_file: str | None,
        **options: Any,
    ) -> Any:
        set_up_logging(log_levels, long_log, log_file)
        try:
            from pipeline.cloud.aws import Account
            from pipeline.cloud.names import parse_place
        except ModuleNotFoundError as error:
            raise CloudError(f"isr-cluster needs {error.name}: pip install 'hsc-isr[aws,dask]'") from None
        return function(Account(region), parse_place(state), *arguments, **options)

    return command


def ask(question: str, expected: str, *, yes: bool, otherwise: str = "Nothing was started.") -> None:
    """Let the user type a word before something is done.

    Raises
    ------
    CloudError
        If it is another one, or there is nobody to ask.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise CloudError(f"There is no terminal to ask for a confirmation. {otherwise} In scripts add --yes.")
    answer = click.prompt(f"{question} Type {expected} to go on", default="", show_default=False, err=True)
    if answer.strip() != expected:
        raise CloudError(otherwise)
