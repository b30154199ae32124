"""Hyper Suprime-Cam in registries and configurations."""

from __future__ import annotations

import subprocess
import sys

import pytest
from lsst.daf.butler.registry import ConflictingDefinitionError
from lsst.pex.config import Config, Field
from lsst.pipe.base import Instrument

from isr.config import IsrConfig, config_hash
from isr.hsc.config import hsc_config
from pipeline.formatters import RawFormatter
from pipeline.instrument import HyperSuprimeCam, raw_formatter_name


def test_records_are_those_of_obs_subaru(butler):
    (instrument,) = butler.query_dimension_records("instrument")
    assert instrument.toDict() == {
        "name": "HSC",
        "visit_max": 21474800,
        "exposure_max": 21474800,
        "detector_max": 200,
        "visit_system": 0,
        "class_name": "lsst.obs.subaru.HyperSuprimeCam",
    }
    detectors = butler.query_dimension_records("detector", instrument="HSC", order_by="detector.id")
    assert [d.id for d in detectors] == list(range(112))
    assert [d.id for d in detectors if d.purpose != "SCIENCE"] == list(range(104, 112))
    assert detectors[110].purpose == "FOCUS"
    assert detectors[22].toDict() == {
        "instrument": "HSC",
        "id": 22,
        "full_name": "0_27",
        "name_in_raft": "27",
        "raft": "0",
        "purpose": "SCIENCE",
    }
    filters = butler.query_dimension_records("physical_filter", instrument="HSC")
    bands = {record.name: record.band for record in filters}
    assert len(bands) == 32
    assert {name: bands[name] for name in ("HSC-R2", "NB0387", "empty", "EB-GRI", "unknown")} == {
        "HSC-R2": "r",
        "NB0387": "N387",
        "empty": "white",
        "EB-GRI": "gri",
        "unknown": "unknown",
    }


def test_lssts_name_finds_our_class(butler):
    instrument = Instrument.fromName("HSC", butler.registry)
    assert type(instrument) is HyperSuprimeCam
    assert instrument.makeDefaultRawIngestRunName() == "HSC/raw/all"
    assert Instrument.from_string("lsst.obs.subaru.HyperSuprimeCam").getName() == "HSC"


def test_registering_again_changes_nothing_and_a_conflict_is_an_error(butler):
    instrument = HyperSuprimeCam()
    instrument.register(butler.registry)
    record = {"instrument": "HSC", "name": "HSC-G", "band": "x"}
    butler.registry.syncDimensionData("physical_filter", record, update=True)
    with pytest.raises(ConflictingDefinitionError):
        instrument.register(butler.registry)
    instrument.register(butler.registry, update=True)
    (green,) = butler.query_dimension_records("physical_filter", instrument="HSC", physical_filter="HSC-G")
    assert green.band == "g"


def test_raw_formatters_have_lssts_names():
    assert raw_formatter_name(22) == "lsst.obs.subaru.rawFormatter.HyperSuprimeCamRawFormatter"
    corner = "lsst.obs.subaru.rawFormatter.HyperSuprimeCamCornerRawFormatter"
    assert [n for n in range(112) if raw_formatter_name(n) == corner] == [100, 101, 102, 103]
    assert HyperSuprimeCam().getRawFormatter({"detector": 100}) is RawFormatter


def test_overrides_are_hscs_configuration():
    config = IsrConfig()
    HyperSuprimeCam().applyConfigOverrides("isr", config)
    assert config_hash(config) == config_hash(hsc_config()) != config_hash(IsrConfig())


def test_other_tasks_are_left_alone():
    class OtherConfig(Config):
        doCrosstalk = Field[bool]("Something else.", dtype=bool, default=False)

    other, isr = OtherConfig(), IsrConfig()
    HyperSuprimeCam().applyConfigOverrides("isr", other)
    HyperSuprimeCam().applyConfigOverrides("characterizeImage", isr)
    assert not other.doCrosstalk
    assert config_hash(isr) == config_hash(IsrConfig())


def test_saved_configuration_can_be_loaded(tmp_path):
    config = IsrConfig()
    HyperSuprimeCam().applyConfigOverrides("isr", config)
    config.save(str(tmp_path / "isr.py"))
    loaded = IsrConfig()
    loaded.load(str(tmp_path / "isr.py"))
    assert config_hash(loaded) == config_hash(config)


def test_name_for_pipetask(tmp_path):
    """pipetask imports the instrument before our task: it needs our name, as the documentation says."""
    pipeline = tmp_path / "isr.yaml"
    for name, code in (("pipeline.instrument", 0), ("lsst.obs.subaru", 1)):
        lines = (
            "description: ISR",
            f"instrument: {name}.HyperSuprimeCam",
            "tasks:",
            "  isr: pipeline.task.IsrTask",
        )
        pipeline.write_text("\n".join(lines))
        script = "from lsst.ctrl.mpexec.cli.pipetask import main; main()"
        done = subprocess.run(
            [sys.executable, "-c", script, "build", "-p", str(pipeline), "--show", "tasks"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stderr
