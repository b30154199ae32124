"""Instructions (hard, with a margin) and CPU time (soft) of both kinds of inputs, against the merge base.

Both trees compile for the same processor, one that valgrind knows, into caches
of their own, and simulate their own input.
"""

from __future__ import annotations

import os
import re
import shutil
import statistics
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from benchmarks.guard.callgrind import is_possible
from benchmarks.guard.trees import ROOT, check_out, command, differs, environment, find_base, probe

MARGIN = 1.05
ROUNDS = 9
KINDS = {"full": "full configuration, small detector", "basic": "basic ISR, whole detector"}


@dataclass(frozen=True)
class Side:
    """One of the two trees, ready to run a kind of inputs."""

    tree: Path
    folder: Path
    kind: str

    @property
    def inputs(self) -> Path:
        """Pickled input of `isr.run.run_isr`."""
        return self.folder / f"{self.kind}.pickle"

    @property
    def variables(self) -> dict[str, str]:
        """Where and for which processor Numba compiles."""
        target = {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": ""} if is_possible else {}
        return {"NUMBA_CACHE_DIR": str(self.folder / "numba"), **target}


def why_not() -> str:
    """Say why instructions cannot be counted here; ``""`` if they can."""
    if not is_possible:
        return "callgrind is switched on by instructions of x86-64, and this is another processor"
    return "" if shutil.which("valgrind") else "valgrind is not installed (apt-get install valgrind)"


def compare(tree: Path) -> tuple[list[str], list[str], dict[str, object]]:
    """Return lines to print, messages about what grew, and the numbers."""
    base, why = find_base()
    if not base:
        return [f"Skipped: nothing to compare with: {why}."], [], {}
    lines = [f"Merge base: {base[:12]} ({why})."]
    if tree == ROOT and not differs(base):
        return [*lines, "Skipped: isr and pipeline are the same there."], [], {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        trees = {"now": tree, "base": check_out(base, folder / "tree")}
        messages: list[str] = []
        numbers: dict[str, object] = {}
        for kind in KINDS:
            sides = Side(trees["now"], folder / "now", kind), Side(trees["base"], folder / "base", kind)
            found, grown, counted = _compare_kind(sides)
            lines += found
            messages += grown
            numbers[kind] = counted
    return lines, messages, numbers


def _compare_kind(sides: tuple[Side, Side]) -> tuple[list[str], list[str], dict[str, object]]:
    for side in sides:
        side.folder.mkdir(exist_ok=True)
    with ThreadPoolExecutor(min(2, os.cpu_count() or 1)) as pool:
        list(
            pool.map(
                lambda side: probe(side.tree, "make_inputs", side.kind, side.inputs, **side.variables), sides
            )
        )
        found, messages, numbers = _instructions(sides, pool)
    ratio = _ratio(*sides)
    found.append(f"CPU time / base: {min(ratio):.2f} min, {statistics.median(ratio):.2f} median (no gate)")
    return found, messages, numbers | {"CPU time / base": ratio}


def _instructions(
    sides: tuple[Side, Side], pool: ThreadPoolExecutor
) -> tuple[list[str], list[str], dict[str, object]]:
    if reason := why_not():
        return [f"Instructions: skipped: {reason}."], [], {}
    now, base = pool.map(count_instructions, sides)
    ratio = now / base
    millions = f"{now / 1e6:.1f} million, {base / 1e6:.1f} at the base"
    line = f"Instructions, {KINDS[sides[0].kind]}: {millions}: {ratio:.3f}"
    messages = []
    if ratio > MARGIN:
        messages.append(
            f"{sides[0].kind}: instructions grew by {100 * (ratio - 1):.1f} %, "
            f"more than {100 * (MARGIN - 1):.0f} %"
        )
    return [line], messages, {"instructions": now, "instructions of the base": base}


def count_instructions(side: Side) -> int:
    """Return the instructions of one `isr.run.run_isr`."""
    valgrind = ["valgrind", "--tool=callgrind", "--instr-atstart=no", "--callgrind-out-file=/dev/null"]
    done = subprocess.run(
        [*valgrind, *command("instructions", side.inputs)],
        env=environment(side.tree, **side.variables),
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode or not found or not int(found[1]):
        raise RuntimeError(f"valgrind ended with {done.returncode}\n{done.stderr}")
    return int(found[1])


def _ratio(now: Side, base: Side) -> list[float]:
    """Return the ratios of CPU time; the two processes take turns."""
    processes = [
        subprocess.Popen(
            command("turns", side.inputs),
            env=environment(side.tree, **side.variables),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for side in (now, base)
    ]

    def ask(process: subprocess.Popen[str]) -> float:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("go\n")
        process.stdin.flush()
        return float(process.stdout.readline())

    try:
        for process in processes:
            assert process.stdout is not None
            process.stdout.readline()  # ready
        first, second = processes
        return [ask(first) / ask(second) for _ in range(ROUNDS)]
    finally:
        for process in processes:
            process.communicate()
