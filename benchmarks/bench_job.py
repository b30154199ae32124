"""Where the time of one ``isr-run -b`` goes, cold: start-up, graph, quantum, transfer.

    python benchmarks/bench_job.py REPO -d "exposure=903334 AND detector=22" [--pipetask]

Each job is a process of its own that writes a RUN of its own; the RUNs are
removed at the end. Printed is the job with the smallest CPU time.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path


@dataclass
class Job:
    """Seconds of one job: name of a part -> (wall, CPU); CPU is NaN where it is not known."""

    parts: dict[str, tuple[float, float]]
    wall: float
    cpu: float


def run_command(command: list[str]) -> tuple[float, float, float]:
    """Run a command; return when it began, its wall and its CPU seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began, start = time.time(), time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wall = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stderr}")
    return began, wall, sum(after[:2]) - sum(before[:2])


def script(name: str) -> str:
    """Return the path of a command of this environment."""
    return shutil.which(name, path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}") or name


def isr_run(arguments: argparse.Namespace, run: str) -> Job:
    """Time one isr-run and its parts."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log.json"
        began, wall, cpu = run_command(
            [
                *(script("isr-run"), "-b", arguments.repository, "-i", arguments.input, "--output-run", run),
                *("-d", arguments.query, "--no-log-tty", "--log-file", str(log)),
                *("--log-level", "pipeline.butler_mode=DEBUG"),
            ]
        )
        records = [json.loads(line) for line in log.read_text().splitlines()]
    parts, last = {}, (began, 0.0)
    for record in records:
        if found := re.match(r"Phase (\w+) ended at ([\d.]+) s", record["message"]):
            now = (datetime.fromisoformat(record["asctime"]).timestamp(), float(found[2]))
            parts[found[1]] = (now[0] - last[0], now[1] - last[1])
            last = now
    parts["end"] = (began + wall - last[0], cpu - last[1])
    return Job(split_quantum(arguments.repository, run, parts), wall, cpu)


def split_quantum(
    repository: str, run: str, parts: dict[str, tuple[float, float]]
) -> dict[str, tuple[float, float]]:
    """Take the quantum, and in it reading and writing, out of the execution."""
    from pipeline.overlay import activate

    activate()
    from lsst.daf.butler import Butler

    with Butler.from_config(repository) as butler:
        (reference,) = butler.query_datasets("isr_metadata", collections=run)
        quantum = butler.get(reference)["quantum"]
    began, ended = (datetime.fromisoformat(str(quantum[f"{name}Utc"])) for name in ("prep", "end"))
    wall = (ended - began).total_seconds()
    cpu = float(quantum["endCpuTime"]) - float(quantum["prepCpuTime"])
    metrics = quantum["butler_metrics"]
    reading, writing = float(metrics["time_in_get"]), float(metrics["time_in_put"])
    execution = parts.pop("execution")
    nan = float("nan")
    end = parts.pop("end")
    return {
        **parts,
        "RUN, types, configuration, log": (execution[0] - wall, execution[1] - cpu),
        "quantum": (wall, cpu),
        "  of it: reading raw and calibrations": (reading, nan),
        "  of it: ISR, with its imports": (wall - reading - writing, nan),
        "  of it: writing the exposure": (writing, nan),
        "end": end,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("repository", help="Butler repository, e.g. of `isr-repo demo`")
    parser.add_argument("-i", "--input", default="HSC/defaults")
    parser.add_argument("-d", "--query", default="exposure=903334 AND detector=22")
    parser.add_argument("-n", "--jobs", type=int, default=3)
    parser.add_argument("--pipetask", action="store_true", help="also time pipetask run")
    arguments = parser.parse_args()
    prefix = f"bench/job/{time.time_ns()}"
    runs = [f"{prefix}/{number}" for number in range(arguments.jobs)]
    try:
        best = min((isr_run(arguments, run) for run in runs), key=lambda job: job.cpu)
        print(f"{'isr-run -b, one detector':42}{'wall s':>8}{'CPU s':>8}")
        for name, (wall, cpu) in best.parts.items():
            print(f"{name:42}{wall:8.2f}{'' if cpu != cpu else f'{cpu:8.2f}'}")
        print(f"{'all':42}{best.wall:8.2f}{best.cpu:8.2f}")
        if arguments.pipetask:
            runs.append(f"{prefix}/pipetask")
            _, wall, cpu = run_command(
                [
                    *(script("pipetask"), "run", "-b", arguments.repository, "-i", arguments.input),
                    *("--output-run", runs[-1], "-d", arguments.query, "-t", "pipeline.task.IsrTask:isr"),
                    "--register-dataset-types",
                ]
            )
            print(f"{'pipetask run, the same':42}{wall:8.2f}{cpu:8.2f}")
    finally:
        remove(arguments.repository, prefix)


def remove(repository: str, prefix: str) -> None:
    """Remove the RUNs of the benchmark."""
    from lsst.daf.butler import Butler

    with Butler.from_config(repository, writeable=True) as butler:
        if runs := butler.collections.query(f"{prefix}/*"):
            butler.removeRuns(list(runs))


if __name__ == "__main__":
    main()
