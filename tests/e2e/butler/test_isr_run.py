"""``isr-run -b`` on the same repositories: same pixels as ``pipetask`` and as without a Butler."""

from __future__ import annotations

import io
import re
import shlex

import pytest
from astropy.io import fits

from tests.e2e.butler.commands import DETECTORS, INPUTS, PER_DETECTOR, PER_RUN, VISIT
from tests.e2e.butler.conftest import Run, copy_demo
from tests.e2e.butler.products import PROVENANCE, differing_cards

OWN = re.compile(r"CHECKSUM|LSST BUTLER (ID|QUANTUM|RUN)")
"""Cards in which two runs on the same inputs differ."""


@pytest.fixture(scope="module")
def our_run(repository) -> Run:
    """The visit of `visit_run` once more; with processes where that had none."""
    options = (
        *("-i", INPUTS, "-o", "u/me/ours", "--output-run", "u/me/ours/run", "-d", f"visit={VISIT}"),
        *(("-j", 2) if repository.kind == "server" else ()),
    )
    return Run(repository, "u/me/ours/run", repository.isr_run(*options), options)


def product(run: Run, detector: int) -> bytes:
    with run.repository.butler(run.name) as butler:
        return butler.getURI("postISRCCD", exposure=VISIT, detector=detector).read()


def test_datasets_and_summary(our_run: Run):
    assert our_run.result.out == "u/me/ours/run\n"
    assert "2 done, 0 skipped (done before), 0 failed." in our_run.result.said
    for detector in DETECTORS:
        assert f"INFO (exposure {VISIT} detector {detector}): Divided by flat" in our_run.result.said
    for name in PER_DETECTOR:
        assert our_run.repository.detectors(name, our_run.name) == sorted(DETECTORS)
    with our_run.repository.butler("u/me/ours") as butler:
        for name in PER_RUN:
            assert len(butler.query_datasets(name)) == 1
        for detector in DETECTORS:
            messages = [record.message for record in butler.get("isr_log", exposure=VISIT, detector=detector)]
            assert sum(message.startswith("Divided by flat") for message in messages) == 1


@pytest.mark.parametrize("detector", DETECTORS)
def test_same_bytes_as_file_mode(our_run: Run, file_products, detector):
    differing = differing_cards(product(our_run, detector), file_products[detector].read_bytes())
    assert [card for card in sorted(differing) if not PROVENANCE.fullmatch(card)] == []


@pytest.mark.parametrize("detector", DETECTORS)
def test_same_bytes_as_pipetask(our_run: Run, visit_run: Run, detector):
    ours, theirs = product(our_run, detector), product(visit_run, detector)
    differing = differing_cards(ours, theirs)
    assert [card for card in sorted(differing) if not OWN.fullmatch(card)] == []
    assert "LSST BUTLER RUN" in differing
    assert fits.getheader(io.BytesIO(ours))["LSST BUTLER N_INPUTS"] == 6


@pytest.mark.parametrize("workers", [1, 2])
def test_same_bytes_on_dask(our_run: Run, workers):
    """Whatever the number of workers."""
    name = f"u/me/dask/{workers}"
    options = ("-i", INPUTS, "--output-run", name, "-d", f"visit={VISIT}", "--dask", f"local:{workers}")
    on_dask = Run(our_run.repository, name, our_run.repository.isr_run(*options), options)
    for detector in DETECTORS:
        differing = differing_cards(product(on_dask, detector), product(our_run, detector))
        assert [card for card in sorted(differing) if not OWN.fullmatch(card)] == []


def test_everything_was_done(our_run: Run):
    again = our_run.repository.isr_run(*our_run.options)
    assert "Everything was already done: 2 quanta in RUN u/me/ours/run." in again.said


def tutorial(repository, output: str, directory) -> tuple[str, ...]:
    """The line of 2019, with one word changed."""
    return tuple(
        shlex.split(
            f"isr-run -d 'visit.visit={VISIT} and detector.detector=22' -b {repository.uri}/butler.yaml "
            f"-p lsst.ip.isr -i calib,shared/ci_hsc -o {output} "
            f"run -t isrTask.IsrTask:isr -C isr:{directory}/"
        )
    )


def check_tutorial(repository, output: str, tmp_path) -> None:
    (tmp_path / "isr.py").write_text("config.doBrighterFatter = False\nconfig.doFlat = False\n")
    result = repository.run(*tutorial(repository, output, tmp_path))
    today = (
        f"-d 'visit={VISIT} and detector=22' -b {repository.uri}/butler.yaml -i calib,shared/ci_hsc "
        f"-o {output} -t pipeline.task.IsrTask:isr -C isr:{tmp_path}/isr.py --register-dataset-types"
    )
    assert f"isr-run {today}" in result.said
    assert f"pipetask run {today}" in result.said
    with repository.butler(output) as butler:
        config = butler.get("isr_config")
        exposure = butler.get("postISRCCD", exposure=VISIT, detector=22)
    assert (config.doBrighterFatter, config.doFlat) == (False, False)
    assert exposure.metadata["LSST ISR FLAT APPLIED"] is False
    assert repository.detectors("postISRCCD", output) == [22]


@pytest.mark.xdist_group("butler-server")
def test_line_of_2019_on_s3(server, tmp_path):
    for chain, child in (("calib", "HSC/calib"), ("shared/ci_hsc", "HSC/raw/all")):
        server.run("butler", "collection-chain", server.uri, chain, child)
    check_tutorial(server, "u/me/tutorial", tmp_path)


@pytest.mark.xdist_group("butler-sqlite")
def test_lines_for_the_demonstration(demo, commands, tmp_path):
    """The line that it prints, and that of 2019."""
    repository = copy_demo(demo, tmp_path / "repo", commands)
    (line,) = (line for line in demo.printed.splitlines() if line.startswith("isr-run"))
    repository.run(*shlex.split(line.replace(str(demo.root), repository.uri).replace("$USER", "me")))
    assert repository.detectors("postISRCCD", "u/me/isr") == [22]
    check_tutorial(repository, "u/me/tutorial", tmp_path)
