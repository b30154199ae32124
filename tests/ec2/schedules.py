"""EventBridge Scheduler: carries out one-time schedules whose target is a call of AWS's API."""

from __future__ import annotations

import json
import re
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import boto3
from botocore import xform_name
from moto.core import DEFAULT_ACCOUNT_ID as ACCOUNT
from moto.scheduler.models import scheduler_backends

from tests.ec2 import identity

TARGET = re.compile(r"arn:aws:scheduler:::aws-sdk:(?P<service>[a-z0-9]+):(?P<action>[A-Za-z]+)")
RETRY = 1.0  # seconds; AWS waits longer from try to try
ATTEMPTS = 5  # at most; AWS does what the RetryPolicy says, up to 185


def due(schedule: Any) -> bool:
    """Tell whether a one-time schedule's time has come."""
    match = re.fullmatch(r"at\((.+)\)", schedule.schedule_expression)
    if match is None or schedule.state != "ENABLED":
        return False
    zone = ZoneInfo(schedule.schedule_expression_timezone or "UTC")
    return datetime.fromisoformat(match[1]).replace(tzinfo=zone) <= datetime.now(UTC)


class Schedules:
    """Looks for due schedules at each tick; what happened stands in a file of JSON lines."""

    def __init__(self, path: Path, endpoint: str, region: str) -> None:
        self._path = path
        self._endpoint = endpoint
        self._region = region
        self._tries: dict[tuple[str, str], int] = {}
        self._next: dict[tuple[str, str], float] = {}

    def tick(self) -> None:
        """Start what is due."""
        backend = scheduler_backends[ACCOUNT][self._region]
        for group in list(backend.schedule_groups.values()):
            for schedule in list(group.schedules.values()):
                key = (schedule.arn, schedule.schedule_expression)
                if due(schedule) and time.time() >= self._next.get(key, 0.0):
                    self._tries[key] = self._tries.get(key, 0) + 1
                    self._next[key] = float("inf")
                    threading.Thread(target=self._fire, args=(group, schedule, key), daemon=True).start()

    def _fire(self, group: Any, schedule: Any, key: tuple[str, str]) -> None:
        error = ""
        try:
            self._call(schedule.target)
        except Exception as failure:  # any, as AWS tries again after any
            error = f"{type(failure).__name__}: {failure}"
        with self._path.open("a") as file:
            print(json.dumps({"time": time.time(), "schedule": schedule.name, "error": error}), file=file)
        policy = schedule.target.get("RetryPolicy") or {}
        if error and self._tries[key] <= min(ATTEMPTS, policy.get("MaximumRetryAttempts", 185)):
            self._next[key] = time.time() + RETRY
        elif schedule.action_after_completion == "DELETE":
            group.schedules.pop(schedule.name, None)

    def _call(self, target: dict[str, Any]) -> None:
        match = TARGET.fullmatch(target["Arn"])
        if match is None:
            raise ValueError(f"the harness knows universal targets only, not {target['Arn']}")
        keys = identity.assume(target["RoleArn"], "scheduler.amazonaws.com", "schedule")
        if keys is None:
            raise PermissionError(f"{target['RoleArn']} does not trust scheduler.amazonaws.com")
        client = boto3.session.Session().client(
            match["service"],
            endpoint_url=self._endpoint,
            region_name=self._region,
            aws_access_key_id=keys["id"],
            aws_secret_access_key=keys["secret"],
            aws_session_token=keys["token"],
        )
        getattr(client, xform_name(match["action"]))(**json.loads(target.get("Input") or "{}"))
