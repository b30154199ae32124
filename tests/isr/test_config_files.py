"""Override files written for ``lsst.ip.isr``, and files that LSST's tasks have saved."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from isr.config import IsrConfig, config_hash
from isr.config.standins import CLASSES, lsst_modules
from isr.errors import ConfigError
from isr.hsc.config import hsc_config

OF_HSC = """
import os.path

from lsst.obs.subaru.strayLight import SubaruStrayLightTask

config.fallbackFilterName = "HSC-R"
config.doSuspect = True
config.overscan.fitType = "AKIMA_SPLINE"
config.overscan.order = 30
config.assembleCcd.keysToRemove = ["PC001001", "PC001002", "PC002001", "PC002002"]
config.doCrosstalk = True
config.crosstalk.crosstalkBackgroundMethod = "DETECTOR"
config.crosstalk.useConfigCoefficients = True
config.crosstalk.crosstalkValues = [
    0.0e-6, -124.0e-6, -171.0e-6, -157.0e-6,
    -125.0e-6, 0.0e-6, -134.0e-6, -151.0e-6,
    -149.0e-6, -132.0e-6, 0.0e-6, -137.0e-6,
    -156.0e-6, -157.0e-6, -153.0e-6, 0.0e-6,
]
config.crosstalk.crosstalkShape = [4, 4]
config.doBrighterFatter = True
config.brighterFatterMaskGrowSize = 1
config.doStrayLight = True
config.strayLight.retarget(SubaruStrayLightTask)
config.strayLight.doRotatorAngleCorrection = True
config.strayLight.filters = ["HSC-Y"]
config.doFringe = True
config.fringe.filters = ["HSC-Y", "NB0921", "NB0926", "NB0973", "NB1010"]
config.fringe.stats.badMaskPlanes = ["SAT", "NO_DATA", "SUSPECT", "BAD"]
config.fringe.stats.stat = 32
config.doAmpOffset = True
config.ampOffset.doApplyAmpOffset = True
config.ampOffset.detection.thresholdType = "stdev"
config.doMeasureBackground = True
config.doVignette = True
config.doAttachTransmissionCurve = True
config.load(os.path.join(os.path.dirname(__file__), "optics.py"))
"""

OPTICS = """
scale = 0.015  # mm per pixel
config.vignette.xCenter = -100 * scale
config.vignette.yCenter = 100 * scale
config.vignette.radius = 17500 * scale
config.vignette.doWriteVignettePolygon = True
config.fluxMag0T1 = {
    "HSC-G": 398107170553.49854, "HSC-R": 398107170553.49854, "HSC-R2": 398107170553.49854,
    "HSC-I": 275422870333.81744, "HSC-I2": 275422870333.81744, "HSC-Z": 120226443461.74132,
    "HSC-Y": 91201083935.59116, "NB0515": 20892961308.54041, "NB0816": 15848931924.611174,
    "NB0921": 19054607179.632523,
}
"""

SAVED = """import lsst.ip.isr.isrTask
assert type(config) is lsst.ip.isr.isrTask.IsrTaskConfig, f'config is of type {type(config)}'

import lsst.ip.isr.fringe
import lsst.meas.algorithms.detection
import lsst.obs.subaru.strayLight.waveletCompression
import lsst.obs.subaru.strayLight.yStrayLight
# Flag to enable/disable saving of log output for a task, enabled by default.
config.saveLogOutput=True

config.overscan.fitType='MEDIAN_PER_ROW'
config.saturation=float('nan')
config.strayLight.retarget(target=lsst.obs.subaru.strayLight.yStrayLight.SubaruStrayLightTask, \
ConfigClass=lsst.ip.isr.straylight.StrayLightConfig)
config.ampOffset.detection.tempLocalBackground.binSize=64
config.connections.ccdExposure='raw'
"""


@pytest.fixture
def load(tmp_path):
    def load(text: str, config: IsrConfig | None = None) -> IsrConfig:
        config = config or IsrConfig()
        (tmp_path / "over.py").write_text(text)
        config.load(str(tmp_path / "over.py"))
        return config

    return load


def test_a_file_like_obs_subarus_gives_our_configuration_of_hsc(load, tmp_path):
    (tmp_path / "optics.py").write_text(OPTICS)
    assert config_hash(load(OF_HSC)) == config_hash(hsc_config())


def test_a_saved_file_loads(load):
    config = load(SAVED)
    assert config.overscan.fitType == "MEDIAN_PER_ROW"
    changed = IsrConfig()
    changed.overscan.fitType = "MEDIAN_PER_ROW"
    assert config_hash(config) == config_hash(changed)


def test_a_saved_file_of_another_task_is_refused(load):
    with pytest.raises(AssertionError):
        load(SAVED.replace("type(config) is", "type(config) is not"))


def test_a_saved_file_loads_into_a_subclass(load):
    class IsrTaskConfig(IsrConfig):
        pass

    assert load(SAVED, IsrTaskConfig()).overscan.fitType == "MEDIAN_PER_ROW"
    assert load(SAVED).overscan.fitType == "MEDIAN_PER_ROW"


def test_files_of_a_part(load, tmp_path):
    (tmp_path / "fringe.py").write_text(
        "import lsst.ip.isr.fringe\nassert type(config)==lsst.ip.isr.fringe.FringeConfig\nconfig.num = 5\n"
    )
    assert load(f"config.fringe.load({str(tmp_path / 'fringe.py')!r})").fringe.num == 5


def test_our_own_saved_file_is_read_back(tmp_path, load):
    config = hsc_config()
    load("import lsst.ip.isr.fringe\nfrom lsst.obs.subaru.strayLight import SubaruStrayLightTask\n", config)
    config.save(str(tmp_path / "saved.py"))
    assert "import lsst.ip" not in (tmp_path / "saved.py").read_text()
    again = IsrConfig()
    again.load(str(tmp_path / "saved.py"))
    assert config_hash(again) == config_hash(config)


ONLY_WHILE_LOADING = """
import sys
import lsst
from isr.config import IsrConfig
from isr.config.standins import MODULES
from isr.errors import ConfigError

def load(text):
    IsrConfig().loadFromString(text, filename="over.py")

def check():
    assert not set(sys.modules) & MODULES
    assert sys.meta_path == finders
    assert not hasattr(lsst, "ip") and not hasattr(lsst, "obs")

finders = list(sys.meta_path)
load("from lsst.ip.isr import IsrTask\\nimport lsst.obs.subaru.strayLight.rotatorAngle\\n")
check()
try:
    import lsst.ip.isr
except ImportError:
    pass
else:
    raise AssertionError("lsst.ip.isr is still there")
try:
    load("import lsst.ip.isr\\nimport lsst.nothing\\n")
except ConfigError as error:
    print(error)
check()
"""


def test_lsst_names_are_there_only_while_a_file_is_loaded():
    """In a process of its own: the Butler's overlay has some of the names for good."""
    done = subprocess.run(
        [sys.executable, "-c", ONLY_WHILE_LOADING], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert "No module named 'lsst.nothing'" in done.stdout


def test_all_listed_names_can_be_imported(load):
    lines = []
    for name in CLASSES:
        module, _, short = name.rpartition(".")
        lines.append(f"from {module} import {short}")
        lines.append(f"from {module.rpartition('.')[0]} import {short}")
    load("\n".join(lines) + "\nassert IsrTaskConfig is type(config)\nassert FringeConfig().num == 30000\n")


def test_files_loaded_by_several_threads(load, tmp_path):
    (tmp_path / "over.py").write_text(SAVED)
    errors = []

    def run():
        try:
            for _ in range(5):
                IsrConfig().load(str(tmp_path / "over.py"))
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert "lsst.ip" not in sys.modules


@pytest.mark.parametrize(
    ("text", "line", "name"),
    [
        ("from lsst.obs.lsst import Anything\n", 1, "lsst.obs.lsst"),
        ("config.doFlat = False\nfrom lsst.ip.isr import Anything\n", 2, "Anything"),
        ("\n\nimport not_a_package_of_ours.x\n", 3, "not_a_package_of_ours"),
        ("def f():\n    import lsst.meas.base\nf()\n", 3, "lsst.meas.base"),
    ],
)
def test_other_imports_are_refused_with_name_and_line(load, text, line, name):
    with pytest.raises(ConfigError, match=rf"over\.py, line {line}: .*{name}.*docs/configuration.md"):
        load(text)
    with pytest.raises(ConfigError, match=rf"^given\.py, line {line}: "):
        IsrConfig().loadFromString(text, filename="given.py")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "from lsst.obs.subaru.ampOffset import SubaruAmpOffsetTask as T\nconfig.ampOffset.retarget(T)",
            r"^ampOffset: cannot be retargeted to lsst\.obs\.subaru\.ampOffset\.SubaruAmpOffsetTask",
        ),
        (
            "from lsst.ip.isr import StrayLightTask\nconfig.strayLight.retarget(StrayLightTask)",
            r"^strayLight: cannot be retargeted to lsst\.ip\.isr\.straylight\.StrayLightTask.* has "
            r"lsst\.obs\.subaru\.strayLight\.yStrayLight\.SubaruStrayLightTask only",
        ),
        (
            "config.ampOffset.detection.retarget(int)",
            r"^ampOffset\.detection: cannot be retargeted to builtins\.int",
        ),
        ("config.fringe.retarget('FringeTask')", r"^fringe: cannot be retargeted to .*FringeTask"),
        ("config.overscanBiasJump = True", r"^overscanBiasJump = True: LSST removed this field; only False"),
        ("config.overscanMaxDev = 5.0", r"^overscanMaxDev = 5.0: LSST removed this field; only 1000.0"),
    ],
)
def test_what_the_engine_does_not_have_is_refused(load, text, message):
    with pytest.raises(ConfigError, match=message):
        load(text)


def test_fields_that_lsst_removed_are_not_stored(load):
    config = load("config.overscanBiasJump = False\nconfig.overscanBiasJumpKeyword = 'NO_SUCH_KEY'\n")
    assert config_hash(config) == config_hash(IsrConfig())
    with pytest.raises(AttributeError, match="overscanBiasJump"):
        load("print(config.overscanBiasJump)")


def test_an_import_error_outside_of_any_file_is_an_error_too():
    with pytest.raises(ConfigError, match=r"test_config_files\.py, line"), lsst_modules(IsrConfig):
        import lsst.nothing_like_this  # noqa: F401
