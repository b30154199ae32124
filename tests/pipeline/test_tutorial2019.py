"""The command line of 2019: what it is today, and what has no translation."""

from __future__ import annotations

import shlex
import sys

import click
import pytest

from pipeline.cli import isr_run
from pipeline.cli.tutorial2019 import modernise
from tests.pipeline.butler_mode_repository import commands, filled_repository

__all__ = ["commands", "filled_repository"]  # fixtures

REPO = "s3://bucket/butler.yaml"
BEFORE = f"-b {REPO} -p lsst.ip.isr -i calib,shared/ci_hsc -o jobs/1"
TODAY = f"-b {REPO} -i calib,shared/ci_hsc -o jobs/1"
TASK_TODAY = "-t pipeline.task.IsrTask:isr"
LAST = "--register-dataset-types"


def today(line: str) -> str:
    return shlex.join(modernise(shlex.split(line)))


def test_line_of_the_tutorial(tmp_path, capsys):
    (tmp_path / "isr.py").touch()
    query = "-d 'visit.visit=903334 and detector.detector=22'"
    line = f"{query} {BEFORE} run -t isrTask.IsrTask:isr -C isr:{tmp_path}/"
    file = tmp_path / "isr.py"
    expected = f"-d 'visit=903334 and detector=22' {TODAY} {TASK_TODAY} -C isr:{file} {LAST}"
    assert today(line) == expected
    said = capsys.readouterr()
    assert said.out == ""
    assert f"  isr-run {expected}\n" in said.err
    assert f"  pipetask run {expected}\n" in said.err


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("visit.visit = 1 AND detector.detector IN (1..5)", "visit = 1 AND detector IN (1..5)"),
        ("visit.id=1 and detector.id=2 or exposure.id=3", "visit=1 and detector=2 or exposure=3"),
        ("exposure.exposure_time > 3", "exposure.exposure_time > 3"),
        ("physical_filter.physical_filter='a.a visit.visit'", "physical_filter='a.a visit.visit'"),
        ("abstract_filter='r'", "band='r'"),
        ("visit=1", "visit=1"),
        ("Visit.visit=1 and Detector.detector=2 and Exposure.ID=3", "visit=1 and detector=2 and exposure=3"),
    ],
)
def test_query(before, after):
    line = today(f"{BEFORE} -d {shlex.quote(before)} run -t IsrTask")
    assert line == f"{TODAY} -d {shlex.quote(after)} {TASK_TODAY} {LAST}"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("-L warn", "--log-level WARNING"),
        ("-L isr.run=debug --longlog", "--log-level isr.run=DEBUG --long-log"),
    ],
)
def test_options_about_logs(before, after, capsys):
    assert today(f"{before} {BEFORE} run -t IsrTask") == f"{after} {TODAY} {TASK_TODAY} {LAST}"
    assert f"pipetask {after} run {TODAY}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("-j 4", "-j 4"),
        ("-j4", "-j 4"),
        ("--processes=4", "-j 4"),
        ("-t 600", "--timeout 600"),
        ("--timeout=600.0", "--timeout 600"),
        ("--doraise", "--fail-fast"),
        ("--clobber-output", "--clobber-outputs"),
        ("--no-versions", "--no-versions"),
        ("--profile p.out", "--profile p.out"),
        ("--register-dataset-types", ""),
        ("--skip-existing", ""),
        ("--clobber-config --clobber-versions --no-backup-config", ""),
    ],
)
def test_other_options(before, after):
    expected = " ".join(part for part in (TODAY, after, TASK_TODAY, LAST) if part)
    assert today(f"{BEFORE} {before} run -t IsrTask") == expected


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("-c isr:doFlat=False", "-c isr:doFlat=False"),
        ("-c isr.doFlat=False", "-c isr:doFlat=False"),
        ("-c isr:overscan.order=3.5", "-c isr:overscan.order=3.5"),
        ("-c IsrTask:doFlat=False", "-c isr:doFlat=False"),
        ("-C isr:s3://bucket/isr.py", "-C isr:s3://bucket/isr.py"),
        ("--configfile=isr:some.py", "-C isr:some.py"),
        ("--show config --show tasks", "--show config --show tasks"),
        ("-p pipeline.yaml -d other", "-p pipeline.yaml --delete other"),
        ("--init-only --order-pipeline", "--init-only"),
        ("-g graph.qgraph", "-g graph.qgraph"),
    ],
)
def test_options_after_run(before, after):
    assert today(f"{BEFORE} run {before}") == f"{TODAY} {after} {LAST}"


@pytest.mark.parametrize(
    ("task", "package"),
    [
        ("isrTask.IsrTask:isr", "lsst.ip.isr"),
        ("isrTask.IsrTask", "lsst.ip.isr,lsst.pipe.tasks"),
        ("IsrTask", "lsst.ip.isr"),
        ("ip.isr.IsrTask", "lsst"),
        ("lsst.ip.isr.isrTask.IsrTask:isr", "lsst.pipe.tasks"),
        ("pipeline.task.IsrTask:isr", "lsst.pipe.tasks"),
    ],
)
def test_task(task, package):
    assert today(f"-b {REPO} -p {package} run -t {task}") == f"-b {REPO} {TASK_TODAY} {LAST}"


def test_collections(capsys):
    assert today(f"-b {REPO} -i calib:shared/ci_hsc run") == f"-b {REPO} -i calib,shared/ci_hsc {LAST}"


@pytest.mark.parametrize("name", ["other.py", "isr.py", "config/other.py", "config/isr.py"])
def test_directory_of_configuration(tmp_path, name):
    (tmp_path / "config").mkdir()
    (tmp_path / name).touch()
    line = today(f"-b {REPO} run -t isrTask.IsrTask:other -C other:{tmp_path}/")
    assert line == f"-b {REPO} -t pipeline.task.IsrTask:other -C other:{tmp_path / name} {LAST}"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (f"{BEFORE} run -t charTask.CharTask:char", "only the task isrTask.IsrTask"),
        (f"{BEFORE} run --save-single-quanta q", "use --save-qgraph"),
        (f"{BEFORE} run -m isr:1", "ordered by their data"),
        (f"{BEFORE} run -l isr:other", "-t CLASS:LABEL"),
        (f"{BEFORE} qgraph -t IsrTask", "pipetask qgraph --help"),
        (f"{BEFORE} list", "not 'list'"),
        (f"-b {REPO} -i raw:shared/ci_hsc run", r"one dataset type \(raw\)"),
        (f"{BEFORE} run --nonsense", "--nonsense"),
        (f"{BEFORE} run nonsense", "'nonsense' is not understood"),
        (f"{BEFORE} run -t", "--task needs a value"),
        (f"{BEFORE} run -t isrTask.IsrTask:isr -C isr:/no/dir/", "there is no directory /no/dir/"),
        (f"{BEFORE} run -C isr.py", "expected LABEL:FILE"),
        (f"{BEFORE} @options run", "'@options' is not understood"),
    ],
)
def test_refusals(line, reason):
    with pytest.raises(click.UsageError, match=reason):
        modernise(shlex.split(line))


def test_directory_without_configuration(tmp_path):
    (tmp_path / "readme.txt").touch()
    with pytest.raises(
        click.UsageError, match=r"neither isr\.py nor config/isr\.py \(there is: readme\.txt\)"
    ):
        modernise(["-b", REPO, "run", "-C", f"isr:{tmp_path}"])


@pytest.mark.parametrize(
    "line",
    [
        f"-b {REPO} -i HSC/defaults -o run -d 'visit=903334 AND detector=22'",
        f"-b {REPO} -o u/me/isr --output-run run -c isr:doFlat=False",
        f"--log-level DEBUG -b {REPO} -j 2 --show tasks --task pipeline.task.IsrTask:isr",
        f"-b{REPO} -ou/me/isr -d run",
    ],
)
def test_lines_of_today_are_left_alone(line, capsys):
    assert modernise(shlex.split(line)) == shlex.split(line)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("before", ["", "--log-level lsst=DEBUG --long-log "])
def test_lines_of_todays_pipetask(before, capsys):
    """``pipetask`` replaced by ``isr-run``."""
    assert (
        today(f"{before}run -b {REPO} -p isr.yaml -o u/me/isr")
        == f"{before}-b {REPO} -p isr.yaml -o u/me/isr"
    )
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("line", "is_butler"),
    [
        ("raw.fits --calibs DIR -o OUT", False),
        ("-b REPO -o u/me/isr", True),
        ("-o u/me/isr -bREPO", True),
        ("--butler-config=REPO", True),
        ("-o u/me/isr --butler-config REPO", True),
        ("-@ options.yaml", True),
        ("--help", False),
    ],
)
def test_which_mode(line, is_butler):
    assert isr_run.names_butler(shlex.split(line)) is is_butler


def test_refusal_is_a_usage_error(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["isr-run", *shlex.split(f"{BEFORE} run -m isr:1")])
    with pytest.raises(SystemExit) as ended:
        isr_run.main()
    assert ended.value.code == 2
    assert "--move has no translation" in capsys.readouterr().err


def test_translated_line_runs(commands, monkeypatch, capsys):
    """The whole way, as far as there are calibrations: the task, its label and the query are understood."""
    query = "exposure.exposure=903334 and detector.detector=22"
    line = (
        f"-d '{query}' -b {commands.root} -p lsst.ip.isr -i HSC/raw/all -o jobs/1 run -t isrTask.IsrTask:isr"
    )
    monkeypatch.setattr(sys, "argv", ["isr-run", *shlex.split(line)])
    with pytest.raises(SystemExit) as ended:
        isr_run.main()
    assert ended.value.code == 1
    assert "No bias for instrument HSC, exposure 903334, detector 22" in capsys.readouterr().err
