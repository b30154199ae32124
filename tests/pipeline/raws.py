"""Raw files that hold a whole header and pixels that take no place on the disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from astropy.io import fits

from isr.hsc import archive_file_name, detector
from isr.simulate.hsc_header import raw_cards, simulated_visit

SHAPE = (4241, 2144)
DATA_SIZE = 2 * SHAPE[0] * SHAPE[1]


def raw_header(visit: int = 903334, number: int = 22, **changes: Any) -> fits.Header:
    """Return the header of a simulated raw; a change to `None` removes a card."""
    header = fits.Header()
    structure = {"SIMPLE": True, "BITPIX": 16, "NAXIS": 2, "NAXIS1": SHAPE[1], "NAXIS2": SHAPE[0]}
    header.update(structure | {"BZERO": 32768, "BSCALE": 1})
    for key, value, _ in raw_cards(simulated_visit(visit), detector(number)):
        header[key] = value
    for key, value in changes.items():
        name = key.replace("_", "-")
        if value is None:
            del header[name]
        else:
            header[name] = value
    return header


def write_raw(folder: Path, visit: int = 903334, number: int = 22, *, name: str = "", **changes: Any) -> Path:
    """Write a raw with empty pixels."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / (name or archive_file_name(visit, number))
    content = raw_header(visit, number, **changes).tostring().encode()
    path.write_bytes(content)
    with path.open("r+b") as stream:
        stream.truncate(len(content) + DATA_SIZE + -DATA_SIZE % 2880)
    return path
