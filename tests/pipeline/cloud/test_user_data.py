"""The script of an instance: it ends the machine, whatever happens."""

from __future__ import annotations

import configparser
import os
import re
import shlex
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from pipeline.cloud.names import parse_place
from pipeline.cloud.user_data import LONGEST_LEASE, Node, user_data

BASH = shutil.which("bash") or "bash"
ECR = "123456789012.dkr.ecr.us-west-2.amazonaws.com/hsc-isr@sha256:" + "0" * 64


def _node(**changes: object) -> Node:
    fields = {
        "role": "worker",
        "cluster": "demo",
        "cluster_id": "abc",
        "place": "s3://group-data/isr",
        "region": "us-west-2",
        "image": "example.org/isr:1",
        "lease_until": int(time.time()) + 3600,
        "options": ("--head", "10.0.0.1", "--processes", "0"),
    }
    return Node(**fields | changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("image", ["example.org/isr:1", ECR])
def test_it_is_a_script_without_gaps(image: str) -> None:
    script = user_data(_node(image=image))
    subprocess.run([BASH, "-n"], input=script, text=True, check=True)
    assert script.startswith("#!/bin/bash\n")
    assert not re.search("@[A-Z_]+@", script)
    assert len(script.encode()) <= 16_384


def test_the_first_command_arms_the_lease() -> None:
    first = user_data(_node()).splitlines()[1]
    match = re.fullmatch(
        r"systemd-run --unit=isr-lease-0 --on-active=(\d+) --timer-property=AccuracySec=1s "
        r"/sbin/shutdown -h now \|\| /sbin/shutdown -h \+(\d+)",
        first,
    )
    assert match
    assert 3590 <= int(match[1]) <= 3600
    assert match[2] == "60"


def test_a_lease_that_is_over_still_ends_the_machine() -> None:
    assert "--on-active=60 " in user_data(_node(lease_until=0)).splitlines()[1]


def test_any_end_of_the_script_ends_the_machine() -> None:
    lines = [line for line in user_data(_node()).splitlines()[2:] if line and not line.startswith("#")]
    assert lines[:2] == ["set -u -o pipefail", "trap '/sbin/shutdown -h now' EXIT"]


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """Programs of the host that only note how they are called."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("systemd-run", "systemctl", "docker", "dnf", "aws", "shutdown", "chown", "mkdir", "sleep"):
        tool = folder / name
        tool.write_text(
            f'#!{BASH}\nprintf -v line "\\t%s" "$@"; echo "{name}$line" >> "$CALLS"\n'
            f'[[ " $FAILING " != *" {name}-$1 "* ]]\n'
        )
        tool.chmod(0o755)
    return folder


def _run(script: str, tools: Path, failing: str = "") -> list[list[str]]:
    """Run a script with the tools; return the calls."""
    calls = tools.parent / "calls"
    calls.unlink(missing_ok=True)
    script = script.replace("/sbin/shutdown", "shutdown").replace("/run/isr/", f"{tools.parent}/")
    script = script.replace("/etc/systemd/system/", f"{tools.parent}/").replace("follow_lease &\n", "")
    environment = {"PATH": f"{tools}:{os.environ['PATH']}", "CALLS": str(calls), "FAILING": failing}
    subprocess.run([BASH, "-c", script], env=environment, check=False, timeout=60, capture_output=True)
    return [line.split("\t") for line in calls.read_text().splitlines()]


def test_what_it_runs(tools: Path) -> None:
    calls = _run(user_data(_node()), tools)
    assert [call[:2] for call in calls if call[0] in ("docker", "aws", "systemctl")] == [
        ["systemctl", "enable"],
        ["systemctl", "start"],
        ["docker", "pull"],
        ["docker", "run"],
    ]
    assert calls[0][0] == "systemd-run"
    assert calls[-1] == ["shutdown", "-h", "now"]
    run = next(call for call in calls if call[:2] == ["docker", "run"])
    text = shlex.join(run)
    for option in (
        "--network host",
        "--read-only",
        "--cap-drop ALL",
        "--security-opt no-new-privileges",
        "--user 10001:10001",
        f"awslogs-group={parse_place('s3://group-data/isr').log_group}",
        "awslogs-stream=demo/abc/worker/",
    ):
        assert option in text
    assert "--privileged" not in text
    place = ["--cluster", "demo", "--id", "abc", "--state", "s3://group-data/isr", "--region", "us-west-2"]
    image = run.index("example.org/isr:1")
    assert run[image:] == [
        *("example.org/isr:1", "node", "worker", *place),
        *("--head", "10.0.0.1", "--processes", "0"),
    ]


def test_a_machine_that_is_booted_again_ends(tools: Path) -> None:
    """Neither timers nor the container would be there, and user-data does not run again."""
    calls = _run(user_data(_node()), tools)
    assert ["systemctl", "enable", "isr-reboot.service"] in calls
    unit = configparser.ConfigParser(strict=True)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read_string((tools.parent / "isr-reboot.service").read_text())
    assert unit["Service"]["ExecStart"] == "shutdown -h now"
    assert unit["Unit"]["ConditionPathExists"] == "!/run/isr", "not in the boot in which it is written"
    made = next(call for call in calls if call[0] == "mkdir")
    assert "/run/isr" in made
    assert calls.index(made) < calls.index(["systemctl", "enable", "isr-reboot.service"])
    assert unit["Install"]["WantedBy"] == "multi-user.target"
    for program in ("/sbin/shutdown -h now", "/etc/systemd/system/isr-reboot.service"):
        assert program in user_data(_node())


def test_it_logs_in_to_ecr_only_for_its_images(tools: Path) -> None:
    assert not [call for call in _run(user_data(_node()), tools) if call[0] == "aws" or "login" in call]
    calls = _run(user_data(_node(image=ECR)), tools)
    registry = ECR.partition("/")[0]
    assert ["aws", "ecr", "get-login-password", "--region", "us-west-2"] in calls
    assert ["docker", "login", "--username", "AWS", "--password-stdin", registry] in calls
    for other in (f"evil.org/{ECR}", ECR.replace(".com/", ".com.evil.org/")):
        assert not [call for call in _run(user_data(_node(image=other)), tools) if call[0] == "aws"]


@pytest.mark.parametrize(
    "failing", ["docker-pull", "docker-run", "systemctl-enable", "systemctl-start", "aws-ecr"]
)
def test_a_failure_ends_the_machine(tools: Path, failing: str) -> None:
    calls = _run(user_data(_node(image=ECR)), tools, failing)
    assert calls[-1] == ["shutdown", "-h", "now"]
    pulls = [call for call in calls if call[:2] == ["docker", "pull"]]
    assert len(pulls) == {"docker-pull": 4, "docker-run": 1}.get(failing, 0)


def test_without_systemd_run_shutdown_itself_waits(tools: Path) -> None:
    calls = _run(user_data(_node()), tools, "systemd-run---unit=isr-lease-0")
    assert calls[1] == ["shutdown", "-h", "+60"]


@pytest.mark.parametrize("odd", ["a b", "a'b", '"', "$(touch x)", "`touch x`", "a;b", "a&b", "@IMAGE@", "\\"])
def test_odd_values_stay_what_they_are(tools: Path, odd: str) -> None:
    image = f"example.org/{odd}:1"
    calls = _run(user_data(_node(image=image, options=("--head", odd))), tools)
    assert ["docker", "pull", image] in calls
    run = next(call for call in calls if call[:2] == ["docker", "run"])
    assert run[run.index(image) - 1].startswith("awslogs-stream=")
    assert run[-2:] == ["--head", odd]


def test_the_lease_is_armed_anew(tools: Path) -> None:
    """Each new end has a timer of its own before that of the old one is stopped; nonsense changes nothing."""
    now = int(time.time())
    first, second = now + 5000, now + 9000
    script = user_data(_node())
    begin = script.index("follow_lease() {")
    function = script[begin : script.index("\n}\n", begin) + 3]
    said = ["", str(first), str(first), "x", "0123", str(now - 5), str(now + LONGEST_LEASE + 99), str(second)]
    lease = tools.parent / "lease-until"
    sleep = "\n".join(
        f"    {number}) printf '%s' {shlex.quote(text)} > {lease} ;;" for number, text in enumerate(said, 1)
    )
    (tools / "sleep").write_text(
        f"#!{BASH}\necho >> {tools}/n\ncase $(wc -l < {tools}/n) in\n{sleep}\n    *) exit 1 ;;\nesac\n"
    )
    calls = _run(f"{function}follow_lease\n", tools)
    assert [call[:2] for call in calls] == [
        ["systemd-run", f"--unit=isr-lease-{first}"],
        ["systemctl", "stop"],
        ["shutdown", "-c"],
        ["systemd-run", f"--unit=isr-lease-{second}"],
        ["systemctl", "stop"],
        ["shutdown", "-c"],
    ]
    assert [call[-1] for call in calls if call[0] == "systemctl"] == [
        "isr-lease-0.timer",
        f"isr-lease-{first}.timer",
    ]
    assert calls[0][-3:] == ["shutdown", "-h", "now"]
    assert 4900 <= int(calls[0][2].removeprefix("--on-active=")) <= 5000


def test_a_timer_that_cannot_be_armed_does_not_stop_the_old_one(tools: Path) -> None:
    until = int(time.time()) + 5000
    script = user_data(_node())
    begin = script.index("follow_lease() {")
    function = script[begin : script.index("\n}\n", begin) + 3]
    (tools.parent / "lease-until").write_text(str(until))
    (tools / "sleep").write_text(f"#!{BASH}\necho >> {tools}/n\n[[ $(wc -l < {tools}/n) -le 2 ]]\n")
    calls = _run(f"{function}follow_lease\n", tools, f"systemd-run---unit=isr-lease-{until}")
    assert [call[0] for call in calls] == ["systemd-run", "systemd-run"]
