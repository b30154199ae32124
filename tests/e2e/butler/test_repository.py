"""Repositories made with ``isr-repo`` and with upstream's ``butler``."""

from __future__ import annotations

import shlex

import pytest

from tests.e2e.butler.commands import DETECTORS, INPUTS, RAWS, VISIT, Repository

CALIBS_OF_DETECTOR = ("bias", "dark", "defects", "flat")


def test_every_step_says_what_it_did(repository: Repository):
    said = {name: result.said for name, result in repository.built.items()}
    assert "Made the repository" in said["create"]
    assert "2 raws ingested, 0 were there, 0 failed (1 exposures)" in said["ingest-raws"]
    assert "1 visits defined" in said["define-visits"]
    assert "certified in HSC/calib/curated, which is in HSC/calib" in said["write-curated-calibrations"]
    for kind in CALIBS_OF_DETECTOR:
        assert f"{kind}: 2 ingested, 0 were there" in said["ingest-calibs"]
    assert all(not result.err.count("Traceback") for result in repository.built.values())


def test_records_of_instrument_exposure_and_visit(repository: Repository):
    with repository.butler() as butler:
        (instrument,) = butler.query_dimension_records("instrument")
        assert (instrument.name, instrument.class_name) == ("HSC", "lsst.obs.subaru.HyperSuprimeCam")
        assert len(butler.query_dimension_records("detector")) == 112
        (exposure,) = butler.query_dimension_records("exposure")
        assert (exposure.id, exposure.physical_filter, exposure.day_obs) == (VISIT, "HSC-R", 20130617)
        (visit,) = butler.query_dimension_records("visit")
        assert visit.timespan == exposure.timespan
        regions = butler.query_dimension_records("visit_detector_region", visit=VISIT)
        assert len(regions) == 112 or {record.detector for record in regions} >= set(DETECTORS)
        assert all(visit.region.overlaps(record.region) for record in regions)


def test_raws_keep_upstreams_names(repository: Repository):
    with repository.butler() as butler:
        refs = butler.query_datasets("raw", "HSC/raw/all")
        assert {ref.dataId["detector"] for ref in refs} == set(DETECTORS)
        for ref in refs:
            raw = butler.get(ref)
            assert raw.detector.id == ref.dataId["detector"]
            if repository.kind == "sqlite":  # "direct" leaves files where they are
                assert butler.getURI(ref).ospath == str(repository.data / "raw" / RAWS[raw.detector.id])
            else:
                assert str(butler.getURI(ref)).startswith(repository.uri)


def test_the_chain_of_inputs(repository: Repository):
    with repository.butler() as butler:
        chain = butler.collections.get_info(INPUTS).children
        assert chain == ("HSC/raw/all", "HSC/calib")
        assert butler.collections.get_info("HSC/calib").children == (
            "HSC/calib/ingested",
            "HSC/calib/curated",
        )


def test_plain_queries(repository: Repository):
    """Upstream's ``butler`` finds the datasets, with their place."""
    where = f"visit = {VISIT} AND detector = 22"
    found = repository.run(
        "butler", "query-datasets", repository.uri, "raw", "--collections", INPUTS, "--where",
        f"instrument = 'HSC' AND {where}", "--show-uri",
    )  # fmt: skip
    lines = [line for line in found.out.splitlines() if str(VISIT) in line]
    assert len(lines) == 1
    assert (RAWS[22] if repository.kind == "sqlite" else "raw_HSC_HSC-R") in lines[0]


def test_certify_with_upstreams_command(repository: Repository):
    """A second bias, valid for one night only, in a collection of its own."""
    run = next(ref.run for ref in query(repository, "bias"))
    repository.run(
        "butler", "certify-calibrations", repository.uri, run, "HSC/calib/mine", "bias",
        "--begin-date", "2013-06-17T00:00:00", "--end-date", "2013-06-18T00:00:00",
    )  # fmt: skip
    with repository.butler("HSC/calib/mine") as butler:
        assert butler.find_dataset("bias", detector=22, timespan=exposure_timespan(butler)) is not None
        (association, *_) = butler.registry.queryDatasetAssociations("bias", collections="HSC/calib/mine")
        assert association.timespan.begin.isot.startswith("2013-06-17T00:00:00.0")


def query(repository: Repository, kind: str):
    with repository.butler() as butler:
        return list(butler.registry.queryDatasets(kind, collections="HSC/calib"))


def exposure_timespan(butler):
    (record,) = butler.query_dimension_records("exposure", exposure=VISIT)
    return record.timespan


@pytest.mark.xdist_group("butler-sqlite")
def test_what_the_demonstration_prints_works(demo, commands, tmp_path):
    """The line for Rubin's own command, typed as it stands."""
    from tests.e2e.butler.conftest import copy_demo

    repository = copy_demo(demo, tmp_path / "repo", commands)
    (line,) = (line for line in demo.printed.splitlines() if line.startswith("pipetask run"))
    words = shlex.split(line.replace(str(demo.root), repository.uri).replace("$USER", "me"))
    repository.run(*words)
    with repository.butler("u/me/isr") as butler:
        assert butler.get("postISRCCD", exposure=VISIT, detector=22).detector.id == 22
