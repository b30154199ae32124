"""What somebody does in a notebook; prints what is found as JSON. Argument: the repository.

It runs in a process of its own, in which nothing has been imported or activated.
"""

from __future__ import annotations

import hashlib
import json
import sys
from typing import Any

import numpy as np

from pipeline import Butler

DATA_ID = {"exposure": 903334, "detector": 22}
COMPONENTS = (
    *("image", "mask", "variance", "metadata", "bbox", "visitInfo", "wcs", "detector"),
    *("filter", "photoCalib", "validPolygon", "id", "dimensions", "xy0"),
)


def type_of(value: object) -> str:
    return f"{type(value).__module__}.{type(value).__name__}"


def sha256(array: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


class Traffic:
    """Counts what comes from S3."""

    def __init__(self, uri: str) -> None:
        self.bytes = 0
        if uri.startswith("s3:"):
            from lsst.resources.s3utils import getS3Client

            getS3Client().meta.events.register("after-call.s3.GetObject", self.count)

    def count(self, parsed: dict[str, Any], **_: object) -> None:
        self.bytes += parsed["ContentLength"]

    def since(self) -> int:
        """Return the bytes since the last call."""
        number, self.bytes = self.bytes, 0
        return number


def main(uri: str) -> dict[str, Any]:
    from isr import Box

    traffic = Traffic(uri)
    butler = Butler(uri, collections="u/me/visit", instrument="HSC")
    found: dict[str, Any] = {"types": {}, "bytes": {}}
    traffic.since()
    parts = {}
    for name in COMPONENTS:
        parts[name] = butler.get(f"postISRCCD.{name}", **DATA_ID)
        found["types"][name] = type_of(parts[name])
        found["bytes"][name] = traffic.since()
    box = Box(1500, 2000, 64, 48)
    region = butler.get("postISRCCD", parameters={"bbox": box}, **DATA_ID)
    found["bytes"]["region"] = traffic.since()
    region_mask = butler.get("postISRCCD.mask", parameters={"bbox": box}, **DATA_ID)
    found["bytes"]["region_mask"] = traffic.since()
    exposure = butler.get("postISRCCD", **DATA_ID)
    found["bytes"]["exposure"] = traffic.since()
    found["types"]["exposure"] = type_of(exposure)
    found["sums"] = {name: sha256(getattr(exposure, name)) for name in ("image", "mask", "variance")}
    found["same"] = {
        "planes": all(
            np.array_equal(parts[name], getattr(exposure, name)) for name in ("image", "mask", "variance")
        ),
        "metadata": parts["metadata"] == exposure.metadata,
        "visitInfo": parts["visitInfo"] == exposure.visit_info,
        "detector": parts["detector"] == exposure.detector,
        "bbox": parts["bbox"] == exposure.detector.bbox,
        "region": all(
            np.array_equal(getattr(region, name), getattr(exposure, name)[box.slices])
            for name in ("image", "mask", "variance")
        ),
        "region_mask": np.array_equal(region_mask, region.mask),
    }
    found["region"] = {"origin": list(region.origin), "type": type_of(region)}
    found["detector"], found["visit"] = exposure.detector.id, exposure.visit_info.visit
    by_visit = butler.get("postISRCCD", visit=903334, detector=22)
    found["same"]["visit="] = np.array_equal(by_visit.image, exposure.image)
    try:
        butler.get("postISRCCD", visit=903335, detector=22)
    except Exception as error:  # what a user sees
        found["visit="] = f"{type(error).__name__}: {error}"
    raw = butler.get("raw.image", collections="HSC/raw/all", **DATA_ID)
    part = butler.get("raw.image", collections="HSC/raw/all", parameters={"bbox": box}, **DATA_ID)
    found["same"]["raw_region"] = np.array_equal(part, raw[box.slices])
    found["refused"] = []
    for wanted in (box, (0, 0, 5000, 10)):
        try:
            name = "raw" if wanted is box else "raw.image"
            butler.get(name, collections="HSC/raw/all", parameters={"bbox": wanted}, **DATA_ID)
        except Exception as error:  # what a user sees
            found["refused"].append(f"{type(error).__name__}: {error}")
    masked = butler.get("postISRCCD", storageClass="MaskedImageV2", **DATA_ID)
    found["types"]["masked"] = type_of(masked)
    found["same"]["masked"] = np.array_equal(masked.image.array, exposure.image)
    for kind in ("bias", "flat", "defects"):
        found["types"][kind] = type_of(butler.get(kind, collections="HSC/calib", **DATA_ID))
    bias = butler.get("bias", collections="HSC/calib", detector=22)
    found["bias"] = {"unit": str(bias.info.unit), "detector": bias.info.detector, "uuid": bias.info.uuid}
    found["afw"] = sorted(name for name in sys.modules if name.startswith("lsst.afw"))
    return found


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(sys.argv[1])))
