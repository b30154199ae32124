"""Print what detectorQa has measured of a visit, and where the pictures are.

python tools/show_visit.py REPO COLLECTION
"""

from __future__ import annotations

import sys

from rich.console import Console
from rich.table import Table

from pipeline import Butler


def main(repository: str, collection: str) -> None:
    table = Table("detector", "sky (adu)", "noise / expected", "read noise (e-)", "saturated stars", "masked")
    with Butler(repository, collections=collection, instrument="HSC") as butler:
        found = sorted(butler.query_datasets("detectorQa"), key=lambda ref: ref.dataId["detector"])
        for ref in found:
            qa = butler.get(ref)
            noises = [amplifier["read_noise"] for amplifier in qa["amplifiers"].values()]
            table.add_row(
                f"{ref.dataId['detector']}",
                number(qa["sky_level"], 2),
                number(qa["noise_ratio"], 3),
                ", ".join(number(noise, 2) for noise in noises),
                f"{qa['saturated_stars']}",
                f"{100 * (1 - qa['sky_pixels'] / qa['pixels']):.1f} %",
            )
        pictures = butler.query_datasets("detectorPicture")
        place = butler.getURI(pictures[0])
    Console(width=110).print(table)
    print(f"{len(found)} detectors, {len(pictures)} pictures, for example {place}")


def number(value: float | None, digits: int) -> str:
    """Return a number; what could not be measured is a dash."""
    return "-" if value is None else f"{value:.{digits}f}"


if __name__ == "__main__":
    main(*sys.argv[1:])
