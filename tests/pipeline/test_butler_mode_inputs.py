"""isr-run -b: what becomes of a chain of outputs if other inputs are named, and of chains of inputs."""

from __future__ import annotations

import pytest
from lsst.daf.butler import Butler, CollectionType

from tests.pipeline.butler_mode_repository import EXPOSURES, commands, filled_repository

__all__ = ["commands", "filled_repository"]  # fixtures

OLD, NEW = "HSC/raw/all", "HSC/raw/new"
FIRST = "u/me/count/first"  # a time would have the resolution of a second
ALL = {exposure: exposure + 1 for exposure in EXPOSURES}


@pytest.fixture
def changed(commands, filled_repository):
    """Commands, when one has read HSC/defaults and then other raws came to the head of it."""
    from pipeline.ingest import RawIngestConfig, ingest_raws
    from pipeline.repository import open_repository

    assert commands.count("-o", "u/me/count", "--output-run", FIRST) == 0
    assert f"Its raw is of {OLD}" in commands.said
    config = RawIngestConfig()
    config.transfer = "direct"
    with open_repository(str(commands.root)) as butler:
        raws = str(filled_repository.parent / "raw")
        assert len(ingest_raws(butler, [raws], config, run=NEW).ingested) == len(EXPOSURES)
        butler.collections.prepend_chain("HSC/defaults", NEW)
    return commands


def children(commands, chain: str = "u/me/count") -> tuple[str, ...]:
    with Butler.from_config(commands.root) as butler:
        return butler.collections.get_info(chain).children


def test_other_inputs_get_a_new_run(changed):
    assert changed.count("-o", "u/me/count") == 0
    assert f"INFO: A new RUN on top of {FIRST}: inputs (-i): {NEW} came" in changed.said
    assert f"Its raw is of {NEW}" in changed.said
    assert f"Its raw is of {OLD}" not in changed.said
    run = changed.out.strip()
    assert children(changed) == (run, FIRST, NEW, OLD)
    assert f"RUN {run}, first in the chain u/me/count" in changed.said
    assert changed.values(run) == ALL
    assert changed.count("-o", "u/me/count") == 0
    assert f"Everything was already done: 3 quanta in RUN {run}." in changed.said
    assert children(changed) == (run, FIRST, NEW, OLD)


def test_inputs_that_went(changed):
    assert changed.count("-o", "u/me/new", "--output-run", "u/me/new/first") == 0
    assert changed("-o", "u/me/new", "-t", "tests.pipeline.count_task.CountTask:count", inputs=OLD) == 0
    assert f"A new RUN on top of u/me/new/first: inputs (-i): {NEW} went" in changed.said
    assert f"Its raw is of {OLD}" in changed.said
    assert children(changed, "u/me/new") == (changed.out.strip(), "u/me/new/first", OLD)


def test_inputs_in_another_order(changed):
    task = ("-t", "tests.pipeline.count_task.CountTask:count", "--no-versions")
    assert changed(*task, "-o", "u/me/new", "--output-run", "u/me/new/first", inputs=f"{OLD},{NEW}") == 0
    assert changed(*task, "-o", "u/me/new", inputs=f"{NEW},{OLD}") == 0
    assert f"inputs (-i): their order changed to {NEW}, {OLD}" in changed.said
    assert f"Its raw is of {NEW}" in changed.said
    assert children(changed, "u/me/new")[1:] == ("u/me/new/first", NEW, OLD)


def test_rebase_reads_the_new_inputs_and_keeps_the_others_behind_them(changed):
    task = ("-t", "tests.pipeline.count_task.CountTask:count", "--no-versions")
    assert changed(*task, "-o", "u/me/count", "--rebase", inputs=NEW) == 0
    run = changed.out.strip()
    assert f"Its raw is of {NEW}" in changed.said
    assert f"Its raw is of {OLD}" not in changed.said
    assert children(changed) == (run, FIRST, NEW, OLD)
    assert changed(*task, "-o", "u/me/count", "--rebase", inputs=NEW) == 0
    assert f"Everything was already done: 3 quanta in RUN {run}." in changed.said


def test_a_run_has_one_set_of_inputs(changed):
    assert changed.count("-o", "u/me/count", "--output-run", FIRST) == 1
    assert f"The RUN {FIRST} exists and was made differently: inputs (-i): {NEW} came." in changed.said
    assert changed.count("-o", "u/me/count", "--extend-run") == 1
    assert "--extend-run: the data in" in changed.said
    assert f"{NEW} came. Leave --extend-run away" in changed.said
    assert children(changed) == (FIRST, OLD)


def test_extend_and_rebase(commands, changed):
    """A user can insist."""
    with Butler.from_config(commands.root, writeable=True) as butler:
        for name in ("count", "count_metadata", "count_log"):
            gone = butler.query_datasets(name, FIRST, where="exposure=903336", instrument="HSC")
            butler.pruneDatasets(gone, disassociate=True, unstore=True, purge=True)
    assert changed.count("-o", "u/me/count", "--extend-run", "--rebase") == 0
    assert "1 done, 2 skipped" in changed.said
    assert f"Its raw is of {NEW}" in changed.said
    assert children(changed) == (FIRST, NEW, OLD)


def test_replace_run_with_other_inputs(changed):
    assert changed.count("-o", "u/me/count", "--replace-run", "--prune-replaced", "purge") == 0
    assert f"Its raw is of {NEW}" in changed.said
    assert children(changed) == (changed.out.strip(), NEW, OLD)
    with Butler.from_config(changed.root) as butler:
        assert FIRST not in butler.collections.query("u/me/count/*")


def test_other_inputs_and_nothing_executed(changed):
    """--show, or a query without data, leave the chain as it is."""
    assert changed.count("-o", "u/me/count", "--show", "graph") == 0
    assert changed.count("-o", "u/me/count", "-d", "exposure=1") == 1
    assert children(changed) == (FIRST, OLD)


def test_killed_before_the_chain_had_its_new_inputs(changed, monkeypatch):
    """The RUN that is left empty must not be taken for one of the new inputs."""
    with Butler.from_config(changed.root, writeable=True) as butler:
        butler.collections.register("u/me/count/second")
        butler.collections.redefine_chain("u/me/count", ["u/me/count/second", FIRST, OLD])
    assert changed.count("-o", "u/me/count") == 0
    run = changed.out.strip()
    assert children(changed) == (run, "u/me/count/second", FIRST, NEW, OLD)
    assert f"Its raw is of {NEW}" in changed.said


def test_killed_when_the_chain_was_empty(commands):
    with Butler.from_config(commands.root, writeable=True) as butler:
        butler.collections.register("u/me/count", CollectionType.CHAINED)
    assert commands.count("-o", "u/me/count") == 0
    assert children(commands) == (commands.out.strip(), OLD)


def test_run_that_another_command_has_added_stays(changed, monkeypatch):
    from pipeline.butler_mode import execute

    def add(*arguments: object) -> None:
        with Butler.from_config(changed.root, writeable=True) as butler:
            butler.collections.register("u/me/count/other")
            butler.collections.prepend_chain("u/me/count", "u/me/count/other")
        redefine_chain(*arguments)

    redefine_chain = execute.redefine_chain
    monkeypatch.setattr(execute, "redefine_chain", add)
    assert changed.count("-o", "u/me/count") == 0
    assert children(changed) == (changed.out.strip(), "u/me/count/other", FIRST, NEW, OLD)


def test_run_of_no_chain_comes_to_the_head_of_one(commands):
    commands.count("--output-run", "u/me/run", "-d", "exposure=903334")
    assert commands.count("-o", "u/me/chain", "--output-run", "u/me/run", "-d", "exposure=903334") == 0
    assert "RUN u/me/run, not first in the chain u/me/chain." in commands.said  # nothing was executed
    assert "collections='u/me/run'" in commands.said
    assert commands.count("-o", "u/me/chain", "--output-run", "u/me/run") == 0
    assert "RUN u/me/run, first in the chain u/me/chain." in commands.said
    assert children(commands, "u/me/chain") == ("u/me/run", OLD)
    assert commands.values("u/me/chain") == ALL


def test_older_run_of_a_chain(commands):
    commands.count("-o", "u/me/count", "--output-run", FIRST, "-d", "exposure=903334")
    commands.count("-o", "u/me/count", "--output-run", "u/me/count/second")
    assert commands.count("-o", "u/me/count", "--output-run", FIRST) == 0
    assert f"RUN {FIRST}, not first in the chain u/me/count." in commands.said
    assert f"collections='{FIRST}'" in commands.said


@pytest.mark.parametrize("options", [(), ("--extend-run",), ("--output-run", "HSC/defaults-run")])
@pytest.mark.parametrize("chain", ["HSC/defaults", "HSC/calib"])
def test_chains_of_inputs_are_not_written_to(commands, chain, options):
    """Else everybody who reads them would read this user's RUN first."""
    before = children(commands, chain)
    for inputs in ("", "HSC/raw/all"):
        assert commands("-o", chain, *options, inputs=inputs) == 1
        assert f"-o {chain}: this chain exists" in commands.said
        assert f"has no RUN {chain}/..." in commands.said
        assert "Give another -o" in commands.said
    assert children(commands, chain) == before


def test_chain_whose_runs_were_removed(commands):
    """What is left looks like a chain of inputs; the message says how to go on."""
    commands.count("-o", "u/me/count")
    with Butler.from_config(commands.root, writeable=True) as butler:
        butler.removeRuns(commands.chain("u/me/count"), unlink_from_chains=True)
    assert commands.count("-o", "u/me/count") == 1
    assert f"butler remove-collections {commands.root} u/me/count --no-confirm" in commands.said


def test_chain_of_runs_with_names_of_their_own(commands):
    commands.count("-o", "u/me/chain", "--output-run", "u/me/one", "-d", "exposure=903334")
    assert commands.count("-o", "u/me/chain") == 1
    assert "or --output-run u/me/one, to go on with that" in commands.said
    assert commands.count("-o", "u/me/chain", "--output-run", "u/me/one") == 0
    assert commands.count("-o", "u/me/chain", "--output-run", "u/me/two") == 0
    assert children(commands, "u/me/chain") == ("u/me/two", "u/me/one", OLD)
