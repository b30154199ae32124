"""IAM's decision: may these policies do this action on this resource?

An explicit Deny wins, then an Allow, else no. Statements have Action or NotAction, Resource or
NotResource, and Condition with the operators in `OPERATORS` (with ``ForAllValues:``,
``ForAnyValue:`` and ``...IfExists``). Policy variables are not replaced.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable
from typing import Any

Context = dict[str, list[str]]
"""Condition keys in lower case, with their values."""


class UnknownOperator(Exception):
    """A policy has a condition that the harness can't decide."""


@functools.cache
def _pattern(text: str, ignore_case: bool = False) -> re.Pattern[str]:
    parts = (re.escape(part) for part in re.split(r"([*?])", text))
    translated = "".join({r"\*": ".*", r"\?": "."}.get(part, part) for part in parts)
    return re.compile(translated, (re.IGNORECASE if ignore_case else 0) | re.DOTALL)


def _like(pattern: str, value: str) -> bool:
    return _pattern(pattern).fullmatch(value) is not None


def _number(compare: Callable[[float, float], bool]) -> Callable[[str, str], bool]:
    return lambda wanted, value: compare(float(value), float(wanted))


OPERATORS: dict[str, Callable[[str, str], bool]] = {
    "stringequals": lambda wanted, value: wanted == value,
    "stringequalsignorecase": lambda wanted, value: wanted.lower() == value.lower(),
    "stringlike": _like,
    "arnequals": _like,
    "arnlike": _like,
    "bool": lambda wanted, value: wanted.lower() == value.lower(),
    "numericequals": _number(lambda value, wanted: value == wanted),
    "numericlessthan": _number(lambda value, wanted: value < wanted),
    "numericlessthanequals": _number(lambda value, wanted: value <= wanted),
    "numericgreaterthan": _number(lambda value, wanted: value > wanted),
    "numericgreaterthanequals": _number(lambda value, wanted: value >= wanted),
}
NEGATED = {
    "stringnotequals": "stringequals",
    "stringnotlike": "stringlike",
    "arnnotequals": "arnequals",
    "arnnotlike": "arnlike",
    "numericnotequals": "numericequals",
}


def _list(value: Any) -> list[str]:
    values = value if isinstance(value, list) else [value]
    return [str(v).lower() if isinstance(v, bool) else str(v) for v in values]


def _holds(operator: str, wanted: list[str], values: list[str] | None) -> bool:
    """Decide one key of a condition; ``values`` is `None` if the request does not have it."""
    qualifier, _, name = operator.lower().rpartition(":")
    if name == "null":
        return (values is None) == (wanted[0].lower() == "true")
    if_exists = name.endswith("ifexists")
    name = name.removesuffix("ifexists")
    negated = name in NEGATED
    test = OPERATORS.get(NEGATED.get(name, name))
    if test is None:
        raise UnknownOperator(f"the harness does not know the condition operator {operator!r}")
    if values is None:
        return if_exists or negated or qualifier == "forallvalues"

    def one(value: str) -> bool:
        return any(test(w, value) for w in wanted) != negated

    if qualifier == "foranyvalue":
        return any(map(one, values))
    return all(map(one, values))


def _applies(statement: dict[str, Any], action: str, arns: Iterable[str], context: Context) -> bool:
    def matches(element: str, values: Iterable[str], ignore_case: bool = False) -> bool:
        patterns = [_pattern(p, ignore_case) for p in _list(statement[element])]
        return any(p.fullmatch(v) for p in patterns for v in values)

    if "NotAction" in statement:
        if matches("NotAction", [action], True):
            return False
    elif not matches("Action", [action], True):
        return False
    if "NotResource" in statement:
        if matches("NotResource", arns):
            return False
    elif not matches("Resource", arns):
        return False
    for operator, keys in statement.get("Condition", {}).items():
        for key, wanted in keys.items():
            if not _holds(operator, _list(wanted), context.get(key.lower())):
                return False
    return True


def allows(policies: list[dict[str, Any]], action: str, arns: Iterable[str], context: Context) -> bool:
    """Tell whether the policies allow an action on a resource, which may have several forms of its ARN."""
    arns = list(arns)
    permitted = False
    for policy in policies:
        statements = policy["Statement"]
        for statement in statements if isinstance(statements, list) else [statements]:
            if _applies(statement, action, arns, context):
                if statement["Effect"] == "Deny":
                    return False
                permitted = True
    return permitted
