"""What is counted exactly, and compared with what is noted in ``counts.json``."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.data import DETECTOR, RAW_NAME, VISIT
from benchmarks.guard.trees import ROOT, command, environment, probe
from benchmarks.measure import SCRIPTS
from tests.faults.proxy import Proxy
from tests.s3server import S3Server

NOTED = Path(__file__).parent / "counts.json"
PIPELINE = ROOT / "pipeline" / "pipelines" / "visit.yaml"
TOLERANCES = {"peak of traced memory, MB": 8}
"""What may vary a little: with the version of Python, for example; a plane has 34 MB."""

type Counts = dict[str, int]


def make_data(folder: Path) -> Path:
    """Simulate detector 22 and put it into a Butler repository."""
    _run([SCRIPTS / "isr-repo", "demo", folder / "repo", "--detectors", "22", "--log-level", "WARNING"], ROOT)
    return folder / "repo"


def count_memory(tree: Path, repository: Path) -> Counts:
    """Count planes, files and memory of one raw from files to a file."""
    data = repository / "data"
    with tempfile.TemporaryDirectory() as output:
        return probe(tree, "file_mode", data / "raw" / RAW_NAME, data, output)


def count_s3(tree: Path, repository: Path) -> Counts:
    """Count the requests and bytes of a raw from S3 to S3, without and with its calibrations in memory."""
    data = repository / "data"
    found: Counts = {}
    with S3Server() as server:
        client = server.client()
        client.create_bucket(Bucket="guard")
        for path in data.rglob("*"):
            if path.is_file():
                client.put_object(Bucket="guard", Key=str(path.relative_to(data)), Body=path.read_bytes())
        proxy = Proxy(server.endpoint)
        variables = server.environment() | {"AWS_ENDPOINT_URL": proxy.endpoint}
        process = subprocess.Popen(
            command("s3", "s3://guard", f"raw/{RAW_NAME}"),
            env=environment(tree, **variables),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        last = ""
        for line in process.stdout:
            if last:
                found |= {f"{last} raw: {what}": number for what, number in sorted(proxy.traffic.items())}
            proxy.traffic.clear()
            last = line.strip()
            if last == "end":
                break
            process.stdin.write("go\n")
            process.stdin.flush()
        process.stdin.close()
        code = process.wait()
        proxy.close()
    if code or last != "end":
        raise RuntimeError(f"the job from and to S3 ended with {code} in {last!r}")
    return found


def count_quanta(tree: Path, repository: Path) -> Counts:
    """Count the quanta that a command executes, and those that the same command executes again."""
    found = {}
    for what in ("first command", "the same again"):
        with tempfile.TemporaryDirectory() as folder:
            summary = Path(folder) / "summary.json"
            arguments = ["-b", repository, "-i", "HSC/defaults", "-o", "guard", "-p", PIPELINE]
            query = [
                "-d",
                f"instrument='HSC' AND exposure={VISIT} AND detector={DETECTOR}",
                "--summary",
                summary,
            ]
            _run([SCRIPTS / "isr-run", *arguments, *query, "--log-level", "WARNING"], tree)
            found[f"quanta executed, {what}"] = _executed(summary)
    return found


def _executed(summary: Path) -> int:
    if not summary.exists():  # there was nothing to do
        return 0
    reports = json.loads(summary.read_text())["quantaReports"]
    return sum(report["status"] == "success" for report in reports)


def _run(arguments: list[object], tree: Path) -> None:
    done = subprocess.run(
        list(map(str, arguments)), env=environment(tree), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, arguments))} ended with {done.returncode}\n{done.stderr}")


SCENARIOS: dict[str, Callable[[Path, Path], Counts]] = {
    "files": count_memory,
    "S3": count_s3,
    "Butler": count_quanta,
}


def count(tree: Path, repository: Path, only: list[str]) -> dict[str, Counts]:
    """Run scenarios; return what each counted."""
    return {name: SCENARIOS[name](tree, repository) for name in SCENARIOS if name in only}


def compare(noted: Counts, found: Counts) -> tuple[list[str], list[str]]:
    """Return a table, and a message for each count that has grown."""
    rows, messages = [], []
    for what in sorted(noted | found):
        before, now = noted.get(what, 0), found.get(what, 0)
        is_detail = " of isr/" in what or " of pipeline/" in what
        grew = now > before + TOLERANCES.get(what, 0)
        if grew and not is_detail:
            messages.append(f"{what} grew from {before} to {now}")
        if grew or not is_detail:
            verdict = "GREW" if grew else "fewer: make guard-update" if now < before else ""
            rows.append(f"{what:55}{before:>12}{now:>12}  {verdict}".rstrip())
    if messages:
        details = [
            w for w in found if (" of isr/" in w or " of pipeline/" in w) and found[w] > noted.get(w, 0)
        ]
        messages += [f"    {what}: {noted.get(what, 0)} -> {found[what]}" for what in details]
    return rows, messages
