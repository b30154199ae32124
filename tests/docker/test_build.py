"""tools/image/build.sh: with Docker or with buildah, and how the image is pushed."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "tools" / "image" / "build.sh"
REGISTRY = "123456789012.dkr.ecr.us-east-1.amazonaws.com/hsc-isr:1"


def _build(folder: Path, tag: str, *, docker: bool, **variables: str) -> tuple[str, list[str]]:
    """Build with stand-ins that only note how they are called; return what is said, and the calls."""
    answers = {
        "docker": f"[[ $1 == info ]] && exit {0 if docker else 1}\necho docker $* >> calls",
        "buildah": "echo buildah $* >> calls",
    }
    for name, answer in answers.items():
        file = folder / name
        file.write_text(f"#!/bin/bash\ncd {folder}\n{answer}\n")
        file.chmod(0o755)
    environment = {"PATH": f"{folder}:{os.environ['PATH']}"} | variables
    done = subprocess.run(["bash", SCRIPT, tag], env=environment, capture_output=True, text=True, check=True)
    return done.stdout, (folder / "calls").read_text().splitlines()


def test_docker_builds_for_the_machines_of_clusters(tmp_path: Path):
    said, (call,) = _build(tmp_path, REGISTRY, docker=True)
    assert call.startswith("docker build --platform linux/amd64 ")
    assert said == f"To push it: docker push {REGISTRY}\n"


@pytest.mark.parametrize("variables", [{}, {"buildah": "buildah --root elsewhere"}])
def test_buildah_pushes_what_buildah_has_built(tmp_path: Path, variables: dict[str, str]):
    said, (call,) = _build(tmp_path, REGISTRY, docker=bool(variables), **variables)
    program = variables.get("buildah", "buildah")
    assert call.startswith(f"{program} bud ")
    assert said == f"To push it: {program} push {REGISTRY}\n"


def test_an_image_without_a_registry_is_not_for_pushing(tmp_path: Path):
    said, _ = _build(tmp_path, "hsc-isr", docker=True)
    assert not said
