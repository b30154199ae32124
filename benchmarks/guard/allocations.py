"""Counts NumPy's allocations of whole planes, and says who made them (NEP 49, through ctypes).

Counted is what the calling thread allocates; memory of Numba's arrays and of
other threads is seen in the peak of `tracemalloc`.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

PLANE = 8_000_000
"""Bytes from which an array counts as a plane; one of HSC has 18 (raw), 34 or 36 MB."""
_SET_HANDLER, _GET_HANDLER = 304, 305  # places in NumPy's table of C functions, part of its ABI
_MALLOC = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
_CALLOC = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t)
_REALLOC = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)


class _Allocator(ctypes.Structure):
    _fields_ = [(name, ctypes.c_void_p) for name in ("ctx", "malloc", "calloc", "realloc", "free")]


class _Handler(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char * 127), ("version", ctypes.c_uint8), ("allocator", _Allocator)]


def _function(address: int, *types: Any) -> Any:
    return ctypes.PYFUNCTYPE(*types)(address)


@contextmanager
def planes_allocated() -> Iterator[list[tuple[str, int]]]:
    """Note (who, bytes) of each array of at least `PLANE` bytes that this thread allocates."""
    get_pointer, new_capsule = ctypes.pythonapi.PyCapsule_GetPointer, ctypes.pythonapi.PyCapsule_New
    get_pointer.restype, get_pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    new_capsule.restype = ctypes.py_object
    new_capsule.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
    table = ctypes.cast(
        get_pointer(np._core._multiarray_umath._ARRAY_API, None), ctypes.POINTER(ctypes.c_void_p)
    )
    set_handler = _function(table[_SET_HANDLER], ctypes.py_object, ctypes.py_object)
    before = _function(table[_GET_HANDLER], ctypes.py_object)()
    own = ctypes.cast(get_pointer(before, b"mem_handler"), ctypes.POINTER(_Handler)).contents.allocator
    found: list[tuple[str, int]] = []
    malloc, calloc, realloc = _MALLOC(own.malloc), _CALLOC(own.calloc), _REALLOC(own.realloc)

    def note(size: int) -> None:
        if size >= PLANE:
            found.append((_caller(), size))

    def counted_malloc(ctx: int, size: int) -> int:
        note(size)
        return malloc(own.ctx, size)

    def counted_calloc(ctx: int, number: int, size: int) -> int:
        note(number * size)
        return calloc(own.ctx, number, size)

    def counted_realloc(ctx: int, memory: int, size: int) -> int:
        note(size)
        return realloc(own.ctx, memory, size)

    callbacks = (_MALLOC(counted_malloc), _CALLOC(counted_calloc), _REALLOC(counted_realloc))
    pointers = [ctypes.cast(callback, ctypes.c_void_p).value for callback in callbacks]
    handler = _Handler(b"counting", 1, _Allocator(own.ctx, *pointers, own.free))
    set_handler(new_capsule(ctypes.addressof(handler), b"mem_handler", None))
    try:
        yield found
    finally:
        set_handler(before)
        _KEPT.append((handler, callbacks))  # arrays made meanwhile remember their handler


_KEPT: list[Any] = []


def _caller() -> str:
    """Return the nearest function of isr or pipeline on the stack."""
    frame = sys._getframe(2)
    while frame is not None:
        module = str(frame.f_globals.get("__name__", ""))
        if module.startswith(("isr.", "pipeline.")):
            return f"{module.replace('.', '/')}.py {frame.f_code.co_name}"
        frame = frame.f_back  # type: ignore[assignment]
    return Path(sys.argv[0]).name
