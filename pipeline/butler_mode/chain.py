"""The chain of ``-o``: its own RUNs, newest first, then the inputs that they were made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lsst.daf.butler import Butler, CollectionInfo, CollectionType
from lsst.daf.butler.registry import MissingCollectionError
from lsst.pipe.base import Instrument

from pipeline.errors import RepositoryError

__all__ = ["Plan", "collection_type", "explain_change", "read_own", "redefine_chain", "with_inputs"]


@dataclass(frozen=True, slots=True)
class Plan:
    """Where a command writes, and what it reads.

    Attributes
    ----------
    run : `str`
        RUN to complete; ``""`` for a new one.
    chain : `tuple` [`str`, ...]
        What the chain of ``-o`` becomes below the RUN on top: its own RUNs,
        then inputs. Empty if it stays, or if there is none yet.
    is_first : `bool`
        Whether the RUN will lead that chain.
    """

    run: str
    chain: tuple[str, ...] = ()
    is_first: bool = True

    def reading(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return options with which upstream builds the graph from what the chain becomes.

        With those of the command it would read the chain as it is, also with
        ``--rebase``, and find the calibrations of before.
        """
        if not self.chain:
            return dict(options)
        run = self.run or options["output_run"]
        return {
            **options,
            "input": list(self.chain),
            "output": None,
            "output_run": run or f"{options['output']}/{Instrument.makeCollectionTimestamp()}",
            "rebase": False,
            "replace_run": False,
            "prune_replaced": None,
        }


def collection_type(butler: Butler, name: str) -> CollectionType | None:
    """Return the type of a collection; `None` if it is not there."""
    try:
        return butler.collections.get_info(name).type
    except MissingCollectionError:
        return None


def read_own(butler: Butler, options: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Read the chain of ``-o``.

    Its own RUNs are those named after it (``CHAIN/...``), or by
    ``--output-run``, and other output of pipelines before them.

    Returns
    -------
    children, own : `tuple` [`str`, ...]
        All in the chain, and its own RUNs; empty if it is not there.

    Raises
    ------
    RepositoryError
        If it is no chain of outputs: then a RUN of this command would go
        before the data that others read there.
    """
    name, output_run = options["output"], options["output_run"]
    if not name or collection_type(butler, name) is None:
        return (), ()
    children = tuple(butler.collections.get_info(name).children)
    found = butler.collections.query_info(children, include_summary=True) if children else ()
    infos = {info.name: info for info in found}
    ours = [
        place
        for place, child in enumerate(children)
        if _may_be_output(infos[child]) and (child.startswith(f"{name}/") or child == output_run)
    ]
    if ours:
        return children, tuple(child for child in children[: ours[-1] + 1] if _may_be_output(infos[child]))
    others = _leading_output(children, infos)
    if others and (output_run or options["extend_run"]):
        return children, others
    if children or butler.collections.get_info(name, include_parents=True).parents:
        go_on = f" (or --output-run {others[0]}, to go on with that)" if others else ""
        raise RepositoryError(
            f"-o {name}: this chain exists ({', '.join(children) or 'empty'}) and has no RUN {name}/..., so "
            "that it is one to read from (-i), not one of outputs. Give another -o, for example "
            f"-o u/$USER/isr{go_on}. If its RUNs were removed, remove what is left, too: butler "
            f"remove-collections {options['butler_config']} {name} --no-confirm"
        )
    return (), ()  # empty, left by a command that was killed


def _may_be_output(info: CollectionInfo) -> bool:
    """Tell whether a collection is a RUN of a pipeline, or empty, as an interrupted command leaves it."""
    return info.type is CollectionType.RUN and (not info.dataset_types or _is_output(info))


def _is_output(info: CollectionInfo) -> bool:
    types = info.dataset_types or ()
    return info.type is CollectionType.RUN and any(name.endswith("_config") for name in types)


def _leading_output(children: tuple[str, ...], infos: Mapping[str, CollectionInfo]) -> tuple[str, ...]:
    """Return the output of pipelines at the head of a chain."""
    count = next((place for place, child in enumerate(children) if not _is_output(infos[child])), None)
    return children[:count]


def with_inputs(
    butler: Butler, options: Mapping[str, Any], children: tuple[str, ...], own: tuple[str, ...]
) -> tuple[str, ...]:
    """Return what a chain is to become: own RUNs, the inputs of ``-i``, with ``--rebase`` others that it had.

    The first one of ``own`` is missing if it is to be replaced.
    """
    inputs = butler.collections.query(list(options["input"]), flatten_chains=True)
    kept = [name for name in own if not (options["replace_run"] and name == children[0])]
    others = [name for name in children if name not in own] if options["rebase"] else []
    return tuple(dict.fromkeys([*kept, *(name for name in inputs if name not in own), *others]))


def explain_change(children: tuple[str, ...], own: tuple[str, ...], becomes: tuple[str, ...]) -> str:
    """Say in what the inputs in a chain change; ``""`` if they do not."""
    old = [name for name in children if name not in own]
    new = [name for name in becomes if name not in own]
    if old == new:
        return ""
    came = [name for name in new if name not in old]
    went = [name for name in old if name not in new]
    said = [f"{', '.join(names)} {verb}" for names, verb in ((came, "came"), (went, "went")) if names]
    return f"inputs (-i): {'; '.join(said) or 'their order changed to ' + ', '.join(new)}"


def redefine_chain(butler: Butler, output: str, run: str, chain: tuple[str, ...]) -> None:
    """Give a chain its new inputs, with a RUN on top; RUNs of other commands stay."""
    own = [name for name in butler.collections.get_info(output).children if name.startswith(f"{output}/")]
    butler.collections.redefine_chain(output, list(dict.fromkeys([run, *own, *chain])))
