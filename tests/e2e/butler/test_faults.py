"""What goes wrong on a disk: damaged raws, full disks, two commands at once; and what helps.

Upstream's ``pipetask`` and, where it differs by design, ``isr-run -b``.
"""

from __future__ import annotations

import re
import resource
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from astropy.io import fits

from tests.e2e.butler.commands import (
    DETECTORS,
    INPUTS,
    PER_DETECTOR,
    PER_RUN,
    QUICK_TASK,
    UPSTREAM_LOSES,
    VISIT,
    Repository,
)
from tests.e2e.butler.conftest import copy_demo

pytestmark = pytest.mark.xdist_group("butler-faults")

BOTH = sorted(DETECTORS)
MIB = 1 << 20
ROOM = 60 * MIB  # a plane fits, a product of 98 MiB does not


@pytest.fixture
def repository(demo, commands, tmp_path) -> Repository:
    """A private copy of the demonstration's repository."""
    return copy_demo(demo, tmp_path / "repo", commands)


def options(run: str, *more: object) -> tuple[object, ...]:
    return ("-i", INPUTS, "--output-run", run, "--register-dataset-types", *QUICK_TASK, *more)


def damage(repository: Repository, detector: int) -> bytes:
    """Change one byte of the pixels of a raw; return what was there."""
    path = raw_path(repository, detector)
    content = path.read_bytes()
    path.unlink()  # it may be linked to other copies
    place = len(content) // 2
    path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
    return content


def raw_path(repository: Repository, detector: int) -> Path:
    with repository.butler() as butler:
        (ref,) = butler.query_datasets("raw", "HSC/raw/all", where=f"detector={detector}")
        return Path(butler.getURI(ref).ospath)


def products(repository: Repository, run: str) -> dict[str, int]:
    """Return files and their times that lie in a RUN, known to the registry or not, but for small ones."""
    small = {"isr_log", "isr_metadata", "isr_config", "packages"}
    root = Path(repository.uri) / run
    files = [path for path in root.rglob("*") if path.is_file()]
    return {path.name: path.stat().st_mtime_ns for path in files if not small & set(path.parts)}


def check_complete(repository: Repository, run: str) -> None:
    """All datasets are there and can be read, and there is no file more."""
    for name in PER_DETECTOR:
        assert repository.detectors(name, run) == BOTH, name
    with repository.butler(run) as butler:
        for name in PER_RUN:
            assert len(butler.query_datasets(name)) == 1
        for detector in BOTH:
            path = butler.getURI("postISRCCD", exposure=VISIT, detector=detector).ospath
            with fits.open(path, checksum=True) as hdus:
                hdus.verify("exception")
                assert hdus["VARIANCE"].data.shape == (4176, 2048)
    assert len(products(repository, run)) == len(BOTH)


def test_failed_quantum_and_retry(repository):
    """The others finish, the log stays, LSST's two flags redo what failed."""
    content = damage(repository, 100)
    run = "u/me/failed"
    failed = repository.pipetask("run", *options(run), "-d", f"visit={VISIT}", code=1)
    assert "DATASUM" in failed.said
    assert raw_path(repository, 100).name in failed.said
    assert "1 quanta successfully, 1 failed" in failed.said
    assert repository.detectors("postISRCCD", run) == repository.detectors("isr_metadata", run) == [22]
    assert repository.detectors("isr_log", run) == BOTH
    before = products(repository, run)
    assert len(before) == 1
    with repository.butler(run) as butler:
        messages = [record.message for record in butler.get("isr_log", exposure=VISIT, detector=100)]
    assert any("DATASUM" in message for message in messages)

    again = repository.pipetask("run", *options(run), "-d", f"visit={VISIT}", code=1)
    assert f"Output run '{run}' already exists, but --extend-run was not given" in again.said
    extended = repository.pipetask("run", *options(run), "--extend-run", "-d", f"visit={VISIT}", code=1)
    assert "OutputExistsError" in extended.said
    assert repository.detectors("isr_log", run) == BOTH

    raw_path(repository, 100).write_bytes(content)
    retry = ("--extend-run", "--clobber-outputs", "-d", f"visit={VISIT}")
    done = repository.pipetask("run", *options(run), *retry)
    assert "Executed 1 quanta successfully, 0 failed and 0 remain out of total 1" in done.said
    check_complete(repository, run)
    after = products(repository, run)
    assert {name: after[name] for name in before} == before
    assert "QuantumGraph was empty" in repository.pipetask("run", *options(run), *retry, code=1).said


def test_failed_quantum_and_retry_with_isr_run(repository):
    """The same command, without flags."""
    content = damage(repository, 100)
    run = "u/me/failed"
    failed = repository.isr_run(*options(run), "-d", f"visit={VISIT}", code=1)
    assert "1 done, 0 skipped (done before), 1 failed." in failed.said
    assert "DATASUM" in failed.said
    assert "Traceback" not in failed.err
    assert repository.detectors("postISRCCD", run) == repository.detectors("isr_metadata", run) == [22]
    assert repository.detectors("isr_log", run) == BOTH
    before = products(repository, run)
    raw_path(repository, 100).write_bytes(content)
    assert (
        "1 done, 1 skipped (done before), 0 failed."
        in repository.isr_run(*options(run), "-d", f"visit={VISIT}").said
    )
    check_complete(repository, run)
    after = products(repository, run)
    assert {name: after[name] for name in before} == before
    nothing = repository.isr_run(*options(run), "-d", f"visit={VISIT}")
    assert f"Everything was already done: 2 quanta in RUN {run}." in nothing.said


def test_other_configuration_in_a_run(repository):
    """It is refused before anything is executed."""
    run = "u/me/config"
    one = ("-d", f"visit={VISIT} AND detector=22")
    repository.pipetask("run", *options(run), *one)
    more = ("--extend-run", "--clobber-outputs", "-c", "isr:doFlat=False", "-d", f"visit={VISIT}")
    refused = repository.pipetask("run", *options(run), *more, code=1)
    assert "doFlat" in refused.said
    assert "does not match existing task config 'isr_config'" in refused.said
    assert repository.detectors("postISRCCD", run) == [22]
    with repository.butler(run) as butler:
        assert butler.get("isr_config").doFlat is True


def test_missing_and_expired_calibrations(repository):
    """Type, data, collections, validity and remedy are named; nothing is left behind."""
    expired = "HSC/calib/expired"
    dates = ("--begin-date", "2012-01-01T00:00:00", "--end-date", "2013-02-01T00:00:00")
    repository.run(
        "butler", "certify-calibrations", repository.uri, "HSC/calib/demo/unbounded", expired, "flat", *dates
    )
    command = (
        *("-i", f"HSC/raw/all,{expired},HSC/calib/curated", "--output-run", "u/me/missing"),
        *("--register-dataset-types", *QUICK_TASK, "-c", "isr:doDark=False"),
        *("-d", f"visit={VISIT} AND detector=22"),
    )
    for tool in (lambda *words: repository.pipetask("run", *words, code=1),
                 lambda *words: repository.isr_run(*words, code=1)):  # fmt: skip
        said = tool(*command).said
        where = f"for instrument HSC, exposure {VISIT}, detector 22, physical_filter HSC-R taken 2013-06-17T"
        assert f"No bias {where}" in said
        assert f"HSC/raw/all, {expired}, HSC/calib/curated: no bias is certified there" in said
        assert "isr:doBias=False" in said
        assert f"No flat {where}" in said
        assert "valid at other times: from 2011-12-31T23:59:26" in said  # 2012-01-01 TAI
        assert "until 2013-01-31T23:59:25" in said
        assert "No dark" not in said
    assert not repository.has_collection("u/me/missing")


def test_two_pipetasks_on_one_run(repository):
    """One wins; the other is told why, and harms nothing."""
    run = "u/me/race"
    race(repository, ("pipetask", "run"), run, UPSTREAM_LOSES)
    check_complete(repository, run)


def race(repository: Repository, tool: tuple[str, ...], run: str, reason: str) -> None:
    """Start a command twice; one must do all the work, the other must say why it does not."""
    words = (*tool, "-b", repository.uri, *options(run), "-d", f"visit={VISIT}")
    racers = [repository.run.start(*words) for _ in range(2)]
    results = [repository.run.finish(racer, None) for racer in racers]
    winners = [result for result in results if result.code == 0]
    losers = [result for result in results if result.code != 0]
    assert len(winners) == 1, "\n\n".join(result.err for result in results)
    assert len(losers) == 1
    assert "SAT amplifier" not in losers[0].err
    assert re.search(reason, losers[0].said), losers[0].err


def test_two_isr_runs_on_one_run(repository):
    race(repository, ("isr-run",), "u/me/race", r"right now|exists")
    check_complete(repository, "u/me/race")


@pytest.fixture
def small_disk(repository) -> Iterator[Path]:
    """A file system with little room where the output goes."""
    place = Path(repository.uri) / "u"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={ROOM}", "tmpfs", str(place)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a small file system")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def test_full_disk(repository, small_disk):
    run = "u/me/full"
    one = ("-d", f"visit={VISIT} AND detector=22")
    full = repository.pipetask("run", *options(run), *one, code=1)
    assert "No space left on device" in full.said
    assert repository.detectors("postISRCCD", run) == repository.detectors("isr_metadata", run) == []
    assert products(repository, run) == {}
    assert "The disk is full" in repository.isr_run(*options(run), *one, code=1).said
    assert products(repository, run) == {}
    subprocess.run(["mount", "-o", "remount,size=1g", str(small_disk)], check=True)
    repository.isr_run(*options(run), "-d", f"visit={VISIT}")
    check_complete(repository, run)


def test_file_size_limit(repository):
    """As a full disk, for those who may not mount: writing ends in the middle of the file."""
    run = "u/me/limit"
    words = ("pipetask", "run", "-b", repository.uri, *options(run), "-d", f"visit={VISIT} AND detector=22")
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM, ROOM))  # noqa: E731
    failed = repository.run(*words, code=1, preexec_fn=limit)
    assert "File too large" in failed.said
    assert repository.detectors("postISRCCD", run) == repository.detectors("isr_metadata", run) == []
    assert repository.detectors("isr_log", run) == [22]
    assert products(repository, run) == {}
    repository.isr_run(*options(run), "-d", f"visit={VISIT}")
    check_complete(repository, run)
