"""What of a command line of ``isr-run -b`` goes to the head of a cluster, and what must not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import click

from pipeline.cloud.jobs import file_name, placeholder
from pipeline.objects import is_remote

__all__ = ["CommandLine", "command_line"]

_OURS = ("dask", "state", "region", "detach")  # of this machine, not of the job
_WRITES_URI = ("save_qgraph", "save_pipeline")
_WRITES_FILE = (  # upstream opens them as files, whatever they are called
    "qgraph_dot",
    "qgraph_mermaid",
    "pipeline_dot",
    "pipeline_mermaid",
    "log_file",
    "profile",
)
_REFUSED = {
    "show": "Without --dask, --show shows here what would be done.",
    "pdb": "A debugger needs a process of this machine: leave --dask out.",
    "coverage": "It is for tests on this machine.",
    "cov_packages": "It is for tests on this machine.",
    "cov_report": "It is for tests on this machine.",
    "status_file": "isr-run --dask ec2:NAME --follow shows how far a job is.",
    "options_file": "The cluster cannot see that file. Write its options on the command line.",
}
_READS = ("qgraph", "data_id_table", "retained_dataset_types")


@dataclass
class CommandLine:
    """A command line for the head.

    Attributes
    ----------
    arguments : `list` [`str`]
        Options in the order in which they were given, each ``--name`` or ``--name=value``.
    files : `dict` [`str`, `~pathlib.Path`]
        Local files that it names, by the name under which they go to the place.
    summary : `str`
        Local file for the summary; ``""`` if none is wanted here.
    """

    arguments: list[str] = field(default_factory=list)
    files: dict[str, Path] = field(default_factory=dict)
    summary: str = ""

    def add(self, option: str, value: str | None) -> None:
        """Add an option."""
        self.arguments.append(option if value is None else f"{option}={value}")

    def add_file(self, option: str, path: str) -> str:
        """Let a local file come with the job; return what stands for its path.

        Raises
        ------
        click.UsageError
            If there is none.
        """
        if not Path(path).is_file():
            raise click.UsageError(f"{option} {path}: there is no such file on this machine.")
        for name, known in self.files.items():
            if known == Path(path):
                return placeholder(name)
        name = file_name(len(self.files) + 1, path)
        self.files[name] = Path(path)
        return placeholder(name)


def command_line(captured: Sequence[str], parameters: Sequence[click.Parameter]) -> CommandLine:
    """Return what the head is to execute.

    Parameters
    ----------
    captured : `~collections.abc.Sequence` [`str`]
        Options and values as ``pipetask`` captures them: long names, in the order in which they were given.
    parameters : `~collections.abc.Sequence` [`click.Parameter`]
        Those of the command.

    Returns
    -------
    line : `CommandLine`
        The command line.

    Raises
    ------
    click.UsageError
        If an option needs a file or a terminal of this machine.
    """
    line = CommandLine()
    for name, option, value in _pairs(captured, parameters):
        if name in _OURS:
            continue
        if name in _REFUSED:
            raise click.UsageError(f"{option} does not go with --dask ec2:NAME. {_REFUSED[name]}")
        if name == "processes" and value != "1":
            raise click.UsageError(
                "-j is for processes without Dask; with --dask the cluster has the workers."
            )
        if name in _WRITES_FILE or (name in _WRITES_URI and not is_remote(str(value))):
            other = ", or give an s3:// URI" if name in _WRITES_URI else ""
            raise click.UsageError(
                f"{option} {value}: the cluster cannot write files of this machine. Leave it out{other}."
            )
        if name == "summary" and value is not None and not is_remote(value):
            line.summary = _checked_summary(value)
            continue
        line.add(option, None if value is None else _translated(line, name, option, value))
    return line


def _pairs(
    captured: Sequence[str], parameters: Sequence[click.Parameter]
) -> Iterator[tuple[str, str, str | None]]:
    """Yield name, option and value; flags have none."""
    known: Mapping[str, click.Option] = {
        option: one
        for one in parameters
        if isinstance(one, click.Option)
        for option in (*one.opts, *one.secondary_opts)
    }
    rest = iter(captured)
    for option in rest:
        parameter = known[option]
        yield str(parameter.name), option, None if parameter.is_flag else str(next(rest))


def _checked_summary(value: str) -> str:
    if not Path(value).absolute().parent.is_dir():
        raise click.UsageError(f"--summary {value}: there is no folder {Path(value).absolute().parent}")
    return value


def _translated(line: CommandLine, name: str, option: str, value: str) -> str:
    """Return the value of an option on the head; files that it names come with the job."""
    if name == "butler_config":
        return _repository(value)
    if name == "config_file":
        return ",".join(_config_file(line, option, item) for item in value.split(","))
    if name == "pipeline":
        path, mark, subset = value.partition("#")
        return value if _is_elsewhere(path) else line.add_file(option, path) + mark + subset
    if name in _READS and not _is_elsewhere(value):
        return line.add_file(option, value)
    return value


def _repository(value: str) -> str:
    if not is_remote(value):
        raise click.UsageError(
            f"-b {value}: the cluster cannot see files of this machine. Its repository must be one that all "
            "machines reach, as s3://BUCKET/REPO (docs/shared_repository.md)."
        )
    return value


def _config_file(line: CommandLine, option: str, item: str) -> str:
    """Translate ``LABEL:FILE``."""
    label, colon, path = item.rpartition(":")
    return item if _is_elsewhere(path) else label + colon + line.add_file(option, path)


def _is_elsewhere(path: str) -> bool:
    """Tell whether the head reads a path by itself: a URI, or a variable of the installation."""
    return is_remote(path) or path.startswith(("$", "//"))
