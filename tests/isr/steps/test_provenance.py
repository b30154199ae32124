"""What the metadata say of the run."""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import version

from isr.config import config_hash
from isr.steps.provenance import record_steps
from tests.builders import calib_image, calibs, frame_of, only, raw_frame


def recorded(config, some=None, forced=None):
    raw = raw_frame()
    frame = frame_of(raw)
    record_steps(frame, raw, some or calibs(), config, forced or {})
    assert frame.metadata.pop("OBJECT") == "noise"  # the raw's own cards stay
    return frame.metadata


def test_nothing_switched_on():
    config = only()
    steps = ("CROSSTALK", "LINEARIZER", "CTI", "BIAS", "DARK", "BF", "FLAT", "DEFECTS")
    assert recorded(config) == {f"LSST ISR {step} APPLIED": False for step in steps} | {
        "LSST ISR UNITS": "adu",
        "HSC ISR VERSION": version("hsc-isr"),
        "HSC ISR CONFIG SHA256": config_hash(config),
        "HSC ISR INPUT RAW": "raw.fits",
        "HSC ISR SHA256 RAW": "ab" * 32,
    }


def test_each_step_is_recorded_with_its_input():
    kinds = {"doBias": "BIAS", "doDark": "DARK", "doFlat": "FLAT", "doDefect": "DEFECTS"}
    for switch, kind in kinds.items():
        metadata = recorded(only(**{switch: True}))
        assert [k for k in kinds.values() if metadata[f"LSST ISR {k} APPLIED"]] == [kind]
        assert metadata[f"HSC ISR INPUT {kind}"] == f"{kind.lower()}.fits"
        assert metadata[f"HSC ISR SHA256 {kind}"]
        assert [key for key in metadata if key.startswith("HSC ISR INPUT")] == [
            "HSC ISR INPUT RAW",
            f"HSC ISR INPUT {kind}",
        ]


def test_provenance_in_a_butler_repository():
    bias = calib_image("bias")
    stated = replace(bias, info=replace(bias.info, run="HSC/calib", uuid="1-2-3", date="2013-11-03"))
    metadata = recorded(only(doBias=True, doDark=True), calibs(bias=stated))
    of_calibs = {key: value for key, value in metadata.items() if key.startswith("LSST CALIB")}
    assert of_calibs == {
        "LSST CALIB RUN BIAS": "HSC/calib",
        "LSST CALIB UUID BIAS": "1-2-3",
        "LSST CALIB DATE BIAS": "2013-11-03",
    }


def test_forced_calibrations():
    metadata = recorded(
        only(doBias=True, doDark=True), forced={"dark": "it is of detector 8", "flat": "unused"}
    )
    forced = {key: value for key, value in metadata.items() if "FORCED" in key}
    assert forced == {"HSC ISR FORCED DARK": "it is of detector 8"}
