"""Switches callgrind's counting on and off from inside the process, with valgrind's client requests.

The request is a sequence of instructions that does nothing elsewhere and that
valgrind recognises (valgrind.h). Switched on for a part only, the hundred
thousand functions of the imports run ten times slower instead of fifty times.
"""

from __future__ import annotations

import ctypes
import mmap
import platform
from collections.abc import Iterator
from contextlib import contextmanager

# def request(arguments): mov rax, rdi; xor edx, edx; the magic rotations; xchg rbx, rbx; mov rax, rdx; ret
_CODE = bytes.fromhex("4889f8 31d2 48c1c703 48c1c70d 48c1c73d 48c1c733 4887db 4889d0 c3")
_START, _STOP = 0x43540004, 0x43540005  # 'C', 'T', of callgrind.h

is_possible = platform.machine() == "x86_64"


@contextmanager
def counting() -> Iterator[None]:
    """Let callgrind count the instructions of a block."""
    memory = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    memory.write(_CODE)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    request = ctypes.CFUNCTYPE(ctypes.c_uint64, ctypes.c_void_p)(address)
    start, stop = ((ctypes.c_uint64 * 6)(code) for code in (_START, _STOP))
    request(ctypes.addressof(start))
    try:
        yield
    finally:
        request(ctypes.addressof(stop))
