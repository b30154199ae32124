"""Our configuration as part of a PipelineTask's: one definition for both."""

from __future__ import annotations

import pytest

from isr.config import IsrConfig, config_hash

pipe_base = pytest.importorskip("lsst.pipe.base", reason="needs the extra 'butler'")


class Connections(pipe_base.PipelineTaskConnections, dimensions=("instrument", "exposure", "detector")):
    ccdExposure = pipe_base.connectionTypes.Input(
        name="raw", doc="", storageClass="Exposure", dimensions=("instrument", "exposure", "detector")
    )


class TaskConfig(pipe_base.PipelineTaskConfig, IsrConfig, pipelineConnections=Connections):
    pass


@pytest.fixture
def saved_by_lsst():
    """What LSST's task would save: its class, its module, its connections."""
    config = TaskConfig()
    config.connections.ccdExposure = "raw2"
    config.saveLogOutput = False
    config.overscan.order = 30
    lines = config.saveToString().splitlines()
    lines[:2] = ["import lsst.ip.isr.isrTask", "assert type(config) is lsst.ip.isr.isrTask.IsrTaskConfig, ''"]
    return "\n".join(line for line in lines if not line.startswith("import tests.")), config


def test_a_file_saved_by_lsst_loads_into_the_tasks_configuration(saved_by_lsst):
    text, config = saved_by_lsst
    again = TaskConfig()
    again.loadFromString(text, filename="saved.py")
    again.validate()
    assert (again.connections.ccdExposure, again.saveLogOutput, again.overscan.order) == ("raw2", False, 30)
    config.validate()
    assert config_hash(again) == config_hash(config)


def test_the_hash_is_that_of_file_mode():
    """So that equal hashes are equal reductions, whatever the data came from."""
    config = TaskConfig()
    assert config_hash(config) == config_hash(IsrConfig())
    config.connections.ccdExposure = "raw2"
    assert config_hash(config) == config_hash(IsrConfig())
    config.overscan.order = 30
    assert config_hash(config) != config_hash(IsrConfig())


def test_names_that_overlay_and_override_files_both_stand_in_for():
    """``-C`` under pipetask: the overlay has some modules of obs_subaru before the file is read."""
    from isr.config.standins import CLASSES
    from pipeline.overlay import activate

    activate()
    import lsst.obs.subaru as theirs

    modules = [name.rpartition(".")[0] for name in CLASSES if name.startswith("lsst.obs.subaru.")]
    lines = [f"import {module}\n" for module in modules]
    lines += [f"from {name.rpartition('.')[0]} import {name.rpartition('.')[2]}\n" for name in CLASSES]
    lines += [
        "from lsst.obs.subaru import SubaruAmpOffsetTask\n",
        "from lsst.obs.subaru import HyperSuprimeCam\n",
    ]
    lines += ["lsst.obs.subaru.strayLight.yStrayLight.SubaruStrayLightTask\n", "config.doFlat = False\n"]
    config = TaskConfig()
    config.loadFromString("".join(lines), filename="over.py")
    assert config.doFlat is False
    assert not hasattr(theirs, "SubaruAmpOffsetTask")
    assert theirs.HyperSuprimeCam.getName() == "HSC"


def test_and_into_ours_where_connections_mean_nothing(saved_by_lsst, caplog):
    text, _ = saved_by_lsst
    expected, again = IsrConfig(), IsrConfig()
    expected.overscan.order = 30
    with caplog.at_level("INFO"):
        again.loadFromString(text, filename="saved.py")
    assert config_hash(again) == config_hash(expected)
    assert "connections.ccdExposure = 'raw2': has no effect without a Butler" in caplog.text
