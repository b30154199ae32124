"""The gate of CI: exit code 1 if something grew.

python -m benchmarks.guard [--update]
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from benchmarks.guard import against_base
from benchmarks.guard.counts import NOTED, SCENARIOS, compare, count, make_data
from benchmarks.guard.trees import ROOT
from benchmarks.machine import describe


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--update", action="store_true", help="note the counts as they are now")
    parser.add_argument("--only", choices=[*SCENARIOS, "base"], action="append", help="only this; repeatable")
    parser.add_argument("--tree", type=Path, default=ROOT, help="folder whose isr and pipeline are measured")
    parser.add_argument("--repository", type=Path, help="what `isr-repo demo DIR --detectors 22` has made")
    parser.add_argument("--json", type=Path, help="file for the numbers")
    arguments = parser.parse_args()
    only = arguments.only or [*SCENARIOS, *([] if arguments.update else ["base"])]
    start = time.monotonic()
    with ExitStack() as stack:
        repository = arguments.repository
        if repository is None and set(only) & set(SCENARIOS):
            repository = make_data(Path(stack.enter_context(tempfile.TemporaryDirectory())))
        found = count(arguments.tree, repository, only)
    noted = json.loads(NOTED.read_text()) if NOTED.exists() else {}
    if arguments.update:
        NOTED.write_text(json.dumps(noted | found, indent=1, sort_keys=True) + "\n")
    messages = []
    for name, counts in found.items():
        rows, grown = compare(counts if arguments.update else noted.get(name, {}), counts)
        print(f"{name:55}{'noted':>12}{'now':>12}", *rows, "", sep="\n")
        messages += [f"{name}: {message}" for message in grown]
    numbers: dict[str, object] = {"machine": describe(), "counts": found}
    if "base" in only:
        lines, grown, against = against_base.compare(arguments.tree)
        print(*lines, sep="\n")
        messages += grown
        numbers |= against
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(numbers, indent=1) + "\n")
    print(f"{time.monotonic() - start:.0f} s")
    if messages:
        print("What grew (if it has to: make guard-update, and commit counts.json):", *messages, sep="\n")
        sys.exit(1)


if __name__ == "__main__":
    main()
