"""Compare a reduced simulated exposure with its truth: POSTISR TRUTH."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from astropy.io import fits

from isr import read_exposure

UNUSABLE = ("BAD", "SAT", "SUSPECT", "NO_DATA", "EDGE", "INTRP", "CROSSTALK", "UNMASKEDNAN")


def main(result: str, truth: str) -> None:
    """Print what is left of the sky, the noise and the masks."""
    exposure = read_exposure(result)
    with fits.open(truth) as hdus:
        image, sky = hdus["IMAGE"].data, hdus["SKY"].data
        header, masks = hdus["MASK"].header, hdus["MASK"].data
        true = {name: masks & (1 << header[f"MP_{name}"]) != 0 for name in ("BAD", "SAT", "BLED")}
    planes = [name for name in UNUSABLE if name in exposure.planes]
    usable = (exposure.mask & exposure.planes.bitmask(*planes) == 0) & ~true["BLED"]
    residual = (exposure.image[usable] - image[usable]).astype(np.float64)
    noise = residual / np.sqrt(exposure.variance[usable])
    level = float(np.median(sky))
    print(f"\n{Path(result).resolve()}")
    print(f"picture   {Path(result).with_suffix('.png').resolve()}")
    print(f"usable    {usable.sum():,} of {usable.size:,} pixels")
    share = 100 * residual.mean() / level
    print(f"residual  mean {residual.mean():+.4f} adu = {share:+.4f} % of the sky ({level:.1f} adu)")
    print(f"scatter   {residual.std():.3f} adu, {noise.std():.4f} of the expected noise")
    print(f"chi2      {np.mean(noise**2):.4f} per pixel")
    for name in ("SAT", "BAD"):
        found = exposure.mask & exposure.planes.bitmask(name) != 0
        put = true[name]
        print(
            f"{name:9} {put.sum():,} put in, {(put & ~found).sum():,} missed, {(found & ~put).sum():,} extra"
        )


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(f"usage: {sys.argv[0]} POSTISR.fits TRUTH.fits")
    main(sys.argv[1], sys.argv[2])
