"""Turn golden case files (``../shared/golden/*.npz``) into calls of the public API."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from isr.calibs import BrighterFatterKernel, CalibImage, CalibInfo, Calibs, Defects
from isr.camera import Amplifier, Box, Detector
from isr.config import IsrConfig
from isr.exposure import RawFrame, VisitInfo
from isr.hsc.config import hsc_config

CORNERS = ("LL", "LR", "UR", "UL")


def load_case(path: Path) -> dict[str, Any]:
    """Read a case; inputs that it shares with another case are read from there."""
    with np.load(path, allow_pickle=False) as stored:
        case = {key: stored[key] for key in stored.files}
    if "inputs_from" in case:
        with np.load(path.with_name(str(case["inputs_from"])), allow_pickle=False) as stored:
            inputs = {key: stored[key] for key in stored.files if not key.startswith(("out_", "tiles_"))}
        case = inputs | case
    return case


def detector_of(case: Mapping[str, Any]) -> Detector:
    """Build the detector that a case describes."""
    described = json.loads(str(case["detector"]))
    amplifiers = tuple(
        Amplifier(
            name=amp["name"],
            bbox=Box(*amp["bbox"]),
            raw_bbox=Box(*amp["rawBBox"]),
            raw_data_bbox=Box(*amp["rawDataBBox"]),
            raw_serial_overscan_bbox=Box(*amp["serialOverscan"]),
            raw_parallel_overscan_bbox=Box(*amp["parallelOverscan"]),
            raw_prescan_bbox=Box(*amp["prescan"]),
            gain=amp["gain"],
            read_noise=amp["readNoise"],
            saturation=amp["saturation"],
            suspect_level=amp["suspectLevel"],
            raw_flip_x=amp["flipX"],
            raw_flip_y=amp["flipY"],
            readout_corner=CORNERS[amp["readoutCorner"]],
            linearity_type=amp["linearityType"],
            linearity_coeffs=tuple(amp["linearityCoeffs"]),
        )
        for amp in described["amps"]
    )
    return Detector(
        id=described["id"],
        name=described["name"],
        serial=str(described["id"]),
        type="SCIENCE",
        bbox=Box(*described["bbox"]),
        raw_shape=case["raw"].shape,
        amplifiers=amplifiers,
    )


def config_of(case: Mapping[str, Any]) -> IsrConfig:
    """HSC's configuration with the case's differences; unknown fields are errors."""
    config = hsc_config()
    config.doVignette = config.doAttachTransmissionCurve = False  # as in all cases
    for field, value in json.loads(str(case["config"])).items():
        target = config
        *parents, name = field.split(".")
        for parent in parents:
            target = getattr(target, parent)
        setattr(target, name, value)
    return config


def inputs_of(case: Mapping[str, Any]) -> tuple[RawFrame, Calibs]:
    """Build the raw frame and the calibrations of a case."""
    detector = detector_of(case)
    visit_info = VisitInfo(
        instrument="HSC",
        exposure_time=float(str(case["exptime"])),
        dark_time=float(str(case["darktime"])),
        physical_filter=str(case["physical_filter"]),
        band=str(case["band"]),
    )
    seed = int(str(case["fringe_seed"])) if "fringe_seed" in case else 0
    raw = RawFrame(case["raw"], detector, visit_info, exposure_id=seed, name=str(case["name"]))

    def frame(kind: str) -> CalibImage | None:
        if kind not in case:
            return None
        return CalibImage(
            CalibInfo(kind=kind, name=kind),
            case[kind],
            case.get(f"{kind}_mask"),
            case.get(f"{kind}_variance"),
            dark_time=float(str(case["dark_darktime"])) if kind == "dark" else float("nan"),
        )

    defects = Defects(CalibInfo("defects"), case["defects"]) if "defects" in case else None
    kernel = BrighterFatterKernel(CalibInfo("bfKernel"), case["bf_kernel"]) if "bf_kernel" in case else None
    frames = {kind: frame(kind) for kind in ("bias", "dark", "flat", "fringe")}
    return raw, Calibs(**frames, defects=defects, bfKernel=kernel)
