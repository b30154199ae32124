"""Run one golden case through the public API.

``python tests/golden/run_case.py CASE.npz OUT.npz [--repeat N]`` writes
``image``, ``mask``, ``variance`` and ``planes`` for ``compare.py``. With
``--repeat`` the last line is JSON with the time of ``run_isr`` alone, after
one warm-up.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from isr.run import run_isr
from tests.golden.cases import config_of, inputs_of, load_case


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("case", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--repeat", type=int, default=0)
    arguments = parser.parse_args()

    case = load_case(arguments.case)
    (raw, calibs), config = inputs_of(case), config_of(case)
    exposure = run_isr(raw, calibs, config).exposure
    np.savez(
        arguments.out,
        image=exposure.image,
        mask=exposure.mask,
        variance=exposure.variance,
        planes=np.array(json.dumps(dict(exposure.planes))),
    )
    if arguments.repeat:
        cpu, wall = [], []
        for _ in range(arguments.repeat):
            start = time.process_time(), time.perf_counter()
            run_isr(raw, calibs, config)
            cpu.append(time.process_time() - start[0])
            wall.append(time.perf_counter() - start[1])
        times = {"cpu_min_s": min(cpu), "cpu_median_s": statistics.median(cpu)}
        times |= {"wall_min_s": min(wall), "wall_median_s": statistics.median(wall)}
        print(json.dumps(times))
    return 0


if __name__ == "__main__":
    sys.exit(main())
