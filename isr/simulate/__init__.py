"""Forward model: a scene with a known truth -> raw frames and their calibrations.

ISR takes instrument effects out; this package puts them in, in exactly the
opposite order, and keeps what a perfect ISR would give back.

>>> from isr.simulate import SimulationConfig, simulate_calibs, simulate_raw
>>> calibs = simulate_calibs(detector, "HSC-R", SimulationConfig())  # doctest: +SKIP
>>> raw, truth = simulate_raw(detector, visit_info, calibs, SimulationConfig())  # doctest: +SKIP
"""

from isr.simulate.calibs import fringe_frame, simulate_calibs
from isr.simulate.config import SimulationConfig
from isr.simulate.frame import Truth, simulate_raw

__all__ = ["SimulationConfig", "Truth", "fringe_frame", "simulate_calibs", "simulate_raw"]
