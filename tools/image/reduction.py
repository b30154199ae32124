"""Reduce the same simulated files in the container and here, and compare."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

from astropy.io import fits

from tools.image.engine import Engine
from tools.image.report import CheckError, Report, call

__all__ = ["NO_COMPILATION", "check_reduction", "compare", "require_no_compilation"]

VISIT, DETECTOR = "903334", "22"
RAW = "raw/HSCA90333427.fits"
PROVENANCE = re.compile("DATE|CHECKSUM|HSC ISR INPUT .*")
"""Cards that say when a file was written, and from which files."""

NO_COMPILATION = "--env=NUMBA_DEBUG_CACHE=1"
"""Makes numba say which kernels it loads and which it stores."""


def check_reduction(report: Report, engine: Engine, data: Path, commands: Path) -> None:
    """Simulate and reduce in the container, as a user who may write to one volume only."""
    volume = ("--network=none", f"--volume={data}:/data")

    def simulate() -> str:
        engine.run("isr-repo", "simulate", "/data/night", *_which(), options=volume)
        engine.run("isr-repo", "simulate", "/data/packed", *_which(), "--compress", options=volume)
        return f"visit {VISIT} detector {DETECTOR}, plain and .fz"

    def reduce(night: str, raw: str, *options: str) -> str:
        inside, outside = data / f"{night}-container", data / f"{night}-host"
        start = time.monotonic()
        words = ["isr-run", f"/data/{night}/{raw}", "--calibs", f"/data/{night}", *options]
        said = engine.run(*words, "-o", f"/data/{inside.name}", options=(*volume, NO_COMPILATION))
        seconds = time.monotonic() - start
        loaded = require_no_compilation(said.stdout + said.stderr)
        here = [commands / "isr-run", data / night / raw, "--calibs", data / night, *options, "-o", outside]
        call(here)
        (result,) = inside.glob("*.fits")
        differences = compare(result, outside / result.name)
        if differences:
            raise CheckError(f"{result} is not what isr-run makes here: {'; '.join(differences)}")
        report.figures[f"{night}_seconds"] = round(seconds, 1)
        return f"{seconds:.1f} s, {loaded} kernels loaded, none compiled; the file is the host's, bit for bit"

    if report.run("simulate", simulate):
        report.run("files", lambda: reduce("night", RAW, "--quicklook"))
        report.run("packed", lambda: reduce("packed", f"{RAW}.fz", "--compress", "gzip2"))
        report.run("other uid", lambda: _other_user(engine, data))


def require_no_compilation(said: str) -> int:
    """Return how many kernels were loaded.

    Raises
    ------
    CheckError
        If one was compiled.
    """
    stored = [
        line for line in said.splitlines() if "[cache] data saved to" in line or "Compiling kernels" in line
    ]
    if stored:
        raise CheckError(f"{len(stored)} kernels were compiled in the container: {stored[:3]}")
    loaded = said.count("[cache] data loaded from")
    if not loaded:
        raise CheckError(
            "numba does not say that it loaded kernels; is NUMBA_DEBUG_CACHE still its variable?"
        )
    return loaded


def compare(one: Path, other: Path) -> list[str]:
    """Return where two FITS files differ, but for the cards of `PROVENANCE`."""
    with (
        fits.open(one, disable_image_compression=True) as first,
        fits.open(other, disable_image_compression=True) as second,
    ):
        if len(first) != len(second):
            return [f"{len(first)} and {len(second)} HDUs"]
        differences = []
        for number, (here, there) in enumerate(zip(first, second, strict=True)):
            differences += [f"HDU {number}: {text}" for text in _compare_cards(here.header, there.header)]
            if _data(one, here) != _data(other, there):
                differences.append(f"HDU {number}: data")
        return differences


def _compare_cards(here: fits.Header, there: fits.Header) -> list[str]:
    cards = [
        [card.image for card in header.cards if not PROVENANCE.fullmatch(card.keyword)]
        for header in (here, there)
    ]
    return [f"{a.strip()} / {b.strip()}" for a, b in zip(*cards, strict=False) if a != b] + (
        [f"{len(cards[0])} and {len(cards[1])} cards"] if len(cards[0]) != len(cards[1]) else []
    )


def _data(path: Path, hdu: Any) -> bytes:
    """Return the bytes of the data, as they are on the disk."""
    place = hdu.fileinfo()
    with path.open("rb") as stream:
        stream.seek(place["datLoc"])
        return stream.read(place["datSpan"])


def _other_user(engine: Engine, data: Path) -> str:
    """Run as the owner of a folder, whom the image does not know."""
    folder = data.parent / "other"
    folder.mkdir(mode=0o700)
    call(["chown", "12345:12345", folder])
    volumes = (f"--volume={data}:/data:ro", f"--volume={folder}:/other")
    words = ["isr-run", f"/data/night/{RAW}", "--calibs", "/data/night", "-o", "/other"]
    options = ("--network=none", "--user=12345:12345", *volumes, NO_COMPILATION)
    said = engine.run(*words, options=options)
    require_no_compilation(said.stdout + said.stderr)
    return "user 12345, whom the image does not know, reduces into a folder of theirs"


def _which() -> list[str]:
    return ["--visit", VISIT, "--detectors", DETECTOR]
