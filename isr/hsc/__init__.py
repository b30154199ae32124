"""Hyper Suprime-Cam: camera, facts, identifiers.

Headers are translated by `isr.hsc.header`, sky coordinates made by
`isr.hsc.wcs`; both need more time to import than what is exported here.
"""

from isr.hsc.facts import (
    VIGNETTE,
    CiHscRaw,
    DefectTable,
    Filter,
    Vignette,
    brighter_fatter_kernel,
    ci_hsc_raws,
    crosstalk_matrix,
    dead_amplifiers,
    defects,
    filters,
)
from isr.hsc.geometry import camera, detector
from isr.hsc.identifiers import archive_file_name, exp_id, exposure_id, frame_id, visit_number

__all__ = [
    "VIGNETTE",
    "CiHscRaw",
    "DefectTable",
    "Filter",
    "Vignette",
    "archive_file_name",
    "brighter_fatter_kernel",
    "camera",
    "ci_hsc_raws",
    "crosstalk_matrix",
    "dead_amplifiers",
    "defects",
    "detector",
    "exp_id",
    "exposure_id",
    "filters",
    "frame_id",
    "visit_number",
]
