"""Upstream's ``pipetask`` reduces a visit; what it leaves is looked at."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import numpy as np
import pytest
from astropy.io import fits

from tests.e2e.butler.commands import DETECTORS, INPUTS, PER_DETECTOR, PER_RUN, QUICK, TASK, VISIT
from tests.e2e.butler.conftest import PIPELINE, Run
from tests.e2e.butler.products import PROVENANCE, differing_cards

FIXED = f"instrument='HSC' AND exposure={VISIT} AND detector=22"


def content(butler, ref) -> bytes:
    return butler.getURI(ref).read()


class TestVisit:
    """``pipetask run -p``: all detectors of the visit."""

    def test_datasets(self, visit_run: Run):
        with visit_run.repository.butler("u/me/visit") as butler:
            for name in PER_DETECTOR:
                refs = butler.query_datasets(name)
                assert {ref.dataId["detector"] for ref in refs} == set(DETECTORS), name
                assert {ref.run for ref in refs} == {visit_run.name}
            for name in PER_RUN:
                assert len(butler.query_datasets(name)) == 1, name
            assert butler.get_dataset_type("postISRCCD").storageClass_name == "Exposure"

    def test_terminal(self, visit_run: Run):
        said = visit_run.result.err
        assert "Executed 2 quanta successfully, 0 failed" in said
        for line in ("isr.steps.bias INFO: Bias", "isr.steps.flat INFO: Divided by flat"):
            assert said.count(line) == 2
        assert "Traceback" not in said

    def test_logs(self, visit_run: Run):
        """Each log holds the lines of its own detector, and all of them."""
        with visit_run.repository.butler("u/me/visit") as butler:
            (exposure,) = butler.query_dimension_records("exposure")
            for detector in DETECTORS:
                records = list(butler.get("isr_log", exposure=VISIT, detector=detector))
                ours = [record for record in records if record.name.startswith("isr.steps.")]
                assert len(ours) > 20
                assert {record.levelname for record in ours} == {"INFO"}
                (bias,) = (record.message for record in ours if record.name == "isr.steps.bias")
                used = butler.find_dataset(
                    "bias", detector=detector, collections=INPUTS, timespan=exposure.timespan
                )
                assert str(butler.getURI(used)) in bias
                assert any(record.name.startswith("lsst.") for record in records)

    def test_metadata(self, visit_run: Run):
        with visit_run.repository.butler("u/me/visit") as butler:
            metadata = butler.get("isr_metadata", exposure=VISIT, detector=22)
        assert {"isr", "quantum"} <= set(metadata)
        assert any("LSST ISR" in name or "OVERSCAN" in name for name in metadata["isr"]), list(
            metadata["isr"]
        )

    def test_configuration_and_versions(self, visit_run: Run):
        from pipeline.task import IsrTaskConfig

        expected = IsrTaskConfig()
        expected.validate()  # completes it
        with visit_run.repository.butler("u/me/visit") as butler:
            differences: list[str] = []
            butler.get("isr_config").compare(expected, shortcut=False, output=differences.append)
            assert differences == []
            assert butler.get("packages")["numpy"] == np.__version__

    @pytest.mark.parametrize("detector", DETECTORS)
    def test_same_bytes_as_file_mode(self, visit_run: Run, file_products, detector):
        with visit_run.repository.butler("u/me/visit") as butler:
            (ref,) = butler.query_datasets("postISRCCD", where=f"detector={detector}")
            ours = content(butler, ref)
        differing = differing_cards(ours, file_products[detector].read_bytes())
        assert "HSC ISR INPUT BIAS" in differing  # else the comparison compares nothing
        assert [card for card in sorted(differing) if not PROVENANCE.fullmatch(card)] == []

    def test_provenance(self, visit_run: Run):
        """The header names the dataset itself and all its inputs by their ids."""
        with visit_run.repository.butler("u/me/visit") as butler:
            (ref,) = butler.query_datasets("postISRCCD", where="detector=22")
            with butler.getURI(ref).as_local() as local:
                header = fits.getheader(local.ospath)
            assert header["LSST BUTLER ID"] == str(ref.id)
            assert header["LSST BUTLER RUN"] == ref.run
            inputs = {
                header[f"LSST BUTLER INPUT {number} DATASETTYPE"]: header[f"LSST BUTLER INPUT {number} ID"]
                for number in range(header["LSST BUTLER N_INPUTS"])
            }
            assert set(inputs) >= {"raw", "bias", "dark", "flat", "defects", "bfKernel"}
            raw = butler.find_dataset("raw", exposure=VISIT, detector=22, collections=INPUTS)
            assert inputs["raw"] == str(raw.id)
            for kind in ("bias", "dark", "flat", "defects", "bfKernel"):
                assert header[f"LSST CALIB UUID {kind.upper()}"] == inputs[kind]
            for kind in ("raw", "bias", "dark", "flat", "defects"):
                used = butler.get_dataset(UUID(inputs[kind]))
                assert header[f"HSC ISR INPUT {kind.upper()}"] == str(butler.getURI(used))
            kernel = butler.get_dataset(UUID(inputs["bfKernel"]))
            assert header["HSC ISR INPUT BFKERNEL"] == f"bfKernel of {kernel.run}"


@pytest.fixture(scope="module")
def task_run(repository, tmp_path_factory) -> Run:
    """One detector with ``-t``, ``-C`` and ``-c``; the query does not name the instrument."""
    file = tmp_path_factory.mktemp("config") / "mine.py"
    lines = [f"config.{name} = {value!r}\n" for name, value in (QUICK | {"doDark": False}).items()]
    file.write_text("".join(lines))
    options = (
        *("-i", INPUTS, "-o", "u/me/one", "--output-run", "u/me/one/run", "--register-dataset-types"),
        *("-t", TASK, "-C", f"isr:{file}", "-c", "isr:doFlat=False", "-c", "isr:doDark=True"),
    )
    query = ("-d", f"visit={VISIT} AND detector=22")
    return Run(repository, "u/me/one/run", repository.pipetask("run", *options, *query), options)


class TestTask:
    """``pipetask run -t``, and what can be done with its output."""

    def test_configuration_is_used(self, task_run: Run):
        with task_run.repository.butler("u/me/one") as butler:
            (ref,) = butler.query_datasets("postISRCCD")
            config = butler.get("isr_config")
            metadata = butler.get("postISRCCD.metadata", exposure=VISIT, detector=22)
        assert ref.dataId["detector"] == 22
        assert (config.doFlat, config.doDark, config.overscan.fitType) == (False, True, "MEAN")
        applied = [metadata[f"LSST ISR {step} APPLIED"] for step in ("BIAS", "DARK", "FLAT")]
        assert applied == [True, True, False]
        assert "isr.steps.flat" not in task_run.result.err

    def test_life_of_a_run(self, task_run: Run, tmp_path: Path):
        """Extended by a detector, retrieved, pruned, removed."""
        repository = task_run.repository
        with repository.butler("u/me/one") as butler:
            (before,) = butler.query_datasets("postISRCCD")
            written = content(butler, before)
        more = ("--extend-run", "--clobber-outputs", "-d", f"visit={VISIT}")
        extended = repository.pipetask("run", *task_run.options, *more)
        assert "Executed 1 quanta successfully, 0 failed and 0 remain out of total 1" in extended.said
        with repository.butler("u/me/one") as butler:
            after = {ref.dataId["detector"]: ref for ref in butler.query_datasets("postISRCCD")}
            assert set(after) == set(DETECTORS)
            assert after[22].id == before.id
            assert content(butler, after[22]) == written  # the id of its quantum, too

        where = ("--where", "instrument='HSC' AND detector=100")
        repository.run(
            "butler", "retrieve-artifacts", repository.uri, f"{tmp_path}/got/", "-d", "postISRCCD",
            "--collections", "u/me/one", *where,
        )  # fmt: skip
        (got,) = (tmp_path / "got").rglob("*.fits")
        with repository.butler("u/me/one") as butler:
            assert got.read_bytes() == content(butler, after[100])
            place = butler.getURI(after[100])
        repository.run(
            "butler", "prune-datasets", repository.uri, "u/me/one/run", "--purge", "u/me/one/run",
            "--datasets", "postISRCCD", *where, "--no-confirm",
        )  # fmt: skip
        with repository.butler("u/me/one") as butler:
            assert [ref.dataId["detector"] for ref in butler.query_datasets("postISRCCD")] == [22]
            assert not place.exists()
            remaining = butler.getURI(after[22])
        repository.run(
            "butler", "remove-runs", repository.uri, "u/me/one/run", "--no-confirm", "--force",
        )  # fmt: skip
        with repository.environment():
            assert not remaining.exists()
        assert not repository.has_collection("u/me/one/run")


class TestSavedGraph:
    """``pipetask qgraph``, then each part of the work by a command of its own, without the registry."""

    @pytest.fixture(scope="class")
    @classmethod
    def graph(cls, repository, tmp_path_factory) -> Path:
        graph = tmp_path_factory.mktemp("graph") / "isr.qg"
        quick = [word for name, value in QUICK.items() for word in ("-c", f"isr:{name}={value}")]
        result = repository.pipetask(
            "qgraph", "-i", INPUTS, "-o", "u/me/graph", "--output-run", "u/me/graph/run", "-p", PIPELINE,
            *quick, "-d", FIXED, "--save-qgraph", graph,
            "--qgraph-datastore-records",
        )  # fmt: skip
        assert "QuantumGraph contains 1 quantum for 1 task" in result.said
        return graph

    def test_run_from_graph(self, repository, graph, tmp_path):
        repository.run("pipetask", "pre-exec-init-qbb", repository.uri, graph)
        executed = repository.run("pipetask", "run-qbb", repository.uri, graph)
        assert "Executed 1 quanta successfully" in executed.said
        assert "isr.steps.bias INFO: Bias" in executed.err
        assert not repository.has_collection("u/me/graph/run")  # nobody told the registry
        repository.run(
            "butler", "transfer-from-graph", graph, repository.uri, "--register-dataset-types",
            "--update-output-chain",
        )  # fmt: skip
        with repository.butler("u/me/graph") as butler:
            counts = {name: len(butler.query_datasets(name)) for name in (*PER_DETECTOR, *PER_RUN)}
            exposure = butler.get("postISRCCD", exposure=VISIT, detector=22)
        assert counts == dict.fromkeys((*PER_DETECTOR, *PER_RUN), 1)
        assert exposure.detector.id == 22
        report = repository.run(
            "pipetask", "report", repository.uri, graph, "--full-output-filename", tmp_path / "report.json",
            "--force-v2", "--collections", "u/me/graph", "--where", FIXED,
        )  # fmt: skip
        line = next(line for line in report.out.splitlines() if line.split()[:1] == ["isr"])
        assert line.split()[1:3] == ["0", "1"], report.out  # unknown, successful
        assert (tmp_path / "report.json").stat().st_size > 0


def test_show(repository):
    result = repository.pipetask(
        "run", "-i", INPUTS, "-o", "u/me/shown", "-p", PIPELINE, "-d", FIXED, "-c", "isr:doFlat=False",
        "--show", "config=isr::doFlat", "--show", "pipeline-graph", "--show", "uri",
    )  # fmt: skip
    assert "config.doFlat=False" in result.out
    for name in ("raw", "bias", "postISRCCD"):
        assert f"{name}: {{" in result.out, result.out
    (line,) = (line for line in result.out.splitlines() if "postISRCCD_HSC" in line)
    assert "0_27" in line
    assert not repository.has_collection("u/me/shown")
