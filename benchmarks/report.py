"""The tables and the picture of a run of the benchmarks, and the sections of texts that are made of it.

python -m benchmarks.report RESULT.json [--picture FILE] [--keep docs/performance.json]
python -m benchmarks.report docs/performance.json --update README.md docs/performance.md
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks import projection
from benchmarks.goals import Goal, Measured, Results, measure, results_of
from benchmarks.machine import sentence

MARKS = {
    name: (f"<!-- {name}: made by benchmarks.report -->", f"<!-- end of {name} -->")
    for name in ("speed", "projection")
}


def goals_table(measured: list[Measured]) -> list[str]:
    """Return the table of what was promised, in Markdown."""
    lines = ["| what | measured: min | median | must | stretch | met |", "|---|---|---|---|---|---|"]
    for found in measured:
        goal = found.goal
        sign = "≥" if goal.kind == "speed-up" else "≤"
        limits = " | ".join(f"{sign} {_number(goal, limit)}" for limit in (goal.must, goal.stretch))
        values = " | ".join(_number(goal, value) for value in (found.best, found.median))
        lines.append(f"| {goal.what} | {values} | {limits} | {found.verdict} |")
    return lines


def _number(goal: Goal, value: float) -> str:
    match goal.kind:
        case "s":
            return f"{value:.2f} s" if value >= 1 else f"{1e3 * value:.0f} ms"
        case "MB":
            return f"{value:.0f} MB"
        case "speed-up":
            return f"{value:.0f}×"
    return f"{value:.2f}×"


def contests_table(results: Results) -> list[str]:
    """Return all that was timed: CPU and wall time, and CPU time relative to the first of each benchmark."""
    lines = [
        "| benchmark | who | CPU min | CPU median | wall median | CPU min / first |",
        "|---|---|---|---|---|---|",
    ]
    for name, info in results.items():
        first = 0.0
        for who, cpu in info.get("cpu", {}).items():
            first = first or min(cpu)
            wall = statistics.median(info["wall"][who])
            times = " | ".join(f"{1e3 * value:.1f} ms" for value in (min(cpu), statistics.median(cpu), wall))
            lines.append(f"| {name} | {who} | {times} | {min(cpu) / first:.2f} |")
    return lines


def details(results: Results) -> list[str]:
    """Return the steps, the phases of ``isr-run -b``, the scaling, memory and sizes of files."""
    lines: list[str] = []
    for key, title in (("steps", "step of the full configuration"), ("phases", "phase of isr-run -b")):
        found = {what: times for info in results.values() for what, times in info.get(key, {}).items()}
        if found:
            lines += ["", f"| {title} | CPU min | median |", "|---|---|---|"]
            lines += [
                f"| {what} | {1e3 * min(times):.1f} ms | {1e3 * statistics.median(times):.1f} ms |"
                for what, times in found.items()
            ]
    runs = {name: info for name, info in results.items() if "quanta" in info}
    if runs:
        lines += ["", "| scaling | quanta | execution | quanta/s |", "|---|---|---|---|"]
        for name, info in runs.items():
            rate = info["quanta"] / info["execution"]
            lines.append(f"| {name} | {info['quanta']} | {info['execution']:.1f} s | {rate:.1f} |")
    for key, title, unit in (("peak_mb", "peak memory", 1.0), ("bytes", "size of the file", 1e6)):
        found = {
            f"{name}: {who}": values
            for name, info in results.items()
            for who, values in info.get(key, {}).items()
        }
        if found:
            lines += ["", f"| {title} | MB |", "|---|---|"]
            values = {name: min(v) if isinstance(v, list) else v for name, v in found.items()}
            lines += [f"| {name} | {value / unit:.0f} |" for name, value in values.items()]
    return lines


def draw(measured: list[Measured], machine: Mapping[str, Any], path: Path) -> None:
    """Draw a bar for each goal against its limit; no times or random numbers go into the file."""
    from matplotlib.figure import Figure

    colours = {"stretch": "#2a7f3f", "must": "#7fbf7b", "MISSED": "#c0392b"}
    figure = Figure(figsize=(9, 0.5 * len(measured) + 1.6), layout="constrained")
    axes = figure.subplots()
    names = [found.goal.what.replace("`", "") for found in measured]
    parts = [found.part_of_limit for found in measured]
    axes.barh(names, parts, color=[colours[found.verdict] for found in measured])
    for row, found in enumerate(measured):
        text = f" {_number(found.goal, found.best)} (must {_number(found.goal, found.goal.must)})"
        axes.text(found.part_of_limit, row, text, va="center", fontsize=8)
    axes.axvline(1.0, color="black", linewidth=1)
    axes.set_xlim(0, max([1.0, *parts]) * 1.35)
    axes.invert_yaxis()
    axes.set_xlabel("part of the limit that is used: 1 is 'must', less is better")
    axes.set_title(f"{machine['cpu']}, {machine['cores']} cores, load {machine['load']}", fontsize=9)
    figure.savefig(path, dpi=110, metadata={"Software": None})


def condense(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the report needs of a result, small enough to be kept in the repository."""

    def rounded(value: Any) -> Any:
        if isinstance(value, float):
            return float(f"{value:.4g}")
        if isinstance(value, Mapping):
            return {key: rounded(item) for key, item in value.items()}
        return [rounded(item) for item in value] if isinstance(value, list) else value

    benchmarks = [{"name": b["name"], "extra_info": rounded(b["extra_info"])} for b in document["benchmarks"]]
    return {"machine_info": {"described": document["machine_info"]["described"]}, "benchmarks": benchmarks}


def readme_section(document: Mapping[str, Any]) -> str:
    """Return README's section: the table and the machine."""
    machine = document["machine_info"]["described"]
    text = (
        "`make bench` measures this: CPU time of one full-size detector (2144 x 4241 raw pixels),\n"
        "everything that is compared in the same run, taking turns. What is timed, and how: "
        "[performance](docs/performance.md).\n"
    )
    table = "\n".join(goals_table(measure(results_of(document))))
    table += "\n\n![each number as a part of its limit](docs/performance.png)"
    begin, end = MARKS["speed"]
    return f"{begin}\n{text}\n{table}\n\nMeasured on {sentence(machine)}\n{end}"


def projection_section(document: Mapping[str, Any]) -> str:
    """Return the section about an m5.xlarge."""
    begin, end = MARKS["projection"]
    machine = document["machine_info"]["described"]
    lines = projection.table(results_of(document))
    return "\n".join([begin, *lines, "", f"Measured on {sentence(machine)}", end])


def update(text: str, document: Mapping[str, Any]) -> str:
    """Return a text with its sections made anew; a section is what stands between its two marks."""
    makers = {"speed": readme_section, "projection": projection_section}
    there = [name for name, (begin, end) in MARKS.items() if begin in text and end in text]
    if not there:
        raise ValueError(f"there are no marks such as {MARKS['speed'][0]}")
    for name in there:
        begin, end = MARKS[name]
        before, _, rest = text.partition(begin)
        text = before + makers[name](document) + rest.partition(end)[2]
    return text


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("result", type=Path, help="JSON of pytest-benchmark")
    parser.add_argument("--picture", type=Path, help="PNG to draw")
    parser.add_argument("--keep", type=Path, help="write what the report needs of the JSON to this file")
    parser.add_argument(
        "--update", type=Path, nargs="+", default=[], help="texts whose sections are made anew"
    )
    arguments = parser.parse_args()
    document = json.loads(arguments.result.read_text())
    results, machine = results_of(document), document["machine_info"]["described"]
    measured = measure(results)
    print("\n".join([*goals_table(measured), "", *contests_table(results), *details(results)]))
    print(f"\n{sentence(machine)}")
    if arguments.picture and measured:
        draw(measured, machine, arguments.picture)
    if arguments.keep:
        arguments.keep.write_text(
            json.dumps(condense(document), separators=(",", ":"), sort_keys=True) + "\n"
        )
    for path in arguments.update:
        path.write_text(update(path.read_text(), document))


if __name__ == "__main__":
    main()
