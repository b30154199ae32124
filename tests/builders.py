"""Small detectors, frames and calibrations for tests."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from isr.calibs import CalibImage, CalibInfo, Calibs, Defects
from isr.camera import Amplifier, Box, Detector
from isr.config import IsrConfig
from isr.exposure import Exposure, RawFrame, VisitInfo
from isr.steps.assemble import convert_to_float

VISIT_INFO = VisitInfo(
    instrument="TEST",
    visit=4242,
    exposure_time=30.0,
    dark_time=30.5,
    date_begin="2020-02-03T04:05:06.789",
    physical_filter="HSC-R",
    band="r",
)


def two_amplifiers(**changes) -> Detector:
    """24 x 20 pixels, side by side; rows: 2 prescan, 20 data, 1 parallel overscan.

    Columns as HSC's: [3 prescan][12 data][6 overscan] and its mirror image.
    """
    left = Amplifier(
        name="L",
        bbox=Box(0, 0, 12, 20),
        raw_bbox=Box(0, 0, 21, 23),
        raw_data_bbox=Box(3, 2, 12, 20),
        raw_serial_overscan_bbox=Box(15, 2, 6, 20),
        raw_parallel_overscan_bbox=Box(3, 22, 12, 1),
        raw_prescan_bbox=Box(3, 0, 12, 2),
        gain=3.59,  # 1 / 3.59 in float32 is not the reciprocal of float32(3.59)
        read_noise=4.5,
        saturation=40000.0,
        suspect_level=35000.0,
    )
    right = Amplifier(
        name="R",
        bbox=Box(12, 0, 12, 20),
        raw_bbox=Box(21, 0, 21, 23),
        raw_data_bbox=Box(27, 2, 12, 20),
        raw_serial_overscan_bbox=Box(21, 2, 6, 20),
        raw_parallel_overscan_bbox=Box(27, 22, 12, 1),
        raw_prescan_bbox=Box(27, 0, 12, 2),
        gain=2.7,
        read_noise=1.5,
        saturation=50000.0,
        suspect_level=55000.0,
        readout_corner="LR",
    )
    detector = Detector(
        id=7,
        name="1_07",
        serial="s7",
        type="SCIENCE",
        bbox=Box(0, 0, 24, 20),
        raw_shape=(23, 42),
        amplifiers=(left, right),
    )
    return replace(detector, **changes)


def four_amplifiers(**changes) -> Detector:
    """24 x 20 pixels in quadrants, all stored as read out: assembly flips three of them.

    Raw strips, left to right: [12 data][5 overscan], 10 rows of data and one
    row of parallel overscan each.
    """
    amplifiers = tuple(
        Amplifier(
            name=f"C{i}",
            bbox=Box(12 * (i % 2), 10 * (i // 2), 12, 10),
            raw_bbox=Box(17 * i, 0, 17, 11),
            raw_data_bbox=Box(17 * i, 0, 12, 10),
            raw_serial_overscan_bbox=Box(17 * i + 12, 0, 5, 10),
            raw_parallel_overscan_bbox=Box(17 * i, 10, 12, 1),
            gain=1.0 + 0.25 * i,
            read_noise=2.0 + i,
            saturation=60000.0,
            raw_flip_x=i % 2 == 1,
            raw_flip_y=i // 2 == 1,
            readout_corner=("LL", "LR", "UL", "UR")[i],
        )
        for i in range(4)
    )
    detector = Detector(
        id=3,
        name="0_03",
        serial="s3",
        type="SCIENCE",
        bbox=Box(0, 0, 24, 20),
        raw_shape=(11, 68),
        amplifiers=amplifiers,
    )
    return replace(detector, **changes)


def raw_frame(detector: Detector | None = None, seed: int = 0, **changes) -> RawFrame:
    """Noise on a bias level of its own in each amplifier, a ramp along the rows, a sky of 300."""
    detector = detector or two_amplifiers()
    random = np.random.default_rng(seed)
    level = np.zeros(detector.raw_shape)
    for i, amp in enumerate(detector.amplifiers):
        level[amp.raw_bbox.slices] = 1000.0 + 37 * i + 0.5 * np.arange(amp.raw_bbox.height)[:, np.newaxis]
        level[amp.raw_data_bbox.slices] += 300.0
    pixels = np.rint(random.normal(level, 3.0)).astype(np.uint16)
    frame = RawFrame(pixels, detector, VISIT_INFO, {"OBJECT": "noise"}, 4242 * 200 + 7, "raw.fits", "ab" * 32)
    return replace(frame, **changes)


def frame_of(raw: RawFrame) -> Exposure:
    """The whole raw frame in float, for the steps before assembly."""
    return convert_to_float(raw)


def exposure(detector: Detector | None = None, seed: int = 0) -> Exposure:
    """An assembled exposure of noise around 100 ADU, variance about 40."""
    detector = detector or two_amplifiers()
    random = np.random.default_rng(seed)
    return Exposure(
        image=random.normal(100, 10, detector.shape).astype(np.float32),
        mask=np.zeros(detector.shape, np.int32),
        variance=random.normal(40, 2, detector.shape).astype(np.float32),
        detector=detector,
        visit_info=VISIT_INFO,
    )


def calib_image(kind: str, detector: Detector | None = None, seed: int = 0, **changes) -> CalibImage:
    """A bias, dark (ADU per second) or flat without mask and variance."""
    detector = detector or two_amplifiers()
    centre, width = {"bias": (1.0, 2.0), "dark": (0.02, 0.01), "flat": (1.0, 0.03)}[kind]
    image = np.random.default_rng(seed + 1).normal(centre, width, detector.shape).astype(np.float32)
    info = CalibInfo(kind, name=f"{kind}.fits", sha256=kind.encode().hex(), detector=detector.id, unit="adu")
    if kind == "flat":
        info = replace(info, physical_filter="HSC-R", unit="")
    return replace(CalibImage(info, image, dark_time=1.0 if kind == "dark" else float("nan")), **changes)


def defects(*boxes: tuple[int, int, int, int], detector: int | None = 7) -> Defects:
    """Defects of boxes ``(x0, y0, width, height)``."""
    info = CalibInfo("defects", name="defects.fits", sha256="de", detector=detector)
    return Defects(info, np.array(boxes, np.int32).reshape(-1, 4))


def calibs(detector: Detector | None = None, **changes) -> Calibs:
    """All four calibrations of a detector."""
    detector = detector or two_amplifiers()
    frames = (calib_image(kind, detector) for kind in ("bias", "dark", "flat"))
    return replace(Calibs(*frames, defects((3, 4, 2, 5), detector=detector.id)), **changes)


ALWAYS_ON = {"doAssembleCcd", "doConvertIntToFloat", "doHeaderProvenance", "doWrite"}
ALL_OFF = {name: False for name in IsrConfig._fields if name.startswith("do") and name not in ALWAYS_ON}


def only(**switches) -> IsrConfig:
    """A configuration with every step off but those named."""
    config = IsrConfig()
    config.update(**(ALL_OFF | switches))
    return config
