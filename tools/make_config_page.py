"""Write docs/configuration.md from the code: every field, its value for HSC, what we do with it.

Run it from anywhere after a change of ``isr/config``: ``python tools/make_config_page.py``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import lsst.pex.config as pexConfig

from isr.config import IsrConfig
from isr.config.base import AnyValue, LsstConfig
from isr.config.detector_fields import DetectorFields
from isr.config.frame_fields import FrameFields
from isr.config.limits import LIMITS, no_effect_reason
from isr.config.product_fields import ProductFields
from isr.config.standins import CLASSES, EMPTY_MODULES
from isr.hsc.config import hsc_config

PAGE = Path(__file__).parents[1] / "docs" / "configuration.md"
TEXT = Path(__file__).with_name("configuration_text.md")

SPEC = {
    "doSaturation|saturat*|doSuspect|suspectMaskName": "4.2",
    "doOverscan|overscan.*|qa.saveStats": "4.3",
    "gain|readNoise|readNoiseUnit|doEmpiricalReadNoise|usePtc*": "4.4, 4.7",
    "doAssemble*|assembleCcd.*": "4.5",
    "doBias*|bias*|keepBiasVariance": "4.6",
    "doVariance|*egativeVariance*": "4.7",
    "doLinearize": "4.8",
    "doCrosstalk*|crosstalk*": "4.9",
    "doDefect": "4.10",
    "doNanMasking|doWidenSaturationTrails": "4.11",
    "doBrighterFatter|brighterFatter*|doFluxConserving*": "4.12",
    "numEdgeSuspect|edgeMaskLevel": "4.12",
    "doDark|dark*": "4.13",
    "doStrayLight|strayLight.*": "4.14",
    "doFlat|flat*|doTweakFlat|doApplyGains|normalizeGains|maskNonFiniteAfterFlat": "4.15",
    "doFringe|fringe*|doVignette|vignette*|doMaskVignettePolygon": "4.16",
    "doAttachTransmissionCurve|doUse*Transmission": "4.16",
    "doSetBadRegions|badStatistic|doInterpolate|*Interpolation|maskListToInterpolate": "4.17",
    "growSaturationFootprintSize|useLegacyInterp|fwhm|doNanInterpAfterFlat": "4.17",
    "interpolateVarianceSquaredWeights": "4.17",
    "fluxMag0T1|defaultFluxMag0T1": "4.18",
    "ampOffset.background.*": "4.19, 5.5",
    "ampOffset.detection.*": "4.19, 5.6",
    "doAmpOffset|ampOffset.*": "4.19",
    "doMeasureBackground|qa.flatness.*|doStandardStatistics": "4.20",
    "doHeaderProvenance": "7.1",
    "doRaiseOnCalibMismatch|cameraKeywordsToCompare": "8",
    "doConvertIntToFloat": "4.1",
}
"""Shell patterns of fields, and the section of the specification that describes them."""

LONG = 60
"""Values of more characters are described, not written out."""


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")
    print(f"wrote {PAGE}")


def page() -> str:
    """Return the whole page."""
    default, hsc = IsrConfig(), hsc_config()
    parts = [TEXT.read_text(encoding="utf-8").strip(), "## Names of LSST that can be imported", *_names()]
    parts += ["## Names that are accepted and not stored", *_retired(default)]
    groups = {
        "Frame: input to variance": FrameFields,
        "Detector: linearity to fringes": DetectorFields,
        "Product: amplifier offsets to output": ProductFields,
    }
    listed: set[str] = set()
    for title, cls in groups.items():
        names = [name for name in cls._fields if name not in listed]
        parts += [f"## {title}", *_table(default, hsc, names)]
        listed |= set(names)
    own = [name for name in IsrConfig._fields if name not in listed]
    parts += ["## Switches of our own, for defects of the reference", *_table(default, hsc, own)]
    for prefix, config, of_hsc in _parts(default, hsc):
        parts += [f"## {prefix}", *_table(config, of_hsc, list(config._fields), f"{prefix}.")]
    return "\n\n".join(parts) + "\n"


def _parts(config: Any, hsc: Any, prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Dotted name, defaults and HSC's values of every sub-configuration."""
    for name, field in config._fields.items():
        if isinstance(field, pexConfig.ConfigField):
            yield f"{prefix}{name}", getattr(config, name), getattr(hsc, name)
            yield from _parts(getattr(config, name), getattr(hsc, name), f"{prefix}{name}.")


def _names() -> list[str]:
    modules: dict[str, list[str]] = {}
    for name in CLASSES:
        module, _, short = name.rpartition(".")
        modules.setdefault(module, []).append(short)
    rows = [f"| `{module}` | {', '.join(modules[module])} |" for module in modules]
    rows += [f"| `{module}` | (nothing) |" for module in EMPTY_MODULES]
    return ["\n".join(["| module | names |", "|---|---|", *rows])]


def _retired(config: Any) -> list[str]:
    rows = []
    for prefix, part in [("", config), *((f"{p}.", c) for p, c, _ in _parts(config, config))]:
        assert isinstance(part, LsstConfig)
        for name, value in part.retired.items():
            rows.append(f"| `{prefix}{name}` | {'any' if value is AnyValue else f'`{value!r}`'} |")
    return ["\n".join(["| field | accepted value |", "|---|---|", *rows])]


def _table(config: Any, hsc: Any, names: list[str], prefix: str = "") -> list[str]:
    rows = []
    for name in names:
        field = config._fields[name]
        if isinstance(field, pexConfig.ConfigField):
            continue
        default, of_hsc = _text(getattr(config, name)), _text(getattr(hsc, name))
        rows.append(
            f"| `{prefix}{name}` | {_type(field)} | {default} | {'' if of_hsc == default else of_hsc} "
            f"| {_status(prefix + name)} | {_section(prefix + name)} | {field.doc} |"
        )
    head = [
        "| field | type | default | HSC, if different | implemented | spec | |",
        "|---|---|---|---|---|---|---|",
    ]
    return ["\n".join([*head, *rows])] if rows else []


def _status(name: str) -> str:
    if name in LIMITS:
        limit = LIMITS[name]
        return f"only at {' or '.join(_text(value) for value in limit.values)}: {limit.reason}"
    reason = no_effect_reason(name)
    return f"no effect: {reason}" if reason else "yes"


def _section(name: str) -> str:
    for patterns, section in SPEC.items():
        if any(fnmatchcase(name, pattern) for pattern in patterns.split("|")):
            return section
    return "3"


def _type(field: Any) -> str:
    match field:
        case pexConfig.ListField():
            return f"list of {field.itemtype.__name__}"
        case pexConfig.DictField():
            return f"dict of {field.keytype.__name__} to {field.itemtype.__name__}"
        case pexConfig.ChoiceField():
            return " / ".join(f"`{value}`" for value in field.allowed if value is not None)
    return field.dtype.__name__ + (" or None" if field.optional else "")


def _text(value: Any) -> str:
    """A value as it is written in an override file."""
    if isinstance(value, float) and math.isnan(value):
        return "`float('nan')`"
    if isinstance(value, str | bool | int | float | type(None)):
        return f"`{value!r}`"
    plain = dict(value) if hasattr(value, "items") else list(value)
    text = json.dumps(plain)
    is_short = len(text) <= LONG or not _is_data(plain)
    return f"`{text}`" if is_short else f"{len(plain)} values, from `isr/hsc/data`"


def _is_data(value: Any) -> bool:
    """Tell measured numbers from names of planes and keywords."""
    return all(isinstance(v, float) for v in (value.values() if isinstance(value, dict) else value))


if __name__ == "__main__":
    main()
