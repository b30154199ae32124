"""Build the pipeline that a command names, with errors that name the option."""

from __future__ import annotations

import difflib
import re
import traceback
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

import click
from lsst.ctrl.mpexec._pipeline_graph_factory import PipelineGraphFactory
from lsst.ctrl.mpexec.cli import script
from lsst.ctrl.mpexec.showInfo import ShowInfo
from lsst.utils.doImport import doImportType

from isr.errors import ConfigError

__all__ = ["build_pipeline", "default_pipeline"]

OUR_TASK = "pipeline.task.IsrTask"
OUR_INSTRUMENT = "pipeline.instrument.HyperSuprimeCam"

_GRAPHS = {"pipeline-graph", "task-graph", "inputs"}


def default_pipeline() -> str:
    """Return the path of the pipeline that runs if none is named: `pipeline.task.IsrTask` alone, for HSC."""
    return str(files("pipeline") / "pipelines" / "isr.yaml")


def build_pipeline(options: Mapping[str, Any], show: ShowInfo) -> PipelineGraphFactory:
    """Build the pipeline and show what ``--show`` asks for.

    Parameters
    ----------
    options : `~collections.abc.Mapping`
        Options of ``pipetask run``, by upstream's names.
    show : `lsst.ctrl.mpexec.showInfo.ShowInfo`
        What is to be shown, on stdout.

    Returns
    -------
    factory : `lsst.ctrl.mpexec._pipeline_graph_factory.PipelineGraphFactory`
        The pipeline; not true if a saved graph (``-g``) is to be run.

    Raises
    ------
    ConfigError
        If the pipeline, a task or a configuration is not there or not valid.
    """
    changed = dict(options)
    if not _GRAPHS & show.commands.keys():
        changed["butler_config"] = None  # only these are completed from what the repository knows
    if not options["qgraph"]:
        changed.update(_with_defaults(options))
    try:
        factory = script.build(**changed, show=show)
        if factory:
            factory(resolve=False)  # configures the tasks
    except (click.ClickException, ConfigError):
        raise
    except Exception as error:  # from what a user has named: Python, YAML, anything
        raise ConfigError(_message(error, options)) from error
    return factory


def _with_defaults(options: Mapping[str, Any]) -> dict[str, Any]:
    """Add the pipeline if none is named, the instrument if our task is added to none."""
    actions = options["pipeline_actions"]
    tasks = [action for action in actions if action.action == "new_task"]
    if options["pipeline"]:
        return {}
    if not tasks:
        return {"pipeline": default_pipeline()}
    has_instrument = any(action.action == "add_instrument" for action in actions)
    if has_instrument or all(task.value != OUR_TASK for task in tasks):
        return {}
    return {"pipeline_actions": [type(tasks[0])("add_instrument", None, OUR_INSTRUMENT), *actions]}


def _message(error: Exception, options: Mapping[str, Any]) -> str:
    """Say what is wrong with what a user has named."""
    text = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    if isinstance(error, KeyError):
        text = str(error.args[0])
    text = text.removesuffix(".")
    if isinstance(error, FileNotFoundError | IsADirectoryError) and error.filename:
        where = f"{error.filename}: {error.strerror}"
        return f"Pipeline (-p) or configuration file (-C) {where}; expected a file, as -C isr:FILE."
    if match := re.fullmatch(r"(\S+) has no attribute (\w+)", text):
        text = f"there is no configuration field {match[2]!r} in {match[1]}{_similar(match[1], match[2])}"
    if isinstance(error, SyntaxError):
        text, line = f"{error.msg}", error.lineno
    else:
        # pex_config executes the text of a file, without its name
        frames = [
            frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == "<string>"
        ]
        line = frames[-1].lineno if frames else None
    config_files = [action.value for action in options["pipeline_actions"] if action.action == "configfile"]
    if line is not None and config_files:
        text += f" (line {line} of {' or '.join(config_files)})"
    if "'lsst.ip" in text:
        text += (
            "; without the LSST stack the task of ISR is pipeline.task.IsrTask (-t pipeline.task.IsrTask:isr)"
        )
    return f"The pipeline cannot be built: {text}{'' if text.endswith('?') else '.'}"


def _similar(class_name: str, field: str) -> str:
    """Suggest a configuration field."""
    try:
        fields = getattr(doImportType(class_name), "_fields", ())
    except (ImportError, TypeError):
        return ""
    close = difflib.get_close_matches(field, fields, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
