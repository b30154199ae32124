"""Build the image, use it, and say what was found; called by ``tools/image_check.sh``."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from tools.image.cluster import check_cluster, check_repository
from tools.image.engine import UID, Engine
from tools.image.inside import check_container, measure_start
from tools.image.planted import build, check_layers
from tools.image.reduction import check_reduction
from tools.image.report import CheckError, Report
from tools.image.static import check_files

LIMITS = {"unpacked_MB": 700, "compressed_MB": 260}


def main() -> int:
    """Return 0 if every check has passed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="for images, files and report.json")
    parser.add_argument("--base", required=True, help="image to build on")
    parser.add_argument("--stand-in", action="store_true", help="the base is not the official image")
    parser.add_argument("--programs", type=Path, required=True, help="folder of hadolint and others")
    arguments = parser.parse_args()
    folder = arguments.folder.resolve()
    report = Report()
    report.figures["base"] = f"{arguments.base}{' (a stand-in)' if arguments.stand_in else ''}"
    engine = Engine(folder, "localhost/hsc-isr:check")
    data = folder / "data"
    data.mkdir(parents=True)
    os.chown(data, UID, UID)

    check_files(report, arguments.programs)
    planted = build(report, engine, arguments.base, folder / "planted")
    if report.checks[-1]["passed"]:
        check_layers(report, engine, planted, folder / "layers")
        report.run("size", lambda: _size(report))
        check_container(report, engine, folder)
        measure_start(report, engine)
        check_reduction(report, engine, data, Path(sys.executable).parent)
        check_repository(report, engine, data)
        check_cluster(report, engine, data)
    report.write(folder / "report.json")
    passed = sum(bool(check["passed"]) for check in report.checks)
    print(f"{passed} of {len(report.checks)} checks passed; {folder / 'report.json'}")
    if arguments.stand_in:
        print("The base was a stand-in (Debian and a Python of this machine), not the official Python image:")
        print("our layers were tried, and the sizes are those with it.")
    return 0 if report.passed else 1


def _size(report: Report) -> str:
    found = {name: report.figures.get(name, 0) for name in LIMITS}
    too_large = {name: size for name, size in found.items() if int(str(size)) > LIMITS[name]}
    if too_large or not all(found.values()):
        raise CheckError(f"found {found}, expected at most {LIMITS}")
    return ", ".join(
        f"{name.replace('_', ' ')} {size} (at most {LIMITS[name]})" for name, size in found.items()
    )


if __name__ == "__main__":
    sys.exit(main())
