"""Decisions of IAM, after the rules of its documentation."""

from __future__ import annotations

from typing import Any

import pytest

from tests.ec2.policies import Context, UnknownOperator, allows

ARN = "arn:aws:s3:::bucket/key"


def statement(effect: str = "Allow", **elements: Any) -> dict[str, Any]:
    made = {"Effect": effect, "Action": "s3:*", "Resource": "*"} | elements
    return {"Version": "2012-10-17", "Statement": made}


@pytest.mark.parametrize(
    ("policies", "expected"),
    [
        ([], False),
        ([statement()], True),
        ([statement(), statement("Deny", Action="s3:GetObject")], False),
        ([statement(), statement("Deny", Action="s3:PutObject")], True),
        ([statement(Action=["ec2:*", "s3:getobject"])], True),
        ([statement(Action="s3:Get?bject")], True),
        ([statement(Action="s3:Get")], False),
        ([statement(Resource="arn:aws:s3:::bucket/*")], True),
        ([statement(Resource="arn:aws:s3:::BUCKET/*")], False),
        ([statement(Resource=["arn:aws:s3:::other/*", "arn:aws:s3:::bucket"])], False),
        ([{"Statement": [{"Effect": "Allow", "NotAction": "s3:GetObject", "Resource": "*"}]}], False),
        ([{"Statement": [{"Effect": "Allow", "Action": "*", "NotResource": f"{ARN}2"}]}], True),
    ],
)
def test_elements(policies: list[dict[str, Any]], expected: bool):
    assert allows(policies, "s3:GetObject", [ARN], {}) == expected


@pytest.mark.parametrize(
    ("condition", "context", "expected"),
    [
        ({"StringEquals": {"aws:ResourceTag/A": "b"}}, {"aws:resourcetag/a": ["b"]}, True),
        ({"StringEquals": {"aws:ResourceTag/A": ["b", "c"]}}, {"aws:resourcetag/a": ["c"]}, True),
        ({"StringEquals": {"aws:ResourceTag/A": "b"}}, {}, False),
        ({"StringEqualsIfExists": {"aws:ResourceTag/A": "b"}}, {}, True),
        ({"StringNotEquals": {"k": "b"}}, {"k": ["c"]}, True),
        ({"StringNotEquals": {"k": "b"}}, {}, True),
        ({"StringLike": {"s3:prefix": ["raw/*"]}}, {"s3:prefix": ["raw/1"]}, True),
        ({"StringLike": {"s3:prefix": ["raw/*"]}}, {"s3:prefix": [""]}, False),
        ({"Null": {"k": "false"}}, {"k": ["1"]}, True),
        ({"Null": {"k": "false"}}, {}, False),
        ({"Null": {"k": True}}, {}, True),
        ({"NumericLessThan": {"k": "3"}}, {"k": ["2"]}, True),
        ({"NumericLessThan": {"k": "3"}}, {"k": ["3"]}, False),
        ({"ForAllValues:StringEquals": {"aws:TagKeys": ["a", "b"]}}, {"aws:tagkeys": ["a"]}, True),
        ({"ForAllValues:StringEquals": {"aws:TagKeys": ["a", "b"]}}, {"aws:tagkeys": ["a", "c"]}, False),
        ({"ForAnyValue:StringEquals": {"aws:TagKeys": "a"}}, {"aws:tagkeys": ["b", "a"]}, True),
        ({"StringEquals": {"k": "1"}, "Null": {"l": "true"}}, {"k": ["1"], "l": ["2"]}, False),
    ],
)
def test_conditions(condition: dict[str, Any], context: Context, expected: bool):
    assert allows([statement(Condition=condition)], "s3:GetObject", [ARN], context) == expected


def test_unknown_operator_is_no_silent_yes_or_no():
    with pytest.raises(UnknownOperator, match="IpAddress"):
        allows(
            [statement(Condition={"IpAddress": {"aws:SourceIp": "::1"}})],
            "s3:GetObject",
            [ARN],
            {"aws:sourceip": ["::1"]},
        )
