"""Keep the inputs of three golden cases, and digests of what LSST's IsrTask made of them.

``python tests/data/make_golden_essentials.py`` reads ``../shared/golden`` and
writes ``tests/data/golden_*.npz``; the same bytes in every run. The digests
are of the reference's own output, not of this engine's.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
GOLDEN = HERE.parents[2] / "shared" / "golden"
CASES = ("05_overscan_dirty_akima", "06_overscan_dirty_median_per_row", "08_basic")


def digests(image, variance, mask, planes):
    """SHA-256 of the bytes of image and variance (little-endian float32) and of each mask plane."""
    found = {
        name: hashlib.sha256(np.ascontiguousarray(plane, "<f4").tobytes()).hexdigest()
        for name, plane in (("image", image), ("variance", variance))
    }
    for name, bit in planes.items():
        found[f"mask {name}"] = hashlib.sha256(np.packbits(mask >> bit & 1).tobytes()).hexdigest()
    return found


def main() -> int:
    for name in CASES:
        with np.load(GOLDEN / f"{name}.npz", allow_pickle=False) as stored:
            case = {key: stored[key] for key in stored.files}
        inputs = {key: value for key, value in case.items() if not key.startswith("out_")}
        planes = json.loads(str(case["out_planes"]))
        expected = digests(case["out_image"], case["out_variance"], case["out_mask"], planes)
        np.savez_compressed(HERE / f"golden_{name}.npz", **inputs, out_digests=json.dumps(expected))
    return 0


if __name__ == "__main__":
    sys.exit(main())
