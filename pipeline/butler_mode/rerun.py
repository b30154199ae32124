"""What a command does with output that is there: the same command again completes it."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from lsst.ctrl.mpexec.cli.butler_factory import ButlerFactory
from lsst.daf.butler import Butler, CollectionType, DataCoordinate, MissingDatasetTypeError
from lsst.daf.butler.registry import DatasetTypeError
from lsst.pipe.base.automatic_connection_constants import PACKAGES_INIT_OUTPUT_NAME
from lsst.pipe.base.pipeline_graph import PipelineGraph
from lsst.pipe.base.quantum_graph import PredictedQuantumGraph

from pipeline.butler_mode.chain import Plan, collection_type, explain_change, read_own, with_inputs
from pipeline.errors import RepositoryError

__all__ = ["EXPLICIT", "find_done", "find_done_in_graph", "make_plan"]

log = logging.getLogger(__name__)

EXPLICIT = ("extend_run", "replace_run", "skip_existing", "skip_existing_in")
"""Options with which a user says what becomes of existing output."""

_CONFIG = "_config"
_NAME = re.compile(r"[\w+.@:~-]+(/[\w+.@:~-]+)*", re.ASCII)
"""What files and queries can be named after; existing names of LSST are of this form."""


def make_plan(
    butler: Butler, options: Mapping[str, Any], graph: PipelineGraph, *, is_saved: bool = False
) -> Plan:
    """Find the RUN that a command is to complete, and what becomes of the chain of ``-o``.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        The repository.
    options : `~collections.abc.Mapping`
        Options of ``pipetask run``, by upstream's names.
    graph : `lsst.pipe.base.pipeline_graph.PipelineGraph`
        The pipeline with its configuration, need not be resolved.
    is_saved : `bool`, optional
        Whether a saved quantum graph (``-g``) is run: its RUN is
        ``--output-run``, and it has its inputs already.

    Returns
    -------
    plan : `pipeline.butler_mode.chain.Plan`
        Where to write, what to read.

    Raises
    ------
    RepositoryError
        If a collection is missing or of the wrong type, or if the user has
        named a RUN of another configuration or other inputs.
    """
    _check_collections(butler, options, is_saved=is_saved)
    children, own = read_own(butler, options)
    run = _newest_run(butler, options, children, own)
    if is_saved and run in children:
        becomes, change = children, ""
    else:
        becomes = with_inputs(butler, options, children, own) if options["input"] else children
        change = explain_change(children, own, becomes) if children else ""
    is_inside = run in children  # else it was made from inputs that nobody knows
    if run and not any(options[name] for name in EXPLICIT):
        differences = [*([change] if change and is_inside else []), *_differences(butler, run, graph)]
        if differences and options["output_run"]:
            raise RepositoryError(_refusal(run, differences, options))
        if differences:
            log.info("A new RUN on top of %s: %s", run, "; ".join(differences))
            run = ""
    elif options["extend_run"] and change and is_inside and not options["rebase"]:
        raise RepositoryError(
            f"--extend-run: the data in {run} were made from others than these {change}. Leave --extend-run "
            "away to get a new RUN; with --rebase, too, one RUN will have data from old and new inputs."
        )
    else:
        run = run if options["extend_run"] else ""
        if change:
            log.info("The chain %s gets other %s", options["output"], change)
    extend = bool(run) or options["extend_run"]
    _let_upstream_check(butler, options, extend=extend)
    # A RUN that was made without this chain is put into it; a command that was killed leaves it empty.
    is_lacking = run not in children if run else not children
    has_chain = bool(options["output"]) and collection_type(butler, options["output"]) is not None
    rewrite = change or (is_lacking and (has_chain or (run and options["output"])))
    return Plan(run, becomes if rewrite else (), is_first=bool(rewrite) or not run or run in children[:1])


def _refusal(run: str, differences: list[str], options: Mapping[str, Any]) -> str:
    """Say why a RUN that a user has named cannot be completed."""
    if options["output"]:
        remedy = (
            "give another --output-run, or another one and --replace-run to put it in the place of this one"
        )
    else:
        removal = f"butler remove-runs {options['butler_config']} {run}"
        remedy = f"give another --output-run, or remove this one ({removal})"
    return (
        f"The RUN {run} exists and was made differently: {'; '.join(differences)}. All data in a RUN have "
        f"one configuration and one set of inputs: {remedy}."
    )


def _check_collections(butler: Butler, options: Mapping[str, Any], *, is_saved: bool) -> None:
    """Refuse inputs that are not there, and outputs of the wrong type."""
    repository = options["butler_config"]
    missing = [name for name in options["input"] if "*" not in name and not collection_type(butler, name)]
    if missing:
        there = ", ".join(sorted(butler.collections.query("*", include_chains=True))[:12]) or "none"
        raise RepositoryError(
            f"{repository} has no collection {', '.join(missing)} (-i). There are: {there} "
            f"(`butler query-collections {repository}` lists all)."
        )
    if options["input"] and not butler.collections.query(list(options["input"]), flatten_chains=True):
        raise RepositoryError(
            f"The chain {', '.join(options['input'])} (-i) is empty: ingest raws (`butler ingest-raws`) and "
            "calibrations (`isr-repo ingest-calibs`), or name other collections."
        )
    for option, wanted in (("output", CollectionType.CHAINED), ("output_run", CollectionType.RUN)):
        name = options[option]
        if name and not _NAME.fullmatch(name):
            raise RepositoryError(
                f"--{option.replace('_', '-')} {name!r}: names of collections have letters, digits and _ - + "
                ". @ : ~ in parts separated by single slashes, as u/me/isr."
            )
        found = collection_type(butler, name) if name else None
        if found and found is not wanted:
            raise RepositoryError(
                f"--{option.replace('_', '-')} {name}: this collection exists and is of type {found.name}, "
                f"not {wanted.name}; give another name."
            )
    if (
        not is_saved
        and options["output"]
        and not options["input"]
        and not collection_type(butler, options["output"])
    ):
        raise RepositoryError(
            f"{repository} has no collection {options['output']} (-o) yet: say with -i what to read, "
            "for example -i HSC/defaults."
        )


def _newest_run(
    butler: Butler, options: Mapping[str, Any], children: tuple[str, ...], own: tuple[str, ...]
) -> str:
    """Return the RUN that ``--output-run`` names or that leads the chain of ``-o``, if it is there."""
    if name := options["output_run"]:
        return name if collection_type(butler, name) else ""
    return own[0] if own and own[0] == children[0] else ""


def _let_upstream_check(butler: Butler, options: Mapping[str, Any], *, extend: bool) -> None:
    """Let upstream refuse what it will refuse, and name the options of this command; not its inputs."""
    try:
        factory = ButlerFactory(
            butler,
            output=options["output"],
            output_run=options["output_run"],
            inputs=(),
            extend_run=extend,
            rebase=options["rebase"],
            writeable=True,
        )
        factory.check(
            extend_run=extend, replace_run=options["replace_run"], prune_replaced=options["prune_replaced"]
        )
    except (ValueError, TypeError) as error:
        raise RepositoryError(str(error)) from error


def _differences(butler: Butler, run: str, graph: PipelineGraph) -> list[str]:
    """Say in what a RUN's pipeline differs from ours; one whose beginning was interrupted does not."""
    there = set(butler.collections.get_info(run, include_summary=True).dataset_types or ())
    wanted = {node.init.config_output.dataset_type_name: node for node in graph.tasks.values()}
    found = {name for name in there if name.endswith(_CONFIG)}
    first = {edge.dataset_type_name for node in graph.tasks.values() for edge in node.init.iter_all_outputs()}
    if there <= first | {PACKAGES_INIT_OUTPUT_NAME}:
        wanted = {name: node for name, node in wanted.items() if name in found}
    elif not found:
        return [f"it holds {', '.join(sorted(there))}, not output of a pipeline"]
    elif found != wanted.keys():
        return [f"its tasks are {_labels(found)}, not {_labels(wanted)}"]
    differences: list[str] = []
    for name, node in wanted.items():
        try:
            old = butler.get(name, collections=[run])
        except (LookupError, MissingDatasetTypeError, DatasetTypeError):
            continue  # interrupted before it was written
        except Exception as error:  # it is Python that names classes and fields: those of another version
            differences.append(f"its {name} cannot be read by this version ({error})")
            continue
        node.config.compare(old, shortcut=False, output=lambda text: differences.append(_readable(text)))  # type: ignore[no-untyped-call]
    return differences


def _labels(config_names: Iterable[str]) -> str:
    return ", ".join(sorted(name.removesuffix(_CONFIG) for name in config_names))


def _readable(text: str) -> str:
    """Turn pex_config's ``config.doFlat: False != True`` (ours, theirs) into words."""
    name, colon, values = text.partition(": ")
    ours, unequal, theirs = values.partition(" != ")
    if not colon or not unequal:
        return text
    return f"{name.removeprefix('config.')} is {theirs} there, {ours} here"


def find_done(
    butler: Butler, run: str, query: str, graph: PipelineGraph
) -> tuple[int, DataCoordinate | None]:
    """Find the quanta in a RUN that a query asks for and that are done: success leaves metadata.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        The repository.
    run : `str`
        Name of the RUN.
    query : `str`
        Query of the command (``-d``); may be empty.
    graph : `lsst.pipe.base.pipeline_graph.PipelineGraph`
        The pipeline, resolved.

    Returns
    -------
    count : `int`
        Quanta of all tasks.
    example : `lsst.daf.butler.DataCoordinate` or `None`
        Data id of one of them.
    """
    count, example = 0, None
    for node in graph.tasks.values():
        with butler.query() as search, suppress(MissingDatasetTypeError):
            selected = search.where(graph.data_id, *([query] if query else []))
            found = selected.datasets(node.metadata_output.dataset_type_name, collections=[run])
            count += found.count()
            example = example or next((ref.dataId for ref in found.limit(1)), None)
    return count, example


def find_done_in_graph(butler: Butler, graph: PredictedQuantumGraph) -> list[DataCoordinate]:
    """Return the data ids of the quanta of a graph that are done in its RUN."""
    done = []
    run = graph.header.output_run
    if collection_type(butler, run) is None:
        return []
    for label, quanta in graph.quanta_by_task.items():
        name = graph.pipeline_graph.tasks[label].metadata_output.dataset_type_name
        with suppress(MissingDatasetTypeError):
            found = butler.query_datasets(name, collections=run, find_first=False, limit=None, explain=False)
            there = {ref.dataId for ref in found}
            done += [data_id for data_id in quanta if data_id in there]
    return done
