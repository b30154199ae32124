"""The command line of ``pipetask`` in 2019, as LSST's tutorials of that year use it, in today's form.

Then, options about data and logs stood before the word ``run``, those about
the pipeline after it, ``-p`` named a package to search for tasks, and queries
named dimension and field (``visit.visit = 903334``). What these options were
called: lsst/ctrl_mpexec, ``cmdLineParser.py``.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import click

__all__ = ["modernise"]

OUR_TASK = "pipeline.task.IsrTask"
LABEL = "isr"

_SUBCOMMANDS = ("run", "qgraph", "build", "list", "show")
_LOG_OPTIONS = ("--log-level", "--log-file", "--log-label", "--long-log", "--log-tty", "--no-log-tty")
_ISR_TASKS = ("isrTask.IsrTask", "IsrTask", "lsst.ip.isr.IsrTask", "lsst.ip.isr.isrTask.IsrTask")
_DATASET_TYPES = ("raw", "bias", "dark", "flat", "fringe", "defects", "camera", "bfKernel", "linearizer")
_LEVELS = {"WARN": "WARNING", "FATAL": "CRITICAL"}

# Names of options before "run" and after it; the values are the long names of 2019.
_SHORT_BEFORE = {
    "-p": "--package",
    "-b": "--butler-config",
    "-i": "--input",
    "-o": "--output",
    "-d": "--data-query",
    "-L": "--loglevel",
    "-j": "--processes",
    "-t": "--timeout",
}
_SHORT_AFTER = {
    "-p": "--pipeline",
    "-t": "--task",
    "-c": "--config",
    "-C": "--configfile",
    "-d": "--delete",
    "-m": "--move",
    "-l": "--label",
    "-s": "--save-pipeline",
    "-g": "--qgraph",
}
_AFTER_ONLY_VALUES = (
    *("--show", "--pipeline-dot", "--qgraph-dot", "--save-qgraph", "--save-single-quanta", "--instrument"),
    *("--output-run", "--prune-replaced"),
)
_WITH_VALUE = {*_SHORT_BEFORE.values(), *_SHORT_AFTER.values(), *_AFTER_ONLY_VALUES, "--profile"}

# What is called as it was.
_SAME = {
    *("--pipeline", "--delete", "--save-pipeline", "--qgraph", "--show", "--pipeline-dot", "--qgraph-dot"),
    *("--save-qgraph", "--instrument", "--output-run", "--prune-replaced", "--profile", "--timeout"),
    *("--no-versions", "--init-only", "--skip-init-writes", "--extend-run", "--replace-run", "--debug"),
    *("--butler-config", "--output", "--processes", "--fail-fast"),
}
_RENAMED = {"--longlog": "--long-log", "--doraise": "--fail-fast", "--clobber-output": "--clobber-outputs"}
_TODAY_SHORT = {
    "--butler-config": "-b",
    "--input": "-i",
    "--output": "-o",
    "--data-query": "-d",
    "--processes": "-j",
    "--pipeline": "-p",
    "--qgraph": "-g",
}

# What is left out, because it is done without being asked for.
_LEFT_OUT = {
    "--skip-existing": "what is done is kept anyway",
    "--clobber-config": "another configuration gets a RUN of its own",
    "--no-backup-config": "another configuration gets a RUN of its own",
    "--clobber-versions": "other versions are added to those recorded",
    "--order-pipeline": "tasks are always ordered by their data",
    "--register-dataset-types": "",  # added to every line
}
_REFUSED = {
    "--save-single-quanta": "quanta are no longer saved one by one; use --save-qgraph",
    "--move": "tasks are ordered by their data",
    "--label": "give the label with -t CLASS:LABEL",
}


def modernise(arguments: Sequence[str]) -> list[str]:
    """Translate a command line of 2019 and print today's; others are returned as they are.

    Parameters
    ----------
    arguments : `~collections.abc.Sequence` [`str`]
        Command line without the name of the command.

    Returns
    -------
    arguments : `list` [`str`]
        Arguments of ``isr-run`` today.

    Raises
    ------
    click.UsageError
        If an option has no meaning today, or a task is not in this package.
    """
    position = _find_subcommand(arguments)
    if position is None:
        return list(arguments)
    before, after = arguments[:position], arguments[position + 1 :]
    if arguments[position] != "run":
        raise click.UsageError(
            f"isr-run translates the 'run' of 2019's pipetask, not {arguments[position]!r}; today's form is "
            f"`pipetask {arguments[position]} --help`."
        )
    if _is_todays(before):
        return [*before, *after]  # today's pipetask line
    line = _Line()
    line.translate(before, after)
    click.echo("This command line of 2019 is today:", err=True)
    click.echo(f"  {shlex.join(['isr-run', *line.log, *line.run])}", err=True)
    click.echo("and with LSST's own command:", err=True)
    click.echo(f"  {shlex.join(['pipetask', *line.log, 'run', *line.run])}", err=True)
    for note in line.notes:
        click.echo(f"  ({note})", err=True)
    return [*line.log, *line.run]


def _is_todays(before: Sequence[str]) -> bool:
    """Tell whether only options that today's ``pipetask`` has there stand before ``run``."""
    names = [argument.partition("=")[0] for argument in before if argument.startswith("-")]
    return all(name in _LOG_OPTIONS for name in names)


def _find_subcommand(arguments: Sequence[str]) -> int | None:
    """Return the position of ``run`` or another subcommand that is not the value of an option."""
    values = {*_SHORT_BEFORE, *_WITH_VALUE, "--log-level", "--log-file", "--log-label"}
    is_value = False
    for position, argument in enumerate(arguments):
        if is_value:
            is_value = False
        elif argument in _SUBCOMMANDS:
            return position
        else:
            is_value = argument in values
            if argument.startswith("--") and argument.partition("=")[0] not in values | _FLAGS:
                return None  # an option that 2019 did not have
    return None


_FLAGS = {*_RENAMED, *_LEFT_OUT, *_REFUSED, *_SAME, *_LOG_OPTIONS} - _WITH_VALUE


@dataclass(slots=True)
class _Line:
    """Today's command line.

    Attributes
    ----------
    log, run, last : `list` [`str`]
        Options that ``pipetask`` wants before ``run``, those after it, and
        those of the pipeline, which come last.
    notes : `list` [`str`]
        What a user should know.
    packages : `list` [`str`]
        Packages to search for tasks.
    """

    log: list[str] = field(default_factory=list)
    run: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    packages: list[str] = field(default_factory=list)

    def translate(self, before: Sequence[str], after: Sequence[str]) -> None:
        """Add the translation of the two halves of a command line."""
        for name, value in _options(before, _SHORT_BEFORE):
            self._add(name, value)
        for name, value in _options(after, _SHORT_AFTER):
            self._add(name, value)
        self.run.append("--register-dataset-types")

    def _add(self, name: str, value: str) -> None:
        special: dict[str, Callable[[str], list[str]]] = {
            "--data-query": lambda query: ["-d", _translate_query(query)],
            "--input": lambda names: ["-i", _translate_collections(names)],
            "--task": self._translate_task,
            "--config": lambda setting: ["-c", _translate_setting(setting)],
            "--configfile": lambda file: ["-C", _translate_file(file)],
            "--timeout": lambda seconds: ["--timeout", seconds.partition(".")[0]],
        }
        if name in _REFUSED:
            raise click.UsageError(f"{name} has no translation: {_REFUSED[name]}.")
        if name == "--package":
            self.packages += value.split(",")
        elif name == "--loglevel":
            component, equals, level = value.rpartition("=")
            self.log += ["--log-level", f"{component}{equals}{_LEVELS.get(level.upper(), level.upper())}"]
        elif name == "--longlog":
            self.log.append("--long-log")
        elif name in special:
            self.run += special[name](value)
        elif name in _LEFT_OUT:
            if _LEFT_OUT[name]:
                self.notes.append(f"{name} is left out: {_LEFT_OUT[name]}")
        elif name in _RENAMED or name in _SAME:
            if name == "--clobber-output":
                self.notes.append("--clobber-outputs replaces what failed; to do all again add --replace-run")
            today = _RENAMED.get(name, _TODAY_SHORT.get(name, name))
            self.run += [today, value] if name in _WITH_VALUE else [today]
        else:
            raise click.UsageError(f"{name} is neither an option of pipetask in 2019 nor one of isr-run.")

    def _translate_task(self, value: str) -> list[str]:
        name, _, label = value.partition(":")
        names = [name, *(f"{package}.{name}" for package in self.packages)]
        if name != OUR_TASK and not set(names) & set(_ISR_TASKS):
            raise click.UsageError(
                f"-t {value}: this package has only the task isrTask.IsrTask of 2019 (today {OUR_TASK}); for "
                "other tasks use the LSST stack's pipetask on the same repository."
            )
        return ["-t", f"{OUR_TASK}:{label or LABEL}"]


def _options(arguments: Sequence[str], short: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the long name and the value (or ``""``) of each option."""
    waiting = iter(arguments)
    for argument in waiting:
        if argument[:2] in short and not argument.startswith("--"):
            name, value = short[argument[:2]], argument[2:]
            value = value.removeprefix("=") or next(waiting, "")
            equals = "="
        else:
            name, equals, value = argument.partition("=")
            if name in _WITH_VALUE and not equals:
                value = next(waiting, "")
        if not name.startswith("--"):
            raise click.UsageError(f"{argument!r} is not understood in a command line of 2019.")
        if name in _WITH_VALUE and not value:
            raise click.UsageError(f"{name} needs a value. Is it a variable of the shell that is not set?")
        yield name, value


def _translate_query(query: str) -> str:
    """Write dimensions as they are written today, but not inside quoted strings."""
    parts = re.split(r"('[^']*'|\"[^\"]*\")", query)
    for index in range(0, len(parts), 2):
        text = re.sub(r"\babstract_filter\b", "band", parts[index])
        text = re.sub(r"\b(\w+)\.\1\b", _lower, text, flags=re.IGNORECASE)
        parts[index] = re.sub(
            r"\b(visit|exposure|detector|tract|patch)\.id\b", _lower, text, flags=re.IGNORECASE
        )
    return "".join(parts)


def _lower(match: re.Match[str]) -> str:
    """Return the dimension; in 2019 its name could be written with capitals."""
    return match[1].lower()


def _translate_collections(names: str) -> str:
    """Separate collections by commas; a search restricted to a dataset type is no longer possible."""
    collections = [name for name in re.split("[,:]", names) if name]
    if restricted := [name for name in collections if name in _DATASET_TYPES]:
        raise click.UsageError(
            f"-i {names}: collections can no longer be searched for one dataset type ({restricted[0]}) only; "
            "name the collections alone, in the order of the search."
        )
    return ",".join(collections)


def _translate_setting(setting: str) -> str:
    """Write ``label.field=value`` as ``label:field=value``."""
    name, equals, value = setting.partition("=")
    if ":" not in name:
        name = name.replace(".", ":", 1)
    return f"{_label(name.partition(':')[0])}:{name.partition(':')[2]}{equals}{value}"


def _translate_file(value: str) -> str:
    """Find the file that a directory stands for."""
    label, colon, name = value.partition(":")
    if not colon:
        raise click.UsageError(f"-C {value}: expected LABEL:FILE, as -C isr:isr.py.")
    label = _label(label)
    folder = Path(name)
    if name.endswith("/") and not folder.is_dir():
        raise click.UsageError(f"-C {value}: there is no directory {name}")
    if not folder.is_dir():
        return f"{label}:{name}"
    for place in (folder, folder / "config"):
        for file in (place / f"{label}.py", place / f"{LABEL}.py"):
            if file.is_file():
                return f"{label}:{file}"
    there = ", ".join(sorted(path.name for path in folder.iterdir())[:8]) or "nothing"
    raise click.UsageError(
        f"-C {value}: the directory has neither {label}.py nor config/{label}.py (there is: {there})."
    )


def _label(label: str) -> str:
    """Return the label of a task; without a label 2019 took the name of the class."""
    return LABEL if label == "IsrTask" else label
