"""What an m5.xlarge would do, projected from what was measured here."""

from __future__ import annotations

import statistics

from benchmarks.goals import Results

PRICE = 0.192  # USD an hour, on demand, us-east-1, Linux; from memory, to be looked up
CORES = 2  # 4 vCPU are 2 cores with two threads each
NETWORK = 1.25e9 / 8  # bytes a second that last; "up to 10 Gbit/s" comes in bursts
DETECTORS = 112  # of a visit: 104 for science, 8 for focus
RAW_BYTES = 18.2e6
ASSUMED = f"""Assumed: {CORES} cores, each as quick as one of the machine below; hyper-threading gives
nothing; {PRICE} USD an hour; a network that lasts {NETWORK * 8 / 1e9:g} Gbit/s in each direction;
calibrations in memory or on the local disk; CPU time and network overlap completely. Requests to S3, its
storage and start-up are not counted. CPU: `test_warm_job_s3` (basic ISR, plain raw, S3 on loopback, no TLS)
plus, for full ISR, `test_full` minus `test_basic_akima`."""


def table(results: Results) -> list[str]:
    """Return the projection in Markdown; the medians are used."""
    lines = [
        "**Projection, not measured.** " + ASSUMED,
        "",
        "| output | ISR | CPU s/detector | limit | s/detector | USD/1,000 detectors | USD/visit |",
        "|---|---|---|---|---|---|---|",
    ]
    more = _cpu(results, "test_full") - _cpu(results, "test_basic_akima")
    for compression, name in (("none", "plain"), ("gzip2", "lossless")):
        size = results[f"test_write_exposure[{compression}]"]["bytes"]["hsc-isr"]
        for extent, extra in (("basic", 0.0), ("full", more)):
            cpu = _cpu(results, f"test_warm_job_s3[{compression}]") + extra
            network = max(RAW_BYTES, size) / NETWORK
            seconds = max(cpu / CORES, network)
            limit = "CPU" if seconds > network else "network"
            dollars = seconds / 3600 * PRICE
            lines.append(
                f"| {name}, {size / 1e6:.0f} MB | {extent} | {cpu:.2f} | {limit} | {seconds:.2f} "
                f"| {1000 * dollars:.3f} | {DETECTORS * dollars:.4f} |"
            )
    return lines


def _cpu(results: Results, benchmark: str) -> float:
    return statistics.median(results[benchmark]["cpu"]["hsc-isr"])
