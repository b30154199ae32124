"""Runs in a process of its own, on the isr and pipeline that PYTHONPATH names, and prints what it counted.

    python benchmarks/guard/probe.py SCENARIO ARGUMENT ...

The last line of the output is JSON.
"""

from __future__ import annotations

import json
import logging
import pickle
import sys
import time
import tracemalloc
from collections import Counter
from pathlib import Path
from typing import Any

VISIT, DETECTOR = 903334, 22
OPENED: Counter[str] = Counter()


def watch_files(root: Path) -> None:
    """Count from now on what Python opens below a folder; an audit hook stays for ever."""
    prefix = f"{root.resolve()}/"

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(arguments[0], (str, bytes)):
            name = arguments[0] if isinstance(arguments[0], str) else arguments[0].decode()
            if name.startswith(prefix):
                mode = arguments[1]
                is_writing = bool(set(mode) & set("wxa+")) if mode else bool(arguments[2] & 3)
                OPENED["written" if is_writing else "read"] += 1

    sys.addaudithook(hook)


def file_mode(raw: str, calibs: str, output: str) -> dict[str, int]:
    """Reduce one raw in the full configuration: whole planes that are allocated, files, peak of memory."""
    from benchmarks.guard.allocations import planes_allocated
    from isr import hsc_config
    from pipeline.file_mode import FileJob

    def job(name: str) -> FileJob:
        return FileJob(calibs, str(Path(output) / name), hsc_config())

    _reduce(job("first"), raw)  # compiles
    watch_files(Path(calibs))
    watch_files(Path(output))
    OPENED.clear()
    tracemalloc.start()
    with planes_allocated() as planes:
        _reduce(job("second"), raw)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    counts = {
        "planes allocated": len(planes),
        "planes allocated, MB": round(sum(size for _, size in planes) / 1e6),
        "peak of traced memory, MB": round(peak / 1e6),
        "files read": OPENED["read"],
        "files written": OPENED["written"],
    }
    by_whom = Counter(who for who, _ in planes)
    return counts | {f"planes of {who}": number for who, number in sorted(by_whom.items())}


def s3(uri: str, raw: str) -> dict[str, int]:
    """Reduce one raw twice from and to S3: the first reads the calibrations, the second has them."""
    from isr import hsc_config
    from pipeline.file_mode import FileJob

    job = FileJob(uri, f"{uri}/out", hsc_config(), overwrite=True)
    for number in ("first", "next"):
        print(number, flush=True)  # whoever counts the requests waits for an answer
        sys.stdin.readline()
        _reduce(job, f"{uri}/{raw}")
    print("end", flush=True)
    sys.stdin.readline()
    return {}


def _reduce(job: Any, raw: str) -> None:
    outcome = job.reduce(raw)
    if outcome.error:
        sys.exit(outcome.error)


def make_inputs(kind: str, path: str) -> dict[str, int]:
    """Make the inputs of a kind, and run once, so that everything is compiled."""
    from benchmarks.guard.small import INPUTS
    from isr.run import run_isr

    inputs = INPUTS[kind]()
    Path(path).write_bytes(pickle.dumps(inputs))
    run_isr(*inputs)
    return {}


def instructions(path: str) -> dict[str, int]:
    """Run under callgrind, which counts the second of two runs."""
    from benchmarks.guard.callgrind import counting
    from isr.run import run_isr

    inputs = pickle.loads(Path(path).read_bytes())
    run_isr(*inputs)
    with counting():
        run_isr(*inputs)
    return {}


def turns(path: str) -> dict[str, int]:
    """Run when told to, and print the CPU seconds."""
    from isr.run import run_isr

    inputs = pickle.loads(Path(path).read_bytes())
    run_isr(*inputs)
    print("ready", flush=True)
    for _ in sys.stdin:
        start = time.process_time()
        for _ in range(5):
            run_isr(*inputs)
        print(time.process_time() - start, flush=True)
    return {}


SCENARIOS = {f.__name__: f for f in (file_mode, s3, make_inputs, instructions, turns)}

if __name__ == "__main__":
    logging.disable(logging.WARNING)
    print(json.dumps(SCENARIOS[sys.argv[1]](*sys.argv[2:])))
