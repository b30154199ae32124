"""Throughput and memory of ``isr-run --dask local:N`` as a function of the number of quanta.

    python benchmarks/bench_graph_size.py [--sizes 1000,5000,20000] [--workers 2]

The quanta do nothing, so that what is measured is what we and LSST's packages
add to each. The Dask scheduler lives in the process of the command: its memory
is that of the driver.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from lsst.daf.butler import Butler, Timespan

DETECTORS = 100
SCRIPTS = Path(sys.executable).parent
HERE = Path(__file__).parents[1]


@dataclass
class Result:
    """Seconds and bytes of one run."""

    quanta: int
    wall: float
    execution: float
    registration: float
    median: float  # of a quantum
    driver_bytes: int
    worker_bytes: int


def make_repository(folder: Path, exposures: int) -> Path:
    """Make a repository that knows of enough exposures, without files."""
    root = folder / "repo"
    subprocess.run([SCRIPTS / "isr-repo", "create", root], check=True, capture_output=True)
    with Butler.from_config(str(root), writeable=True) as butler:
        butler.collections.register("empty")
        day = 20200101
        butler.registry.insertDimensionData("day_obs", {"instrument": "HSC", "id": day})
        names = [{"instrument": "HSC", "name": str(number)} for number in range(exposures)]
        butler.registry.insertDimensionData("group", *names)
        butler.registry.insertDimensionData(
            "exposure",
            *(
                {
                    "instrument": "HSC",
                    "id": number,
                    "obs_id": f"HSCA{number:08d}",
                    "physical_filter": "HSC-R",
                    "group": str(number),
                    "day_obs": day,
                    "timespan": Timespan(None, None),
                    "has_simulated": True,
                }
                for number in range(exposures)
            ),
        )
    return root


def run(root: Path, exposures: int, workers: int) -> Result:
    """Run one graph and watch the memory of its processes."""
    summary = root.parent / f"{exposures}.json"
    command = [
        *(SCRIPTS / "isr-run", "-b", root, "-i", "empty", "--output-run", f"run/{exposures}"),
        *("-t", "benchmarks.trivial_task.TrivialTask:trivial", "--no-versions"),
        *("--instrument", "lsst.obs.subaru.HyperSuprimeCam", "--dask", f"local:{workers}"),
        *("-d", f"instrument='HSC' AND exposure < {exposures} AND detector < {DETECTORS}"),
        *("--summary", summary, "--log-level", "WARNING"),
    ]
    start = time.perf_counter()
    process = subprocess.Popen(
        list(map(str, command)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL if not os.environ.get("BENCH_SHOW") else None,
        env=os.environ | {"PYTHONPATH": str(HERE)},
    )
    peaks = {"driver": 0, "worker": 0}
    watcher = threading.Thread(target=watch, args=(process, peaks), daemon=True)
    watcher.start()
    if process.wait():
        sys.exit(f"{' '.join(map(str, command))}\nended with exit code {process.returncode}")
    wall = time.perf_counter() - start
    watcher.join()
    execution = json.loads(summary.read_text())["execution"]
    seconds, percentiles = execution["seconds"], execution["percentiles"]["trivial"]
    return Result(
        execution["counts"]["done"],
        wall,
        seconds["execution"],
        seconds["registration"],
        percentiles["total"]["median"],
        peaks["driver"],
        peaks["worker"],
    )


def watch(process: subprocess.Popen[bytes], peaks: dict[str, int]) -> None:
    """Note the largest resident memory of the command, and of each of its other processes."""
    while process.poll() is None:
        for pid in [process.pid, *descendants(process.pid)]:
            kind = "driver" if pid == process.pid else "worker"
            peaks[kind] = max(peaks[kind], resident(pid))
        time.sleep(0.2)


def descendants(pid: int) -> list[int]:
    """Return the processes that a process has started, and those that they have."""
    try:
        children = [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
    return children + [found for child in children for found in descendants(child)]


def resident(pid: int) -> int:
    """Return the resident memory of a process in bytes."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", default="1000,5000,20000", help="Numbers of quanta, multiples of 100.")
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    sizes = [int(size) // DETECTORS for size in arguments.sizes.split(",")]
    names = (
        "quanta",
        "wall s",
        "execution s",
        "quanta/s",
        "median ms",
        "registration s",
        "driver MB",
        "worker MB",
    )
    print("  ".join(names))
    with tempfile.TemporaryDirectory() as folder:
        root = make_repository(Path(folder), max(sizes))
        for size in sizes:
            result = run(root, size, arguments.workers)
            values = (
                f"{result.quanta}",
                f"{result.wall:.1f}",
                f"{result.execution:.1f}",
                f"{result.quanta / result.execution:.1f}",
                f"{1e3 * result.median:.0f}",
                f"{result.registration:.1f}",
                f"{result.driver_bytes / 2**20:.0f}",
                f"{result.worker_bytes / 2**20:.0f}",
            )
            line = (value.rjust(len(name)) for name, value in zip(names, values, strict=True))
            print("  ".join(line), flush=True)


if __name__ == "__main__":
    main()
