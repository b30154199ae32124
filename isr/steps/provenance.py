"""What was done, with what: metadata of the whole run (spec section 7.1)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.metadata import version

from isr.calib_rules import used_kinds
from isr.calibs import Calibs
from isr.config import IsrConfig, config_hash
from isr.exposure import Exposure, RawFrame
from isr.steps.linearity import needs_linearity

__all__ = ["record_steps"]

engine_version = cache(version)


def record_steps(
    frame: Exposure, raw: RawFrame, calibs: Calibs, config: IsrConfig, forced: Mapping[str, str]
) -> None:
    """Write units, steps applied, inputs and engine into the metadata.

    Parameters
    ----------
    frame : `isr.exposure.Exposure`
        Exposure whose metadata is changed in place.
    raw : `isr.exposure.RawFrame`
        The raw frame: its file name and SHA-256 are recorded.
    calibs : `isr.calibs.Calibs`
        The calibrations: file name, SHA-256, run, UUID and date of those used.
    config : `isr.config.IsrConfig`
        Which steps run; its hash is recorded.
    forced : `~collections.abc.Mapping` [`str`, `str`]
        Calibrations used against the rules, with what does not match.
    """
    metadata = frame.metadata
    metadata["LSST ISR UNITS"] = "adu"
    applied = {
        "CROSSTALK": config.doCrosstalk,
        "LINEARIZER": config.doLinearize and needs_linearity(raw.detector),
        "CTI": False,
        "BIAS": config.doBias,
        "DARK": config.doDark,
        "BF": config.doBrighterFatter,
        "FLAT": config.doFlat,
        "DEFECTS": config.doDefect,
    }
    for step, is_applied in applied.items():
        metadata[f"LSST ISR {step} APPLIED"] = is_applied
    metadata["HSC ISR VERSION"] = engine_version("hsc-isr")
    metadata["HSC ISR CONFIG SHA256"] = config_hash(config)
    metadata["HSC ISR INPUT RAW"] = raw.name
    metadata["HSC ISR SHA256 RAW"] = raw.sha256
    for kind in used_kinds(raw, calibs, config):
        info = getattr(calibs, kind).info
        name = kind.upper()
        metadata[f"HSC ISR INPUT {name}"] = info.name
        metadata[f"HSC ISR SHA256 {name}"] = info.sha256
        optional = {"RUN": info.run, "UUID": info.uuid, "DATE": info.date}
        metadata.update({f"LSST CALIB {key} {name}": value for key, value in optional.items() if value})
        if kind in forced:
            metadata[f"HSC ISR FORCED {name}"] = forced[kind]
