"""isr-run -b: the same command again, other configurations, failures, what is said at the end."""

from __future__ import annotations

import json

import pytest
from lsst.daf.butler import Butler

from pipeline.butler_mode.claim import claim
from pipeline.errors import RepositoryError
from tests.pipeline.butler_mode_repository import EXPOSURES, commands, filled_repository

__all__ = ["commands", "filled_repository"]  # fixtures

ALL = {exposure: exposure + 1 for exposure in EXPOSURES}


def test_everything_is_done_once(commands):
    assert commands.count("-o", "u/me/count") == 0
    (run,) = commands.chain("u/me/count")
    assert commands.out == f"{run}\n"
    assert commands.values("u/me/count") == ALL
    assert "3 done, 0 skipped (done before), 0 failed." in commands.said
    assert f"RUN {run}, first in the chain u/me/count" in commands.said
    assert f"Butler('{commands.root}', collections='u/me/count', instrument='HSC')" in commands.said
    assert "butler.get('postISRCCD', exposure=903334, detector=22)" in commands.said
    assert commands.count("-o", "u/me/count") == 0
    assert "butler.get('postISRCCD', exposure=903334, detector=22)" in commands.said
    assert f"Everything was already done: 3 quanta in RUN {run}." in commands.said
    assert commands.out == f"{run}\n"
    assert commands.chain("u/me/count") == [run]


def test_lines_of_quanta_name_their_data(commands):
    commands.count("-o", "u/me/count", "-d", "exposure=903334")
    assert "INFO (exposure 903334 detector 22): Counting 903334" in commands.said


def test_logs_of_quanta_are_kept(commands):
    commands.count("-o", "u/me/count", "-d", "exposure=903334")
    with Butler.from_config(commands.root) as butler:
        (ref,) = butler.query_datasets("count_log", collections="u/me/count")
        assert "Counting 903334" in [record.message for record in butler.get(ref)]


def test_new_data_are_added_to_the_run(commands):
    commands.count("-o", "u/me/count", "-d", "exposure=903334")
    assert commands.count("-o", "u/me/count", "-d", "exposure IN (903334, 903336)") == 0
    assert "1 done, 1 skipped (done before), 0 failed." in commands.said
    (run,) = commands.chain("u/me/count")
    assert commands.values(run).keys() == {903334, 903336}


@pytest.mark.parametrize("output", ["-o", "--output-run"])
def test_failure_and_retry(commands, output):
    (commands.orders / "fail-903336").touch()
    assert commands.count(output, "u/me/count") == 1
    assert "exposure 903336 detector 22" in commands.said
    assert "2 done, 0 skipped (done before), 1 failed." in commands.said
    (row,) = (line for line in commands.err.splitlines() if line.startswith("│"))
    assert "exposure 903336 detector 22" in row
    assert "raw of 903336: cut short; fetch it again." in row  # not folded
    assert "The same command again keeps what is done and tries the rest." in commands.said
    assert "Traceback" not in commands.err
    run = commands.out.strip()
    with Butler.from_config(commands.root) as butler:
        logs = butler.query_datasets("count_log", collections=run)
        assert {ref.dataId["exposure"] for ref in logs} == set(EXPOSURES)
        first = {ref.id for ref in butler.query_datasets("count", collections=run)}
    (commands.orders / "fail-903336").unlink()
    assert commands.count(output, "u/me/count") == 0
    assert "1 done, 2 skipped (done before), 0 failed." in commands.said
    assert commands.out.strip() == run
    assert commands.values(run) == ALL
    with Butler.from_config(commands.root) as butler:
        assert first < {ref.id for ref in butler.query_datasets("count", collections=run)}


def test_traceback_of_a_failure_at_level_debug(commands):
    (commands.orders / "fail-903334").touch()
    assert commands.count("-o", "u/me/count", "-d", "exposure=903334", "--log-level", "DEBUG") == 1
    assert "Traceback" in commands.err


def test_fail_fast(commands):
    (commands.orders / "fail-903334").touch()
    assert commands.count("-o", "u/me/count", "--fail-fast") == 1
    assert "0 done, 0 skipped (done before), 1 failed, 2 not finished." in commands.said


def test_other_configuration_gets_a_new_run(commands):
    first = "u/me/count/first"  # a time would have the resolution of a second
    commands.count("-o", "u/me/count", "--output-run", first)
    assert commands.count("-o", "u/me/count", "-c", "count:step=5") == 0
    second, old = commands.chain("u/me/count")
    assert old == first
    assert f"INFO: A new RUN on top of {first}: step is 1 there, 5 here" in commands.said
    assert set(commands.values(second)) == set(EXPOSURES)
    assert commands.values(first) == ALL
    assert commands.count("-o", "u/me/count", "-c", "count:step=5") == 0
    assert f"already done: 3 quanta in RUN {second}" in commands.said


def test_other_configuration_in_a_named_run_is_refused(commands):
    commands.count("--output-run", "u/me/run")
    assert commands.count("--output-run", "u/me/run", "-c", "count:step=5", "-c", "count:unit='e-'") == 1
    assert "step is 1 there, 5 here; unit is 'adu' there, 'e-' here" in commands.said
    assert "give another --output-run, or remove this one (butler remove-runs" in commands.said
    assert "--replace-run" not in commands.said  # needs a chain
    assert commands.values("u/me/run") == ALL


def test_other_configuration_in_a_named_run_of_a_chain_can_replace_it(commands):
    chain = ("-o", "u/me/chain", "-c", "count:step=5")
    commands.count("-o", "u/me/chain", "--output-run", "u/me/run")
    assert commands.count(*chain, "--output-run", "u/me/run") == 1
    assert "another one and --replace-run to put it in the place of this one" in commands.said
    assert commands.count(*chain, "--output-run", "u/me/run2", "--replace-run") == 0
    with Butler.from_config(commands.root) as butler:
        assert butler.collections.get_info("u/me/chain").children == ("u/me/run2", "HSC/raw/all")
    assert commands.values("u/me/chain") == {exposure: exposure + 5 for exposure in EXPOSURES}


def test_other_tasks_in_a_named_run_are_refused(commands):
    commands.count("--output-run", "u/me/run")
    assert commands("--output-run", "u/me/run", "-c", "isr:doFlat=False") == 1
    assert "its tasks are count, not isr" in commands.said


def test_a_run_that_is_no_output_is_refused(commands):
    assert commands.count("--output-run", "HSC/raw/all") == 1
    assert "it holds raw, not output of a pipeline" in commands.said


def test_replace_run(commands):
    commands.count("-o", "u/me/count")
    (first,) = commands.chain("u/me/count")
    assert commands.count("-o", "u/me/count", "--output-run", "u/me/count/2", "--replace-run") == 0
    assert commands.chain("u/me/count") == ["u/me/count/2"]
    assert "3 done, 0 skipped" in commands.said
    assert commands.values(first) == ALL  # not pruned


def test_explicit_options_mean_what_they_mean_in_pipetask(commands):
    (commands.orders / "fail-903336").touch()
    commands.count("-o", "u/me/count")
    (commands.orders / "fail-903336").unlink()
    assert commands.count("-o", "u/me/count", "--extend-run") == 1
    assert "Potential output dataset count_log" in commands.said
    assert "--clobber-outputs" in commands.said
    assert commands.count("-o", "u/me/count", "--extend-run", "--clobber-outputs") == 0
    assert commands.values("u/me/count") == ALL


def test_skip_existing_in_another_collection(commands):
    commands.count("-o", "u/me/one", "-d", "exposure=903334")
    assert commands.count("-o", "u/me/two", "--skip-existing-in", "u/me/one") == 0
    assert set(commands.values("u/me/two")) == {903336, 903338}


def test_interrupted_before_anything_was_written(commands):
    """An empty RUN, left by a command that was killed, is completed."""
    with Butler.from_config(commands.root, writeable=True) as butler:
        butler.collections.register("u/me/run")
    assert commands.count("--output-run", "u/me/run") == 0
    assert commands.values("u/me/run") == ALL


def test_init_only(commands):
    assert commands.count("--output-run", "u/me/run", "--init-only") == 0
    assert "nothing was executed" in commands.said
    assert commands.values("u/me/run") == {}
    assert commands.count("--output-run", "u/me/run") == 0
    assert commands.values("u/me/run") == ALL


def test_saved_graph(commands, tmp_path):
    graph = tmp_path / "count.qg"
    assert commands.count("--output-run", "u/me/one", "--save-qgraph", graph, "--show", "workflow") == 0
    assert commands.values("u/me/one") == {}
    assert commands("--output-run", "u/me/one", "-g", graph) == 0
    assert commands.values("u/me/one") == ALL


def test_saved_graph_again(commands, tmp_path):
    """What failed is tried again; what is done is kept, and not counted as done now."""
    graph = tmp_path / "count.qg"
    assert commands.count("-o", "u/me/count", "--save-qgraph", graph, "--show", "workflow") == 0
    (commands.orders / "fail-903336").touch()
    assert commands("-o", "u/me/count", "-g", graph) == 1
    (run,) = commands.chain("u/me/count")
    (commands.orders / "fail-903336").unlink()
    assert commands("-o", "u/me/count", "-g", graph) == 0
    assert "1 done, 2 skipped (done before), 0 failed." in commands.said
    assert commands.values("u/me/count") == ALL
    for options in ((), ("--extend-run",)):
        assert commands("-o", "u/me/count", "-g", graph, *options, inputs="") == 0
        assert f"Everything was already done: 3 quanta in RUN {run}." in commands.said
        assert commands.out == f"{run}\n"
    assert commands.chain("u/me/count") == [run]


def test_summary_file(commands, tmp_path):
    (commands.orders / "fail-903336").touch()
    commands.count("-o", "u/me/count", "--summary", tmp_path / "summary.json")
    report = json.loads((tmp_path / "summary.json").read_text())
    assert [quantum["status"] for quantum in report["quantaReports"]] == ["success", "failure", "success"]


def test_log_files(commands, tmp_path):
    files = [tmp_path / "log.json", tmp_path / "log.txt"]
    options = ("--log-file", f"{files[0]},{files[1]}", "--no-log-tty", "--log-label", "night=7")
    commands.count("-o", "u/me/count", "-d", "exposure=903334", *options)
    records = [json.loads(line) for line in files[0].read_text().splitlines()]
    (ours,) = [record for record in records if record["message"] == "Counting 903334"]
    assert ours["MDC"]["NIGHT"] == "7"
    assert "Counting 903334" in files[1].read_text()
    assert "Counting" not in commands.err


def test_log_levels(commands):
    commands.count("-o", "u/me/a", "-d", "exposure=903334", "--log-level", "WARNING")
    assert "INFO" not in commands.err
    commands.count("-o", "u/me/b", "-d", "exposure=903334", "--log-level", "WARNING,isr.count=INFO")
    assert "Counting 903334" in commands.err
    commands.count("-o", "u/me/c", "-d", "exposure=903334", "--log-level", "VERBOSE", "--long-log")
    assert "INFO isr.count (exposure" in commands.err


def test_options_file_of_pipetask(commands, tmp_path):
    options = tmp_path / "options.yaml"
    options.write_text('run:\n  output: u/me/count\n  data-query: "exposure=903334"\n')
    assert commands.count("-@", options) == 0
    assert set(commands.values("u/me/count")) == {903334}


def test_show_prints_and_does_nothing_else(commands):
    assert commands("--show", "tasks", "--show", "config=isr::doFlat") == 0
    assert "pipeline.task.IsrTask" in commands.out
    assert "config.doFlat=True" in commands.out
    assert commands.count("-o", "u/me/count", "-d", "exposure=903334", "--show", "graph") == 0
    assert "count@{instrument: 'HSC', detector: 22, exposure: 903334" in commands.out
    assert "Counting" not in commands.err
    with Butler.from_config(commands.root) as butler:
        assert not butler.collections.query("u/*")


def test_show_when_everything_is_done(commands):
    commands.count("-o", "u/me/count", "-d", "exposure=903334")
    assert commands.count("-o", "u/me/count", "-d", "exposure=903334", "--show", "uri") == 0
    assert "Everything was already done" in commands.said
    assert "--show has nothing to show" in commands.said


def test_default_task_gets_the_configuration_of_hsc(commands):
    for task in ((), ("-t", "pipeline.task.IsrTask:isr")):
        assert commands(*task, "-c", "isr:doFlat=False", "--show", "pipeline") == 0
        assert "instrument: pipeline.instrument.HyperSuprimeCam" in commands.out
        assert "doFlat: 'False'" in commands.out


def test_a_run_has_one_writer(commands):
    commands.count("--output-run", "u/me/run", "-d", "exposure=903334")
    with claim(str(commands.root), "u/me/run"):
        assert commands.count("--output-run", "u/me/run") == 1
        assert "Another isr-run is writing to the RUN u/me/run right now" in commands.said
        assert commands.count("--output-run", "u/me/other") == 0
        with pytest.raises(RepositoryError, match="right now"), claim(str(commands.root), "u/me/run"):
            pass
    assert commands.count("--output-run", "u/me/run") == 0
    assert commands.values("u/me/run") == ALL
