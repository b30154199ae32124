"""Options ``-c NAME=VALUE`` and ``-C FILE`` of the command line."""

from __future__ import annotations

import math

import pytest

from isr.config import config_hash
from isr.errors import ConfigError
from isr.hsc.config import hsc_config
from pipeline.cli.config_options import build_config


def test_without_options_it_is_hscs():
    expected = hsc_config()
    expected.validate()
    assert config_hash(build_config()) == config_hash(expected)


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ("doFlat=False", False),
        ("isr:doFlat=False", False),
        (" doFlat = False ", False),
        ("overscan.order=7", 7),
        ("overscan.numSigmaClip=2", 2.0),
        ("overscan.fitType=MEDIAN", "MEDIAN"),
        ("overscan.fitType='MEDIAN'", "MEDIAN"),
        ("overscan.maskPlanes=BAD,SAT,CR", ["BAD", "SAT", "CR"]),
        ("overscan.maskPlanes=['BAD', 'CR']", ["BAD", "CR"]),
        ("overscan.maskPlanes=BAD", ["BAD"]),
        ("overscan.maskPlanes=", []),
        ("crosstalk.crosstalkValues=0, -1e-4", [0.0, -1e-4]),
        ("crosstalk.crosstalkShape=(2, 2)", [2, 2]),
        ("fluxMag0T1={'HSC-R': 4e11}", {"HSC-R": 4e11}),
        ("vignetteValue=None", None),
        ("vignetteValue=0", 0.0),
        ("fallbackFilterName=None", None),
        ("saturatedMaskName=None", "None"),
        ("fringe.stats.badMaskPlanes=SAT", ["SAT"]),
        ("ampOffset.background.ignoredPixelMask=BAD", ["BAD"]),
        ("saturation=4e4", 4e4),
        ("illuminationCorrectionDataProductName=a=b", "a=b"),
    ],
)
def test_values(item, expected):
    value = build_config(values=[item])
    for part in item.strip().removeprefix("isr:").partition("=")[0].strip().split("."):
        value = getattr(value, part)
    if isinstance(expected, list):
        value = list(value)
    elif isinstance(expected, dict):
        value = dict(value)
    assert value == expected
    assert type(value) is type(expected)


def test_nan_is_a_number():
    assert math.isnan(build_config(values=["saturation=4e4", "saturation=nan"]).saturation)


def test_the_last_value_counts():
    assert build_config(values=["overscan.order=3", "overscan.order=4"]).overscan.order == 4


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ("doFlat", r"^-c doFlat: expected NAME=VALUE"),
        ("=3", r"^-c =3: expected NAME=VALUE"),
        ("doFlatt=True", r"no configuration field 'doFlatt'. Did you mean doFlat\?"),
        ("overscan.orderr=2", r"no configuration field 'overscan.orderr'. Did you mean overscan.order\?"),
        ("nothing.order=2", r"no configuration field 'nothing.order'.$"),
        ("doFlat.order=2", r"no configuration field 'doFlat.order'.$"),
        ("doFlat=no", r"'no' is neither True nor False"),
        ("doFlat=1", r"'1' is neither True nor False"),
        ("overscan=3", r"overscan is a group of fields; set one of them \(overscan.fitType, "),
        ("overscan.order=30.5", r"'30.5' \(expected int\)"),
        ("overscan.order=-1", r"-1 is not a valid value \(expected int\)"),
        ("overscan.numSigmaClip=None", r"'None' \(expected float\)"),
        ("vignetteValue=dark", r"'dark' \(expected float or None\)"),
        ("overscan.fitType=AKIMA", r"AKIMA is not allowed \(expected MEAN or MEANCLIP or .*AKIMA_SPLINE\)"),
        ("crosstalk.crosstalkValues=1,a", r"'a' \(expected a list of float"),
        ("overscan.maskPlanes=[BAD]", r"'\[BAD\]' is not a Python value \(expected a list of str"),
        ("overscan.maskPlanes=[3]", r"expected a list of str"),
        ("fluxMag0T1=3", r"'3' is not a dictionary"),
        ("fluxMag0T1={'HSC-R': 'x'}", r"Expected type float"),
        ("doTweakFlat=True", r"^doTweakFlat = True: only False is accepted here"),
    ],
)
def test_clear_errors(item, message):
    with pytest.raises(ConfigError, match=message):
        build_config(values=[item])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("config.doFlat = False\n\nconfig.doFlatt = True\n", r", line 3: AttributeError: .*doFlatt"),
        ("config.doFlat = 'x'\n", r", line 1: FieldValidationError: Field 'doFlat' .* type bool$"),
        ("\nimport lsst.nothing\n", r"^-C [^ ]*over.py, line 2: No module named 'lsst.nothing'"),
        ("config.strayLight.retarget(int)", r", line 1: strayLight: cannot be retargeted to builtins.int"),
        ("config doFlat\n", r"over.py: SyntaxError: .*line 1"),
        ("raise RuntimeError", r", line 1: RuntimeError: RuntimeError"),
    ],
)
def test_errors_in_files_name_file_and_line(tmp_path, text, message):
    path = tmp_path / "over.py"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        build_config([str(path)])
    assert str(caught.value).count(str(path)) == 1


def test_files_come_before_values(tmp_path):
    (tmp_path / "one.py").write_text("config.overscan.order = 3\nconfig.doFlat = False\n")
    (tmp_path / "two.py").write_text("config.overscan.order = 4\n")
    files = [str(tmp_path / "one.py"), f"isr:{tmp_path / 'two.py'}"]
    config = build_config(files, ["overscan.maxDeviation=9"])
    assert (config.overscan.order, config.doFlat, config.overscan.maxDeviation) == (4, False, 9.0)
    with pytest.raises(ConfigError, match=r"-C none\.py: no such file"):
        build_config(["none.py"])
