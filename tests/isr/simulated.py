"""A small detector with HSC's layout, and exposures of it, for the tests of the simulator."""

from __future__ import annotations

from dataclasses import replace

from isr.camera import Amplifier, Box, Detector
from isr.exposure import VisitInfo

WIDTH, HEIGHT = 64, 256
GAINS = (3.6, 3.2, 4.0, 3.5)


def small_detector(**changes: object) -> Detector:
    """Four amplifiers of 64x256 pixels; the borders are those of HSC."""
    amps = tuple(_amplifier(i) for i in range(4))
    detector = Detector(
        id=22,
        name="0_27",
        serial="22",
        type="SCIENCE",
        bbox=Box(0, 0, 4 * WIDTH, HEIGHT),
        raw_shape=(HEIGHT + 65, 4 * (WIDTH + 24)),
        amplifiers=amps,
        raw_flip="LR",
    )
    return replace(detector, **changes)


def _amplifier(i: int) -> Amplifier:
    x0 = i * (WIDTH + 24)
    data_x0, overscan_x0 = (x0 + 16, x0) if i % 2 else (x0 + 8, x0 + 8 + WIDTH)
    return Amplifier(
        name=str(i),
        bbox=Box(i * WIDTH, 0, WIDTH, HEIGHT),
        raw_bbox=Box(x0, 0, WIDTH + 24, HEIGHT + 65),
        raw_data_bbox=Box(data_x0, 49, WIDTH, HEIGHT),
        raw_serial_overscan_bbox=Box(overscan_x0, 49, 16, HEIGHT),
        raw_parallel_overscan_bbox=Box(data_x0, 49 + HEIGHT, WIDTH, 16),
        raw_prescan_bbox=Box(data_x0, 0, WIDTH, 49),
        gain=GAINS[i],
        read_noise=1.4 + 0.1 * i,
        saturation=40000.0 + 1000.0 * i,
        suspect_level=50000.0,
        readout_corner="LR" if i % 2 else "LL",
        linearity_type="Squared",
        linearity_coeffs=((-1) ** i * 2e-7,),
    )


def visit_info(visit: int = 903334) -> VisitInfo:
    """A 30 s exposure in HSC-R."""
    return VisitInfo(
        instrument="HSC",
        visit=visit,
        exposure_time=30.0,
        dark_time=30.0,
        date_begin="2013-06-17T13:29:11.039",
        physical_filter="HSC-R",
        band="r",
    )
