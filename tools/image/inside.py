"""Checks of one container: whom it runs as, what it may do, what the image says of itself."""

from __future__ import annotations

import json
import re
import statistics
import time
from pathlib import Path

from tools.image.engine import UID, Engine
from tools.image.report import CheckError, Report, call

__all__ = ["check_container", "measure_start"]

LABELS = ("title", "version", "revision", "created", "licenses", "description")
COMMANDS = ("isr-run", "isr-repo", "isr-cluster", "butler", "pipetask", "scheduler", "worker", "node")
SBOM = "/usr/share/doc/hsc-isr/sbom.cdx.json"
# Runs in the container.
SELF = """
import json, os
status = dict(line.split(":", 1) for line in open("/proc/self/status") if ":" in line)
refused = []
for path in ("/x", "/opt/isr/x", "/home/isr/x", "/data/x"):
    try:
        open(path, "w").close()
    except OSError:
        refused.append(path)
names = ("Uid", "Gid", "CapEff", "CapPrm", "CapBnd", "NoNewPrivs")
found = {name: status[name].split() for name in names}
print(json.dumps(found | {"refused": refused, "first": open("/proc/1/comm").read().strip()}))
"""


def check_container(report: Report, engine: Engine, output: Path) -> None:
    """Look at rights, labels, bill of materials, entry point."""

    def rights() -> str:
        options = ("--network=none", '--entrypoint=["/usr/bin/tini", "--", "python", "-c"]')
        found = json.loads(engine.run(SELF, options=options).stdout)
        expected = {
            "Uid": [str(UID)] * 4,
            "Gid": [str(UID)] * 4,
            "CapEff": ["0" * 16],
            "CapPrm": ["0" * 16],
            "CapBnd": ["0" * 16],
            "NoNewPrivs": ["1"],
            "refused": ["/x", "/opt/isr/x", "/home/isr/x", "/data/x"],
            "first": "tini",
        }
        if found != expected:
            raise CheckError(f"found {found}, expected {expected}")
        return f"uid {UID}, no capability, NoNewPrivs, read-only root, tini is process 1"

    def labels() -> str:
        image = engine.inspect()
        found = image["Config"]["Labels"]
        missing = [name for name in LABELS if not found.get(f"org.opencontainers.image.{name}")]
        if missing:
            raise CheckError(f"no labels org.opencontainers.image.{{{','.join(missing)}}}")
        if image["Config"]["User"] != f"{UID}:{UID}" or not image["Healthcheck"]["Test"]:
            raise CheckError(f"user {image['Config']['User']}, health check {image['Healthcheck']}")
        return f"version {found['org.opencontainers.image.version']}, {len(found)} labels, a health check"

    def bill() -> str:
        text = engine.run(options=("--network=none", '--entrypoint=["cat", "' + SBOM + '"]')).stdout
        (output / "sbom.cdx.json").write_text(text)
        found = {
            component["name"].lower(): component["version"] for component in json.loads(text)["components"]
        }
        lock = Path("docker/requirements.lock").read_text()
        wanted = dict(re.findall(r"^([a-z0-9._-]+)==([^ ;]+)", lock, re.MULTILINE))
        if found != wanted:
            raise CheckError(f"the bill of materials and the lock differ: {found.items() ^ wanted.items()}")
        return f"{len(found)} components with their hashes in {SBOM}"

    def commands() -> str:
        for name in (*COMMANDS, ""):
            engine.run(*([name] if name else []), "--help")
        refused = call([*engine.podman, "run", "--rm", *NO_TMP, engine.image, "isr-run", "--help"], code=1)
        if "--tmpfs /tmp" not in refused.stderr:
            raise CheckError(f"without a writable /tmp it says: {refused.stderr}")
        return f"{', '.join(COMMANDS)} start; without /tmp the remedy is said"

    report.run("rights", rights)
    report.run("labels", labels)
    report.run("sbom", bill)
    report.run("commands", commands)


NO_TMP = (
    "--no-healthcheck",
    "--network=none",
    "--read-only",
    "--read-only-tmpfs=false",
    "--ulimit=nofile=4096:4096",
    "--ulimit=nproc=4096:4096",
)


def measure_start(report: Report, engine: Engine) -> None:
    """Measure what a container costs before it does anything."""

    def start() -> str:
        figures = {}
        for name, words in {"nothing": ["--entrypoint=true"], "isr_run_version": []}.items():
            seconds = []
            for _ in range(5):
                begin = time.monotonic()
                engine.run("isr-run", "--version", options=("--network=none", *words))
                seconds.append(time.monotonic() - begin)
            figures[name] = round(statistics.median(seconds), 2)
        report.figures["start_seconds"] = figures
        return f"{figures['isr_run_version']} s for isr-run --version, {figures['nothing']} s of it podman's"

    report.run("start", start)
