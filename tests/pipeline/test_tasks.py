"""Tasks that look at corrected exposures: alone, and in a pipeline on a repository."""

from __future__ import annotations

import gc
import json
import pickle
import weakref
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("lsst.ctrl.mpexec", reason="needs the extra 'butler'")

from lsst.daf.butler import Butler, DatasetType
from lsst.pipe.base import Pipeline, RepeatableQuantumError

from isr.errors import FitsFileError, ProcessingError
from isr.qa import measure
from pipeline.tasks.detector_picture import DetectorPictureTask
from pipeline.tasks.detector_qa import DetectorQaTask
from tests.builders import exposure, two_amplifiers
from tests.pipeline.butler_mode_repository import EXPOSURES, commands, filled_repository

__all__ = ["commands", "filled_repository"]  # fixtures

VISIT_PIPELINE = "resource://pipeline/pipelines/visit.yaml"
TASKS = {"detectorQa": DetectorQaTask, "detectorPicture": DetectorPictureTask}
PNG = b"\x89PNG\r\n\x1a\n"


class FakeContext:
    """Gives an exposure, keeps what is put."""

    def __init__(self, given) -> None:
        self.given, self.put_outputs, self.figure = given, None, None

    def get(self, refs):
        if isinstance(self.given, Exception):
            raise self.given
        return {"exposure": self.given}

    def put(self, outputs, refs) -> None:
        self.put_outputs = list(outputs.getDict())
        if "picture" in self.put_outputs:
            self.figure = weakref.ref(outputs.picture)


@pytest.fixture(params=TASKS)
def task(request):
    return TASKS[request.param]()


def run_quantum(task, given):
    context = FakeContext(given)
    task.runQuantum(context, SimpleNamespace(), SimpleNamespace())
    return context


def test_names_and_datasets(task):
    label = task.getName()
    connections = task.config.connections.ConnectionsClass(config=task.config)
    assert TASKS[label] is type(task)
    assert connections.exposure.name == "postISRCCD"
    (output,) = (getattr(connections, name) for name in connections.outputs)
    assert output.name == label
    assert connections.dimensions == {"instrument", "exposure", "detector"}


def test_pickled(task):
    task.config.saveLogOutput = False
    again = pickle.loads(pickle.dumps(task))
    assert type(again) is type(task)
    assert again.config == task.config
    assert pickle.loads(pickle.dumps(type(task).ConfigClass())) == type(task).ConfigClass()


@pytest.mark.parametrize("error", [FitsFileError("x.fits: cut short"), ProcessingError("no such plane")])
def test_errors_of_data_are_not_tried_again(task, error):
    with pytest.raises(RepeatableQuantumError, match=str(error)):
        run_quantum(task, error)


def test_one_line_is_logged(task, caplog):
    with caplog.at_level("INFO"):
        context = run_quantum(task, exposure())
    assert len(context.put_outputs) == 1
    (record,) = [record for record in caplog.records if record.name.endswith(task.getName())]
    assert "ky " in record.getMessage()
    assert " of the expected" in record.getMessage()


def test_metrics_are_those_of_the_core_with_the_configuration():
    made = exposure()
    made.mask[2:5, 2:5] |= made.planes.bitmask("SAT")
    made.mask[8:, :] |= made.planes.bitmask("VIGNETTED")
    task = DetectorQaTask()
    assert task.run(made).metrics == measure(made)
    assert task.run(made).metrics["saturated_stars"] == 1
    task.config.badPlanes.remove("VIGNETTED")
    task.config.minSaturated = 10
    metrics = task.run(made).metrics
    assert metrics["sky_pixels"] == 480 - 9
    assert metrics["saturated_stars"] == 0


def test_nothing_to_measure_is_no_error(task, caplog):
    made = exposure()
    made.mask[...] = made.planes.bitmask("NO_DATA")
    with caplog.at_level("INFO"):
        run_quantum(task, made)
    assert "unknown" in caplog.text or "no sky" in caplog.text


@pytest.mark.parametrize(("name", "value"), [("minSaturated", 0), ("pixels", 0)])
def test_values_without_sense_are_refused(name, value):
    config = next(task.ConfigClass() for task in TASKS.values() if name in task.ConfigClass._fields)
    with pytest.raises(ValueError, match=name):
        setattr(config, name, value)


def test_size_of_the_picture_is_configured():
    small, big = DetectorPictureTask(), DetectorPictureTask()
    small.config.pixels = 100
    made = exposure()
    sizes = [task.run(made).picture.get_size_inches() for task in (small, big)]
    assert all(sizes[1] > sizes[0])


def test_figures_do_not_pile_up():
    """Each is a net of cycles, with images in it."""
    task = DetectorPictureTask()
    run_quantum(task, exposure())
    gc.disable()
    try:
        assert run_quantum(task, exposure()).figure() is None
    finally:
        gc.enable()


def test_pipeline_of_a_visit():
    pipeline = Pipeline.from_uri(VISIT_PIPELINE)
    graph = pipeline.to_graph()
    assert list(graph.tasks) == ["isr", "detectorPicture", "detectorQa"]
    assert {edge.parent_dataset_type_name for edge in graph.tasks["detectorQa"].inputs.values()} == {
        "postISRCCD"
    }
    assert pipeline.getInstrument() == "pipeline.instrument.HyperSuprimeCam"


def put_exposures(root: Path) -> None:
    """Put small exposures as if ISR had made them; the last one is wholly masked."""
    with Butler.from_config(root, writeable=True, run="u/test/isr") as butler:
        dimensions = butler.dimensions.conform(("instrument", "exposure", "detector"))
        butler.registry.registerDatasetType(DatasetType("postISRCCD", dimensions, "Exposure"))
        for visit in EXPOSURES:
            made = exposure(two_amplifiers(id=22, name="0_27"), seed=visit)
            made = replace(made, visit_info=replace(made.visit_info, visit=visit))
            made.metadata["LSST ISR GAIN L"] = float("nan")
            if visit == EXPOSURES[-1]:
                made.mask[...] = made.planes.bitmask("NO_DATA")
            butler.put(made, "postISRCCD", instrument="HSC", exposure=visit, detector=22)


def test_pipeline_on_a_repository(commands):
    put_exposures(commands.root)
    pipeline = f"{VISIT_PIPELINE}#detectorQa,detectorPicture"
    options = ("-p", pipeline, "--no-versions", "-o", "u/test/out")
    assert commands(*options, inputs="u/test/isr,HSC/raw/all") == 0
    assert "6 done, 0 skipped (done before), 0 failed." in commands.said
    with Butler.from_config(commands.root, collections="u/test/out") as butler:
        for visit in EXPOSURES:
            data_id = {"instrument": "HSC", "exposure": visit, "detector": 22}
            metrics = butler.get("detectorQa", data_id)
            assert metrics == measure(butler.get("postISRCCD", data_id))
            assert metrics["visit"] == visit
            assert (metrics["sky_level"] is None) == (visit == EXPOSURES[-1])
            stored = butler.getURI("detectorQa", data_id)
            assert stored.getExtension() == ".json"
            json.loads(stored.read(), parse_constant=pytest.fail)
            picture = butler.getURI("detectorPicture", data_id)
            assert picture.getExtension() == ".png"
            assert picture.read().startswith(PNG)
