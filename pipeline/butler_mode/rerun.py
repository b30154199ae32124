"""What a command does with output that is there: the same command again completes it."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from lsst.ctrl.mpexec.cli.butler_factory import ButlerFactory
from lsst.daf.butler import Butler, CollectionType, MissingDatasetTypeError
from lsst.daf.butler.registry import DatasetTypeError, MissingCollectionError
from lsst.pipe.base.pipeline_graph import PipelineGraph

from pipeline.errors import RepositoryError

__all__ = ["EXPLICIT", "count_done", "find_run"]

log = logging.getLogger(__name__)

EXPLICIT = ("extend_run", "replace_run", "skip_existing", "skip_existing_in")
"""Options with which a user says what becomes of existing output."""

_CONFIG = "_config"


def find_run(butler: Butler, options: Mapping[str, Any], graph: PipelineGraph) -> str:
    """Find the RUN that a command is to complete.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        The repository.
    options : `~collections.abc.Mapping`
        Options of ``pipetask run``, by upstream's names.
    graph : `lsst.pipe.base.pipeline_graph.PipelineGraph`
        The pipeline with its configuration, need not be resolved.

    Returns
    -------
    run : `str`
        Its name; ``""`` if the command makes a new one.

    Raises
    ------
    RepositoryError
        If a collection is missing or of the wrong type, if the inputs are not
        those of the output, or if ``--output-run`` names a RUN of another
        configuration.
    """
    _check_collections(butler, options)
    run = _newest_run(butler, options)
    if run and not any(options[name] for name in EXPLICIT):
        differences = _differences(butler, run, graph)
        if differences and options["output_run"]:
            raise RepositoryError(
                f"The RUN {run} exists and was made differently: {'; '.join(differences)}. All data in a RUN "
                "have one configuration: give another --output-run, or replace this one with --replace-run."
            )
        if differences:
            log.info("A new RUN on top of %s: %s", run, "; ".join(differences))
            run = ""
    elif not options["extend_run"]:
        run = ""
    _check_chain(butler, options, extend=bool(run) or options["extend_run"])
    return run


def _check_collections(butler: Butler, options: Mapping[str, Any]) -> None:
    """Refuse inputs that are not there, and outputs of the wrong type."""
    repository = options["butler_config"]
    missing = [name for name in options["input"] if "*" not in name and not _type(butler, name)]
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
        found = _type(butler, name) if name else None
        if found and found is not wanted:
            raise RepositoryError(
                f"--{option.replace('_', '-')} {name}: this collection exists and is of type {found.name}, "
                f"not {wanted.name}; give another name."
            )
    if options["output"] and not options["input"] and not _type(butler, options["output"]):
        raise RepositoryError(
            f"{repository} has no collection {options['output']} (-o) yet: say with -i what to read, "
            "for example -i HSC/defaults."
        )


def _type(butler: Butler, name: str) -> CollectionType | None:
    try:
        return butler.collections.get_info(name).type
    except MissingCollectionError:
        return None


def _newest_run(butler: Butler, options: Mapping[str, Any]) -> str:
    """Return the RUN that ``--output-run`` names or that leads the chain of ``-o``, if it is there."""
    if name := options["output_run"]:
        return name if _type(butler, name) else ""
    chain = (
        butler.collections.get_info(options["output"]).children if _type(butler, options["output"]) else ()
    )
    # The chain begins with its own RUNs; it may have none if it was made by hand.
    ours = chain and (chain[0].startswith(f"{options['output']}/") or options["extend_run"])
    return chain[0] if ours and _type(butler, chain[0]) is CollectionType.RUN else ""


def _check_chain(butler: Butler, options: Mapping[str, Any], *, extend: bool) -> None:
    """Let upstream refuse what it will refuse, and name the options of this command."""
    try:
        factory = ButlerFactory(
            butler,
            output=options["output"],
            output_run=options["output_run"],
            inputs=list(options["input"]),
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
    """Say in what a RUN's pipeline differs from ours; an empty RUN does not."""
    there = set(butler.collections.get_info(run, include_summary=True).dataset_types or ())
    wanted = {node.init.config_output.dataset_type_name: node for node in graph.tasks.values()}
    found = {name for name in there if name.endswith(_CONFIG)}
    if not found:
        return [f"it holds {', '.join(sorted(there))}, not output of a pipeline"] if there else []
    if found != wanted.keys():
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


def count_done(butler: Butler, run: str, query: str, graph: PipelineGraph) -> int:
    """Count the quanta in a RUN that a query asks for and that are done: success leaves metadata.

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
    """
    count = 0
    for node in graph.tasks.values():
        with butler.query() as search:
            selected = search.where(graph.data_id, *([query] if query else []))
            with suppress(MissingDatasetTypeError):
                count += selected.datasets(node.metadata_output.dataset_type_name, collections=[run]).count()
    return count
