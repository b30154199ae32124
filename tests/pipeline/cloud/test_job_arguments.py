"""What of a command line goes to the head of a cluster."""

from __future__ import annotations

import shlex

import click
import pytest

from pipeline.cloud.job_arguments import command_line
from pipeline.cloud.jobs import Job, JobError, file_name, filled, new_id, placeholder
from pipeline.overlay import activate

activate()

REPO = "s3://bucket/repo"


def parsed(*arguments: str):
    """Return what goes to the head, as the real command parses it."""
    from lsst.daf.butler.cli.utils import MWCtxObj

    from pipeline.cli.isr_run_butler import command

    with command.make_context("isr-run", ["-b", REPO, *arguments]) as ctx:
        return command_line(MWCtxObj.getFrom(ctx).args, ctx.command.params)


def test_the_order_is_kept(tmp_path):
    (tmp_path / "a b.py").write_text("config.x = 1")
    text = (
        '-i HSC/defaults,HSC/calib -o u/me/x -d "visit=903334 AND detector IN (1, 2)" '
        "-t pipeline.task.IsrTask:isr -c isr:doFlat=False -C 'isr:{a}' -c isr:doDark=False "
        "-t some.Other:other --delete other --no-raise-on-partial-outputs --timeout 60 --dask ec2:demo "
        "--state s3://b/p --region us-west-2 --detach --input '' -o u/me/y"
    )
    line = parsed(*shlex.split(text.format(a=tmp_path / "a b.py")))
    assert line.arguments == [
        f"--butler-config={REPO}",
        "--input=HSC/defaults,HSC/calib",
        "--output=u/me/y",
        "--data-query=visit=903334 AND detector IN (1, 2)",
        "--task=pipeline.task.IsrTask:isr",
        "--config=isr:doFlat=False",
        f"--config-file=isr:{placeholder('1-a_b.py')}",
        "--config=isr:doDark=False",
        "--task=some.Other:other",
        "--delete=other",
        "--no-raise-on-partial-outputs",
        "--timeout=60",
        "--input=",
        "--output=u/me/y",
    ]
    assert line.files == {"1-a_b.py": tmp_path / "a b.py"}
    assert Job.of_json(new_id(), {"arguments": line.arguments, "files": {"1-a_b.py": "a b.py"}})
    again = parsed(*line.arguments[1:6], *line.arguments[7:])  # what the head's isr-run parses is the same
    assert again.arguments == [argument for argument in line.arguments if "isr-file" not in argument]


def test_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("p.yaml", "g.qg", "a.py", "b.py"):
        (tmp_path / name).write_text(name)
    line = parsed("-p", "p.yaml#isr", "-g", "g.qg", "-C", "isr:a.py,other:b.py", "-C", "third:a.py")
    assert line.arguments[1:] == [
        f"--pipeline={placeholder('1-p.yaml')}#isr",
        f"--qgraph={placeholder('2-g.qg')}",
        f"--config-file=isr:{placeholder('3-a.py')},other:{placeholder('4-b.py')}",
        f"--config-file=third:{placeholder('3-a.py')}",
    ]
    assert [path.name for path in line.files.values()] == ["p.yaml", "g.qg", "a.py", "b.py"]
    line = parsed("-p", "s3://bucket/p.yaml", "-g", "s3://bucket/g.qg", "--summary", "s3://bucket/s.json")
    assert not line.files
    assert not line.summary
    assert line.arguments[1:] == [
        "--pipeline=s3://bucket/p.yaml",
        "--qgraph=s3://bucket/g.qg",
        "--summary=s3://bucket/s.json",
    ]
    line = parsed("--summary", "s.json", "-q", "s3://bucket/g.qg")
    assert (line.summary, line.arguments[1:]) == ("s.json", ["--save-qgraph=s3://bucket/g.qg"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-b", "repo"], "-b repo: the cluster cannot see files of this machine"),
        (["-b", "file:///repo"], "the cluster cannot see files"),
        (["-C", "isr:none.py"], "--config-file none.py: there is no such file"),
        (["-p", "none.yaml"], "--pipeline none.yaml: there is no such file"),
        (["-q", "g.qg"], "--save-qgraph g.qg: the cluster cannot write files of this machine"),
        (["-s", "p.yaml"], "--save-pipeline p.yaml: the cluster cannot write"),
        (["-q", "g.qg"], "Leave it out, or give an s3:// URI."),
        *(
            (
                [option, value],
                f"{option} {value}: the cluster cannot write files of this machine. Leave it out.",
            )
            for option in ("--qgraph-dot", "--pipeline-mermaid", "--log-file", "--profile")
            for value in ("x.log", "s3://bucket/x.log")
        ),
        (["--summary", "none/s.json"], "there is no folder"),
        (["--show", "graph"], "--show does not go with --dask ec2:NAME"),
        (["--pdb", "ipdb"], "--pdb does not go with"),
        (["--status-file", "s.json"], "--follow shows how far a job is"),
        (["-j", "2"], "-j is for processes without Dask"),
    ],
)
def test_refused(arguments, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(click.UsageError) as raised:
        parsed(*arguments)
    assert said in raised.value.message


def test_a_file_of_options(tmp_path):
    (tmp_path / "o.yaml").write_text("run:\n  output: u/me/x\n")
    with pytest.raises(click.UsageError, match="Write its options on the command line"):
        parsed("-@", str(tmp_path / "o.yaml"))


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"arguments": "--input=x"},
        {"arguments": ["--input=x", 1]},
        {"arguments": ["--input", "x"]},
        {"arguments": ["-@", "x"]},
        {"arguments": ["-@x"]},
        {"arguments": ["--options-file=x"]},
        {"arguments": ["--dask=local:1"]},
        {"arguments": ["--status-file=/tmp/x"]},
        {"arguments": ["--input=a\0b"]},
        {"arguments": ["--input=" + "x" * 200_000]},
        {"arguments": [], "files": {"../x": "x"}},
        {"arguments": [], "files": {"1-a/b": "x"}},
        {"arguments": [], "files": ["1-a"]},
        *({"arguments": [], "submitted": when} for when in ("x", None, [], -1.0, float("nan"), 10**400)),
    ],
)
def test_jobs_that_are_refused(document):
    with pytest.raises(JobError):
        Job.of_json(new_id(), document)


def test_only_options_with_files_get_paths():
    """Whatever the user has written elsewhere stays as it is."""
    mark, paths = placeholder("1-a.py"), {"1-a.py": "/x/1-a.py"}
    assert filled(f"--config-file=isr:{mark},b:{mark}", paths) == "--config-file=isr:/x/1-a.py,b:/x/1-a.py"
    assert filled(f"--pipeline={mark}#isr", paths) == "--pipeline=/x/1-a.py#isr"
    for text in (f"--data-query=exposure.target_name='{mark}'", f"--config=isr:x={mark}", f"--{mark}"):
        assert filled(text, paths) == text


def test_every_option_that_reads_a_file_gets_its_path(tmp_path):
    """Placeholders that the user's machine writes are those that the head fills."""
    (tmp_path / "f").write_text("x")
    for option in ("--config-file", "--pipeline", "--qgraph", "--data-id-table", "--retained-dataset-types"):
        path = str(tmp_path / "f")
        line = parsed(option, f"isr:{path}" if option == "--config-file" else path)
        assert "isr-file" in line.arguments[-1]
        assert filled(line.arguments[-1], {"1-f": "/y/1-f"}).endswith("/y/1-f")


def test_names():
    assert file_name(3, "../x/a:b,c é.yaml") == "3-a_b_c__.yaml"
    assert placeholder("3-a.yaml") == "{isr-file:3-a.yaml}"
