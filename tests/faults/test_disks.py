"""Disks that are full: that of the workers' cache, and that of the output."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.faults.commands import Cluster
from tests.faults.world import Job, World, complete, finish

pytestmark = pytest.mark.xdist_group("faults-files")


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Return a function that makes a small disk of so many kilobytes."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("needs the right to mount a small disk (tmpfs)")
    place = tmp_path / "disk"

    def make(size: int) -> Path:
        place.mkdir()
        made = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}k", "tmpfs", place], capture_output=True, text=True
        )
        if made.returncode:
            pytest.skip(f"needs the right to mount a small disk (tmpfs): {made.stderr.strip()}")
        return place

    yield make
    if place.is_mount():
        subprocess.run(["umount", "--lazy", place], check=True)


def test_cache_of_the_workers(files: World, mount, tmp_path: Path) -> None:
    """Calibrations are then decoded by each worker; the output is the same."""
    disk = mount(64)  # a bias takes 240
    cluster = Cluster(disk, files.orders)
    shutil.copytree(files.base, tmp_path / "repo")
    job = Job(replace(files, cluster=cluster), str(tmp_path / "repo"), "u/me/cache", "-o", "existing")
    try:
        cluster.start()
        command = job.start()
        finish(command, 0)
    finally:
        cluster.stop()
    job.check()
    assert "0 mapped from the disk cache" in command.said


def test_output(files: World, mount) -> None:
    """The command says so; with more room, it completes."""
    size = sum(file.stat().st_size for file in Path(files.base).rglob("*") if file.is_file()) // 1024
    disk = mount(2 * size + 200)
    shutil.copytree(files.base, disk / "repo")
    filler = disk / "filler"
    job = Job(files, str(disk / "repo"), "u/me/full", "-o", "existing")
    held = job.order("wait", "outcome", 6)
    command = job.start()
    try:
        while not held.exists():
            assert not (command.folder / "code").exists(), command.err
        _fill(filler)
        held.unlink()
        finish(command, 1)
    finally:
        filler.unlink(missing_ok=True)
        files.reset()
    assert "is full" in command.said or "No space left on device" in command.said
    complete(job)


def _fill(filler: Path) -> None:
    """Leave no room on a disk."""
    with filler.open("wb", buffering=0) as stream:
        for size in (1 << 16, 1 << 12, 1):
            try:
                while stream.write(b"x" * size):
                    pass
            except OSError:
                continue
