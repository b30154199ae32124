"""isr-run -b: what a user is told, and which exit code the command has."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError
from lsst.daf.butler import Butler
from lsst.daf.butler.registry.versions import IncompatibleVersionError
from lsst.utils.db_auth import DbAuthPermissionsError
from sqlalchemy.exc import OperationalError, ProgrammingError

from isr.errors import FitsFileError
from pipeline.butler_mode.problems import explain
from tests.pipeline.butler_mode_repository import TASK, commands, filled_repository

__all__ = ["commands", "filled_repository"]  # fixtures

ROOT = Path(__file__).parents[2]
ISR_RUN = "from pipeline.cli.isr_run import main; main()"


@pytest.mark.parametrize(
    ("arguments", "code", "parts"),
    [
        (["-d", "exposure=903334"], 2, ["-o CHAIN", "--output-run RUN"]),
        (["-o", "", "-d", "exposure=903334"], 2, ["-o CHAIN", "variable of the shell"]),
        (["-o", "bad name!"], 1, ["--output 'bad name!'", "as u/me/isr"]),
        (["--output-run", "u//x"], 1, ["--output-run 'u//x'", "single slashes"]),
        (["-o", "u/me/x", "--nonsense"], 2, ["--nonsense"]),
        (["-o", "u/me/x", "--show", "nonsense"], 2, ["nonsense", "pipeline-graph"]),
        (["-o", "u/me/x", "-c", "doFlat=False"], 2, ["doFlat=False", "-c isr:doFlat=False"]),
        (["-o", "u/me/x", "--log-level", "LOUD"], 2, ["LOUD", "verbose"]),
        (["-o", "u/me/x", "--calibs", "there"], 2, ["--calibs", "isr-run RAW --calibs DIR"]),
        (["-o", "u/me/x", "raw.fits"], 2, ["raw.fits", "isr-run RAW --calibs DIR"]),
        (["-o", "u/me/x", "-t", "lsst.ip.isr.IsrTask:isr"], 1, ["-t pipeline.task.IsrTask:isr"]),
        (["-o", "u/me/x", "-c", "isr:doFlt=False"], 1, ["'doFlt'", "did you mean 'doFlat'?"]),
        (["-o", "u/me/x", "-c", "isr:doFlat=maybe"], 1, ["doFlat", "maybe", "bool"]),
        (["-o", "u/me/x", "-c", "other:doFlat=False"], 1, ["no tasks labeled 'other'"]),
        (["-o", "u/me/x", "-C", "isr:nowhere.py"], 1, ["nowhere.py", "No such file"]),
        (["-o", "u/me/x", "-p", "nowhere.yaml"], 1, ["nowhere.yaml"]),
        (["-o", "u/me/x", "-t", "nowhere.Task:x"], 1, ["nowhere.Task"]),
        (["-o", "u/me/x", "-d", "exposure=903334 AND AND"], 1, ["AND AND", "An example of a query"]),
        (["-o", "u/me/x", "-d", "foo=3"], 1, ["'foo'", "An example of a query"]),
        (["-o", "u/me/x", "-d", "visit.visit=3"], 1, ["visit", "An example of a query"]),
        (["-o", "HSC/raw/all"], 1, ["--output HSC/raw/all", "RUN", "not CHAINED"]),
        (["--output-run", "HSC/calib"], 1, ["--output-run HSC/calib", "CHAINED", "not RUN"]),
        (["-o", "u/me/x", "--replace-run"], 1, ["--replace-run"]),
        (["-o", "u/me/x", "--extend-run"], 1, ["--extend-run"]),
    ],
    ids=lambda value: " ".join(value[-2:]) if isinstance(value, list) else None,
)
def test_mistakes_of_users(commands, arguments, code, parts):
    assert commands(*arguments) == code
    assert [part for part in parts if part not in commands.said] == []
    assert "Traceback" not in commands.err
    assert commands.out == ""
    with Butler.from_config(commands.root) as butler:
        assert not butler.collections.query("u/*")


def test_config_file_with_a_mistake(commands, tmp_path):
    file = tmp_path / "isr.py"
    for text in (
        "config.doFlat = False\nconfig.nothing = 3\n",
        "config.doFlat = False\nconfig.doBias = = 3\n",
    ):
        file.write_text(text)
        assert commands("-o", "u/me/x", "-C", f"isr:{file}") == 1
        assert f"line 2 of {file}" in commands.said


def test_no_repository(commands, tmp_path):
    commands.root = tmp_path / "nowhere"
    assert commands("-o", "u/me/x") == 1
    assert f"{commands.root}: there is no Butler repository" in commands.said
    assert f"isr-repo demo {commands.root}" in commands.said


def test_no_such_input(commands):
    assert commands("-o", "u/me/x", inputs="HSC/default,HSC/calib") == 1
    assert "has no collection HSC/default (-i)" in commands.said
    assert "HSC/defaults" in commands.said


def test_output_needs_an_input(commands):
    assert commands("-o", "u/me/x", inputs="") == 1
    assert "has no collection u/me/x (-o) yet: say with -i what to read" in commands.said


def test_query_that_matches_nothing(commands):
    assert commands("-o", "u/me/x", "-d", "exposure=1") == 1
    assert "no data for the query 'exposure=1' (-d) in the collections HSC/defaults" in commands.said
    assert "There is raw of exposure 903334, 903336, 903338; of detector 22." in commands.said
    assert "debugging" not in commands.said


def test_visits_that_are_not_defined(commands):
    assert commands("-o", "u/me/x", "-d", "visit=903334") == 1
    assert f"No visits are defined there: run `butler define-visits {commands.root} HSC`" in commands.said


def test_collections_without_raws(commands):
    commands.count("--output-run", "u/me/other")
    assert commands("-o", "u/me/x", "-d", "exposure=903334", inputs="u/me/other") == 1
    assert "There are no datasets of the type raw in these collections." in commands.said


def test_empty_chain(commands):
    assert commands("-o", "u/me/x", inputs="HSC/calib") == 1
    assert "The chain HSC/calib (-i) is empty" in commands.said


def test_missing_calibrations(commands):
    assert commands("-o", "u/me/x", "-d", "exposure=903334") == 1
    assert "No flat for instrument HSC, exposure 903334, detector 22, physical_filter HSC-R" in commands.said
    assert "isr:doFlat=False" in commands.said
    assert "No bfKernel for instrument HSC, exposure 903334, detector 22" in commands.said
    assert "`butler write-curated-calibrations REPO HSC`" in commands.said
    assert "isr:doBrighterFatter=False" in commands.said
    assert "newBFKernel" not in commands.said
    assert "Traceback" not in commands.err


def test_raw_that_is_gone(commands):
    """A quantum without its raw would count as done."""
    with Butler.from_config(commands.root, writeable=True) as butler:
        (raw,) = butler.query_datasets("raw", "HSC/raw/all", where="exposure=903334", instrument="HSC")
        butler.pruneDatasets([raw], disassociate=False, unstore=True)
    switches = ("Bias", "Dark", "Flat", "Defect", "BrighterFatter")
    off = [option for name in switches for option in ("-c", f"isr:do{name}=False")]
    assert commands("-o", "u/me/x", "-d", "exposure=903334", *off) == 1
    assert "The file of raw for exposure 903334, detector 22 is not where" in commands.said
    assert "0 done, 0 skipped (done before), 1 failed." in commands.said
    with Butler.from_config(commands.root) as butler:
        assert not butler.query_datasets("isr_metadata", "u/me/x", explain=False)


def test_quantum_without_work(commands):
    """Other tasks may have nothing to do without their inputs: this is said."""
    with Butler.from_config(commands.root, writeable=True) as butler:
        (raw,) = butler.query_datasets("raw", "HSC/raw/all", where="exposure=903334", instrument="HSC")
        butler.pruneDatasets([raw], disassociate=False, unstore=True)
    assert commands.count("-o", "u/me/count") == 0
    assert "exposure 903334 detector 22 │ idle" in commands.said
    assert commands.values("u/me/count").keys() == {903336, 903338}


def test_traceback_of_a_mistake_at_level_debug(commands):
    assert commands("-o", "u/me/x", "-d", "foo=3", "--log-level", "DEBUG") == 1
    assert "InvalidQueryError" in commands.err
    assert "Traceback" in commands.err


def client_error(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "what S3 says"}}, "GetObject")


@pytest.mark.parametrize(
    ("error", "parts"),
    [
        (
            OperationalError("SELECT 1", {}, Exception("Connection refused")),
            ["Connection refused", "LSST_DB_AUTH"],
        ),
        (OperationalError("INSERT", {}, Exception("database or disk is full")), ["disk", "Make room"]),
        (OperationalError("INSERT", {}, Exception("attempt to write a readonly database")), ["right"]),
        (OperationalError("INSERT", {}, Exception("database is locked")), ["busy", "PostgreSQL"]),
        (DbAuthPermissionsError("db-auth.yaml has incorrect permissions"), ["db-auth.yaml", "chmod"]),
        (NoCredentialsError(), ["No credentials for S3", "AWS_ACCESS_KEY_ID"]),
        (EndpointConnectionError(endpoint_url="http://there"), ["http://there", "S3_ENDPOINT_URL"]),
        (client_error("SignatureDoesNotMatch"), ["S3 refuses", "what S3 says"]),
        (client_error("AccessDenied"), ["S3 does not allow", "what S3 says", "right"]),
        (ProgrammingError("INSERT", {}, Exception("permission denied for table x")), ["owner", "right"]),
        (IncompatibleVersionError("schema 5, expected 6"), ["another version", "schema 5", "migrate"]),
        (client_error("NoSuchBucket"), ["no such bucket"]),
        (OSError(errno.ENOSPC, "No space left on device", "/data/x.fits"), ["disk is full", "/data/x.fits"]),
        (OSError(errno.EACCES, "Permission denied", "/data"), ["Not allowed", "/data"]),
        (FitsFileError("x.fits: cut short"), ["x.fits: cut short"]),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_reason_under_what_wraps_it(error, parts):
    for wrapped in (error, wrap(error)):
        message = explain(wrapped)
        assert message is not None
        assert [part for part in parts if part not in message] == []
        assert "[SQL" not in message


def wrap(error: Exception) -> Exception:
    """Wrap an error as Butler does."""
    try:
        try:
            raise error
        except Exception as inner:
            raise RuntimeError("Failed to serialize dataset") from inner
    except RuntimeError as outer:
        return outer


def test_defects_of_programs_are_not_explained():
    assert explain(ZeroDivisionError("division by zero")) is None


def isr_run(*arguments: object, script: str = ISR_RUN, **options: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        **options,
    )


@pytest.mark.slow
def test_processes(commands):
    """-j: logs of the processes reach terminal and repository, a failure is said once."""
    (commands.orders / "fail-903336").touch()
    options = ("-i", "HSC/defaults", "-o", "u/me/count", "-j", 2, *TASK)
    process = isr_run("-b", commands.root, *options)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 1, err
    assert "INFO (exposure 903338 detector 22): Counting 903338" in err
    assert "ERROR (exposure 903336 detector 22): raw of 903336: cut short; fetch it again." in err
    assert "2 done, 0 skipped (done before), 1 failed." in err
    assert "Traceback" not in err
    with Butler.from_config(commands.root) as butler:
        logs = {
            ref.dataId["exposure"]: [record.message for record in butler.get(ref)]
            for ref in butler.query_datasets("count_log", collections="u/me/count")
        }
    for exposure, messages in logs.items():
        assert [text for text in messages if text.startswith("Counting")] == [f"Counting {exposure}"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("end", "code"),
    [(signal.SIGKILL, -9), (signal.SIGTERM, 143), (signal.SIGINT, 130)],
    ids=lambda end: str(end),
)
def test_processes_end_with_their_command(commands, end, code):
    """However a command ends: nothing goes on writing to its RUN, and the next one completes it."""
    wait, seen = commands.orders / "wait-903334", commands.orders / "pid-903334"
    wait.touch()
    options = ("-i", "HSC/defaults", "-o", "u/me/count", "-j", 2, "-d", "exposure=903334", *TASK)
    process = isr_run("-b", commands.root, *options)
    until(lambda: seen.exists() and seen.read_text(), 60)
    worker = int(seen.read_text())
    process.send_signal(end)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    until(lambda: not is_running(worker), 30)
    wait.unlink()
    assert commands.count("-o", "u/me/count", "-d", "exposure=903334") == 0
    assert commands.values("u/me/count") == {903334: 903335}


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["import", "903334"])
def test_interrupted_from_the_terminal(commands, moment):
    """Ctrl-C reaches all processes of a command, also when they start; one line is said."""
    wait, seen = commands.orders / f"wait-{moment}", commands.orders / f"pid-{moment}"
    wait.touch()
    script = (
        "from pipeline.overlay import activate\nactivate()\n"
        "from pipeline.butler_mode import execute\n"
        f"execute.PRELOADED = ('tests.pipeline.wait_at_import',)\n{ISR_RUN}"
    )
    options = ("-i", "HSC/defaults", "-o", "u/me/count", "-j", 2, "-d", "exposure=903334", *TASK)
    process = isr_run("-b", commands.root, *options, script=script, start_new_session=True)
    until(lambda: seen.exists() and seen.read_text(), 60)
    worker = int(seen.read_text())
    os.killpg(process.pid, signal.SIGINT)
    process.wait(60)
    if moment == "import":  # the rest of the imports goes on
        wait.unlink()
    until(lambda: not is_running(worker), 30)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Interrupted; nothing is left half-written." in err
    assert "Traceback" not in err


@pytest.mark.slow
def test_timeout_of_processes(commands):
    (commands.orders / "wait-903334").touch()
    options = ("-i", "HSC/defaults", "-o", "u/me/count", "-j", 2, "--timeout", 3, *TASK)
    process = isr_run("-b", commands.root, *options)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 1, err
    assert "took longer than --timeout" in err
    assert "leaked" not in err


def test_interrupted_during_imports():
    script = (
        "import sys\n"
        "class Finder:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.startswith('lsst.'):\n"
        "            raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Finder())\n" + ISR_RUN
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "-b", "repo", "-o", "u/me/x"],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        timeout=120,
    )
    assert done.returncode == 130
    assert done.stderr == "Interrupted before anything was done.\n"


def until(condition, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"  # nobody may be there to collect it


def modules_after(*arguments: object) -> tuple[int, set[str]]:
    """Run isr-run in a process of its own; return its exit code and the modules that it had imported."""
    script = (
        "import atexit, json, sys\n"
        "atexit.register(lambda: print('\\n' + json.dumps(sorted(sys.modules))))\n" + ISR_RUN
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if not name.startswith("COV_")},
        timeout=120,
    )
    return done.returncode, set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_imports_neither_middleware_nor_pixels(option):
    code, modules = modules_after(option)
    assert code == 0
    assert not modules & {"lsst.daf.butler", "lsst.pipe.base", "lsst.pex.config", "numba", "astropy", "boto3"}


def test_butler_mode_imports_what_it_needs(commands):
    code, modules = modules_after(
        "-b", commands.root, "-i", "HSC/defaults", "-o", "u/me/x", *TASK, "-d", "exposure=903334"
    )
    assert code == 0
    assert "lsst.pipe.base" in modules
    assert not modules & {"boto3", "botocore", "dask", "distributed", "matplotlib", "pandas", "lsst.images"}


def test_file_mode_imports_no_middleware(tmp_path):
    (tmp_path / "calibs.csv").write_text("")
    code, modules = modules_after(tmp_path / "raw.fits", "--calibs", tmp_path, "-o", tmp_path / "out")
    assert code == 1
    assert "isr.fits.raw" in modules
    assert not modules & {"lsst.daf.butler", "lsst.pipe.base", "sqlalchemy", "boto3", "dask", "matplotlib"}


def test_help_names_both_modes():
    done = isr_run("--help")
    out, _ = done.communicate(timeout=60)
    assert "isr-run -b REPO --help" in out


def test_help_of_butler_mode(commands):
    assert commands("--help") == 0
    assert all(option in commands.out for option in ("--output-run", "--skip-existing-in", "--log-tty"))
    assert "pipetask --help" not in commands.out
