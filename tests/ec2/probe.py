"""What a node can see and do; runs in an instance and prints JSON."""

import json
import os
import urllib.error
import urllib.request
from pathlib import Path

import boto3
from botocore.exceptions import ClientError

IMDS = "http://169.254.169.254/latest"


def ask(path: str, method: str = "GET", **headers: str) -> "tuple[int, str]":
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(f"{IMDS}/{path}", method=method, headers=names)
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, ""


def attempt(key: str) -> str:
    try:
        boto3.client("s3", region_name="us-east-1").put_object(Bucket="harness", Key=key, Body=b"1")
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return "done"


_, token = ask("api/token", "PUT", X_aws_ec2_metadata_token_ttl_seconds="60")
data = {
    name: ask(f"meta-data/{name}", X_aws_ec2_metadata_token=token)
    for name in (
        "instance-id",
        "local-ipv4",
        "placement/region",
        "instance-type",
        "instance-life-cycle",
        "iam/security-credentials",
        "spot/instance-action",
    )
}
Path("/scratch/written").write_text("1")
Path("/run/isr/written").write_text("1")
report = {
    "without token": ask("meta-data/instance-id")[0],
    "metadata": data,
    "identity": boto3.client("sts", region_name="us-east-1").get_caller_identity()["Arn"],
    "allowed": attempt("allowed/x"),
    "refused": attempt("other/x"),
    "keys": sorted(name for name in os.environ if "KEY" in name or "TOKEN" in name),
    "user": os.getuid(),
    "tmp": os.listdir("/tmp"),
}
print("PROBE", json.dumps(report), flush=True)
