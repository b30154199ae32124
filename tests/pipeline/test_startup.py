"""How isr-run sets up its process."""

import os
import platform
import subprocess
import sys

import pytest

FAULTS = """
from resource import RUSAGE_SELF, getrusage
from pipeline.cli.startup import save_cpu

save_cpu()
plane = bytearray(40 << 20)
del plane
before = getrusage(RUSAGE_SELF).ru_minflt
plane = bytearray(40 << 20)
print(getrusage(RUSAGE_SELF).ru_minflt - before)
"""
OPENBLAS = """
import os
from pipeline.cli.startup import save_cpu

save_cpu()
print(os.environ["OPENBLAS_NUM_THREADS"])
"""


def run(script: str, **variables: str) -> str:
    environment = {key: value for key, value in os.environ.items() if key != "OPENBLAS_NUM_THREADS"}
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, env=environment | variables, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="sets up the malloc of glibc")
def test_freed_planes_are_used_again():
    assert int(run(FAULTS)) < 1000  # 10240 pages of 4 KiB if the kernel were asked for them


def test_one_thread_of_openblas():
    assert run(OPENBLAS) == "1"


def test_users_choice_of_threads_holds():
    assert run(OPENBLAS, OPENBLAS_NUM_THREADS="2") == "2"
