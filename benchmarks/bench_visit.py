"""A visit through three tasks: Dask workers against ``pipetask run``, on the same quantum graph.

    python benchmarks/bench_visit.py REPO [--query "visit=903334"] [--workers 2]

REPO is what ``isr-repo demo REPO --all`` makes: 33 detectors, 99 quanta. The
commands run one after the other, each in a RUN of its own, which is removed
again; the pixels of all are compared.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import resource
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

from lsst.daf.butler import Butler

SCRIPTS = Path(sys.executable).parent
PIPELINE = Path(__file__).parents[1] / "pipeline" / "pipelines" / "visit.yaml"


def run(*command: object) -> tuple[float, float]:
    """Run a command; return its wall and CPU seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    done = subprocess.run(
        [str(SCRIPTS / str(command[0])), *map(str, command[1:])], capture_output=True, text=True, check=False
    )
    wall = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stderr}")
    return wall, sum(after[:2]) - sum(before[:2])


def pixels(repository: str, name: str) -> dict[int, str]:
    """Return a hash of the image, mask and variance of each detector."""
    from pipeline import Butler as OurButler

    found = {}
    with OurButler(repository, collections=name, instrument="HSC") as butler:
        for ref in butler.query_datasets("postISRCCD"):
            exposure = butler.get(ref)
            digest = hashlib.sha256()
            for plane in (exposure.image, exposure.mask, exposure.variance):
                digest.update(plane.tobytes())
            found[ref.dataId["detector"]] = digest.hexdigest()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("repository")
    parser.add_argument("--query", default="instrument='HSC' AND visit=903334")
    parser.add_argument("--input", default="HSC/defaults")
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    base = f"bench/{datetime.now():%Y%m%dT%H%M%S}"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        results, hashes = measure(arguments, base, folder)
        execution = json.loads((folder / "summary.json").read_text())["execution"]
    report(results, hashes, execution)


def measure(
    arguments: argparse.Namespace, base: str, folder: Path
) -> tuple[dict[str, tuple[float, float]], list[dict[int, str]]]:
    """Run all commands; return their seconds and what pixels they made."""
    repository, workers = arguments.repository, arguments.workers
    graph = folder / "graph.qg"
    what = ("-b", repository, "-i", arguments.input, "-d", arguments.query, "-p", PIPELINE)
    run(
        "pipetask",
        "qgraph",
        *what,
        "--output-run",
        f"{base}/graph",
        "-q",
        graph,
        "--qgraph-datastore-records",
    )
    commands = {
        "pipetask run": ("pipetask", "run", "--register-dataset-types"),
        f"pipetask run -j {workers}": ("pipetask", "run", "--register-dataset-types", "-j", workers),
        f"isr-run --dask local:{workers}": (
            *("isr-run", "--dask", f"local:{workers}", "--summary", folder / "summary.json"),
        ),
    }
    results, hashes = {}, []
    for number, (title, command) in enumerate(commands.items()):
        name, own = f"{base}/{number}", folder / f"{number}.qg"
        run("pipetask", "update-graph-run", graph, name, own)
        print(f"{title} ...", file=sys.stderr, flush=True)
        results[title] = run(*command, "-b", repository, "-g", own, "--output-run", name)
        hashes.append(pixels(repository, name))
        with Butler.from_config(repository, writeable=True) as butler:
            butler.removeRuns([name])
    return results, hashes


def report(
    results: dict[str, tuple[float, float]], hashes: list[dict[int, str]], execution: dict[str, object]
) -> None:
    """Print what was measured."""
    (first, (reference, _)), *_ = results.items()
    print(f"{'':28}{'wall s':>8}{'CPU s':>8}   wall against {first}")
    for title, (wall, cpu) in results.items():
        print(f"{title:28}{wall:8.1f}{cpu:8.1f}   {100 * wall / reference:.0f} %")
    same = all(found == hashes[0] for found in hashes)
    print(f"{len(hashes[0])} exposures; image, mask and variance {'are the same' if same else 'DIFFER'}")
    print("Seconds of isr-run --dask:", json.dumps(execution["seconds"]))
    print(f"{'':18}{'part':10}{'median':>8}{'p90':>8}{'p99':>8}{'sum':>8}")
    for label, parts in execution["percentiles"].items():  # type: ignore[attr-defined]
        for part, numbers in parts.items():
            values = "".join(f"{numbers[name]:8.3f}" for name in ("median", "p90", "p99", "sum"))
            print(f"{label:18}{part:10}{values}")
    if not same:
        sys.exit(1)


if __name__ == "__main__":
    main()
