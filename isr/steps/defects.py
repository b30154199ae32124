"""Bad amplifiers and defects (spec sections 4.2 item 1 and 4.10)."""

from __future__ import annotations

import logging

from isr.calibs import Defects
from isr.camera import Amplifier, Box
from isr.corrections import set_bits
from isr.exposure import Exposure
from isr.raw_planes import planes_of

__all__ = ["mask_bad_amplifier", "mask_defects"]

log = logging.getLogger(__name__)


def mask_bad_amplifier(frame: Exposure, amplifier: Amplifier, defects: Defects | None) -> bool:
    """Make an amplifier BAD that lies wholly inside one defect.

    Parameters
    ----------
    frame : `isr.exposure.Exposure`
        Raw frame; the mask of the amplifier's whole raw strip is changed.
    amplifier : `isr.camera.Amplifier`
        The amplifier.
    defects : `isr.calibs.Defects` or `None`
        The detector's defects. Only a single box of the *normalised* list
        counts: a dead amplifier whose box touches another one is cut by the
        normalisation and is not seen here, as in LSST (spec 4.2, 5.4).

    Returns
    -------
    is_bad : `bool`
        Whether the amplifier is bad.
    """
    is_bad = defects is not None and any(
        Box(*map(int, box)).contains(amplifier.bbox) for box in defects.normalized
    )
    if is_bad:
        log.warning("Amplifier %s lies inside a defect: made BAD, no overscan correction", amplifier.name)
        planes_of(frame).mask_amplifier(amplifier, frame.planes.bitmask("BAD"))
    return is_bad


def mask_defects(exposure: Exposure, defects: Defects) -> None:
    """Make the defects of a detector BAD.

    Parameters
    ----------
    exposure : `isr.exposure.Exposure`
        Assembled exposure; its mask is changed in place.
    defects : `isr.calibs.Defects`
        Boxes in the assembled frame; parts outside the detector are ignored.
    """
    boxes = [Box(*box) for box in defects.normalized.tolist()]
    set_bits(exposure, boxes, exposure.planes.bitmask("BAD"))
    log.info("Defects: %d boxes masked as BAD", len(defects.normalized))
