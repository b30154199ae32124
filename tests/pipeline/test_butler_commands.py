"""Our subcommands of ``butler``, run by LSST's own command."""

from __future__ import annotations

import gc
import subprocess
import sys
from importlib.machinery import ModuleSpec

import pytest
from click.testing import CliRunner
from lsst.daf.butler import Butler
from lsst.daf.butler.cli.butler import UncachedButlerCLI, cli

from isr import hsc
from pipeline.cli.butler_commands import get_cli_subcommands
from tests.pipeline.raws import write_raw

# Some of LSST's commands leave their connections to the garbage collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed database:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

OURS = ["define-visits", "ingest-raws", "write-curated-calibrations"]


@pytest.fixture(autouse=True)
def collect_garbage():
    yield
    gc.collect()  # here, where its warnings are ignored


@pytest.fixture
def butler_command():
    """Run ``butler`` and return exit code, stdout and stderr."""

    def run(*arguments):
        result = CliRunner().invoke(cli, [str(argument) for argument in arguments])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result.exit_code, result.stdout, result.stderr

    return run


def test_commands_are_found_by_lssts_butler():
    found = UncachedButlerCLI()._getCommands()
    for name in OURS:
        (command,) = found[name]
        assert command.source.startswith("pipeline.cli.butler_commands")


def test_no_commands_where_obs_base_is_installed(monkeypatch):
    assert [command.name for command in get_cli_subcommands()] == OURS

    def find_spec(name, *_):
        return ModuleSpec(name, None) if name == "lsst.obs.base.cli" else None

    monkeypatch.setattr("pipeline.cli.butler_commands.find_spec", find_spec)
    assert get_cli_subcommands() == []


def test_options_are_those_of_obs_base():
    options = {command.name: {o for p in command.params for o in p.opts} for command in get_cli_subcommands()}
    assert options["ingest-raws"] >= {
        *("repo", "locations", "--regex", "-c", "--config", "-C", "--config-file", "--output-run", "-t"),
        *("--transfer", "-j", "--processes", "--ingest-task", "--track-file-attrs", "--fail-fast"),
        *("--update-records", "--skip-existing", "--search-indexes", "-@", "--options-file"),
    }
    assert options["define-visits"] >= {
        *("repo", "instrument", "-C", "--config-file", "--collections", "--where", "--update-records"),
        *("--incremental", "-@"),
    }
    assert options["write-curated-calibrations"] >= {
        *("repo", "instrument", "labels_arg", "--collection", "--label", "--prefix", "-@"),
    }


def test_from_raws_to_visits(butler_command, repository, tmp_path):
    write_raw(tmp_path / "raw")
    command = ("ingest-raws", repository, tmp_path / "raw", "-t", "direct")
    assert butler_command(*command)[:2] == (0, "1 raws ingested, 0 were there, 0 failed (1 exposures).\n")
    assert butler_command(*command)[:2] == (0, "0 raws ingested, 1 were there, 0 failed (1 exposures).\n")
    command = ("define-visits", repository, "HSC", "--collections", "HSC/raw/all")
    code, out, _ = butler_command(*command)
    assert (code, out.partition(";")[0]) == (0, "1 visits defined, 0 updated, 0 were there")
    code, out, _ = butler_command("define-visits", repository, "lsst.obs.subaru.HyperSuprimeCam")
    assert (code, out.partition(";")[0]) == (0, "0 visits defined, 0 updated, 1 were there")


def test_failures_are_listed_and_exit_with_1(butler_command, repository, tmp_path):
    write_raw(tmp_path / "raw")
    (tmp_path / "raw" / "bad.fits").touch()
    code, out, err = butler_command("ingest-raws", repository, tmp_path / "raw", "-t", "direct")
    assert (code, out) == (1, "1 raws ingested, 0 were there, 1 failed (1 exposures).\n")
    assert f"Failed: file://{tmp_path}/raw/bad.fits: is empty (0 bytes)" in err
    code, _, err = butler_command("ingest-raws", repository, tmp_path / "raw", "--fail-fast")
    assert code == 1
    assert err.startswith(f"Error: file://{tmp_path}/raw/bad.fits: is empty")


def test_configuration_of_ingest(butler_command, repository, tmp_path):
    path = write_raw(tmp_path / "raw")
    (tmp_path / "ingest.py").write_text("config.transfer = 'symlink'\n")
    butler_command("ingest-raws", repository, path, "-C", tmp_path / "ingest.py", "--output-run", "a")
    butler_command("ingest-raws", repository, path, "-c", "transfer=direct", "--output-run", "b")
    with Butler.from_config(str(repository)) as butler:
        places = [
            butler.getURI("raw", instrument="HSC", exposure=903334, detector=22, collections=run)
            for run in ("a", "b")
        ]
    assert places[1].ospath == str(path)
    assert places[0].ospath != str(path)
    assert path.samefile(places[0].ospath)
    for option in ("noSuchField=1", "transfer=teleport"):
        code, _, err = butler_command("ingest-raws", repository, path, "-c", option)
        assert code == 1
        assert f"Error: -c {option}: " in err
        assert "Known here: transfer, failFast." in err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--ingest-task", "lsst.obs.decam.DecamRawIngestTask"],
            "only lsst.obs.base.RawIngestTask is possible",
        ),
        (["--search-indexes"], "index files are not read here"),
    ],
)
def test_options_without_meaning_are_refused(butler_command, repository, tmp_path, options, message):
    code, _, err = butler_command("ingest-raws", repository, tmp_path, *options)
    assert code == 2
    assert message in " ".join(err.split())


def test_curated_calibrations(butler_command, repository, monkeypatch):
    monkeypatch.setattr("pipeline.curated.camera", lambda: [hsc.detector(111)])
    code, out, _ = butler_command("write-curated-calibrations", repository, "HSC", "DM-1", "--label", "x")
    assert code == 0
    assert out.endswith("certified in HSC/calib/DM-1/x, which is in HSC/calib.\n")
    code, out, _ = butler_command("write-curated-calibrations", repository, "HSC")
    assert (code, out.rpartition("certified ")[2]) == (0, "in HSC/calib/curated, which is in HSC/calib.\n")


@pytest.mark.parametrize("command", OURS)
def test_errors_have_no_traceback(butler_command, tmp_path, command):
    argument = tmp_path if command == "ingest-raws" else "HSC"
    code, out, err = butler_command(command, tmp_path / "nothing", argument)
    assert (code, out) == (1, "")
    assert (
        err.strip().splitlines()[-1].startswith(f"Error: {tmp_path}/nothing: there is no Butler repository")
    )


@pytest.mark.parametrize("command", ["define-visits", "write-curated-calibrations"])
def test_other_instruments_are_refused(butler_command, repository, command):
    code, _, err = butler_command(command, repository, "DECam")
    assert code == 1
    assert "INSTRUMENT DECam: only HSC" in err


def test_configuration_and_collections_of_define_visits(butler_command, repository, tmp_path):
    (tmp_path / "visits.py").write_text("config.computeVisitRegions['other'].padding = 1\n")
    code, _, err = butler_command("define-visits", repository, "HSC", "-C", tmp_path / "visits.py")
    assert code == 1
    assert f"Error: -C {tmp_path}/visits.py: " in err
    code, _, err = butler_command("define-visits", repository, "HSC", "--collections", "HSC/nothing")
    assert code == 1
    assert "--collections HSC/nothing: there is no such collection" in err


def test_plain_butler_commands_read_our_files(butler_command, repository, tmp_path):
    """They do not import our task: the entry point makes LSST's names known."""
    write_raw(tmp_path / "raw")
    butler_command("ingest-raws", repository, tmp_path / "raw", "-t", "direct")
    code, out, _ = butler_command("query-datasets", repository, "raw", "--collections", "HSC/raw/all")
    assert code == 0
    assert "903334" in out
    code, out, _ = butler_command(
        "register-instrument", repository, "lsst.obs.subaru.HyperSuprimeCam", "--update"
    )
    assert code == 0


def test_nothing_heavy_is_imported_for_other_commands():
    code = (
        "import sys; from pipeline.cli.butler_commands import *; get_cli_subcommands(); print(*sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"astro_metadata_translator", "numba", "boto3"} & set(result.stdout.split())
