"""Compare a reduced exposure with what a Butler repository has of it: FILE REPO COLLECTION."""

from __future__ import annotations

import sys

import numpy as np

from isr import read_exposure
from pipeline import Butler


def main(path: str, repo: str, collection: str) -> None:
    """Say whether image, mask and variance are the same, bit for bit."""
    of_file = read_exposure(path)
    butler = Butler.from_config(repo, collections=collection, instrument="HSC")
    detector = of_file.detector.id
    dataset = butler.get("postISRCCD", exposure=of_file.visit_info.visit, detector=detector)
    different = [
        plane
        for plane in ("image", "mask", "variance")
        if getattr(of_file, plane).tobytes() != getattr(dataset, plane).tobytes()
    ]
    log = butler.get("isr_log", exposure=of_file.visit_info.visit, detector=detector)
    print(
        f"\npostISRCCD in {collection}: {dataset.image.shape[1]} x {dataset.image.shape[0]} pixels, "
        f"median {np.median(dataset.image):.2f} adu, {len(log)} log records"
    )
    if different:
        sys.exit(f"{', '.join(different)} differ from {path}")
    print(f"image, mask and variance are those of {path}, bit for bit")


if __name__ == "__main__":
    main(*sys.argv[1:])
