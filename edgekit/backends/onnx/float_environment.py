"""The float environment of a thread: exported files run without denormals, and the caller's thread keeps its own.

ONNX Runtime has a switch for that, but the first session of a process decides for all, and for the thread for good.
"""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

BYTES = 256  # more than fenv_t has on any platform

# Where in fenv_t the control word of the vector unit is, and its bits that make denormals zero: glibc and musl, little
# endian. x86-64: mxcsr behind 28 bytes of the x87 unit, FTZ and DAZ. Arm: fpcr or fpscr first, FZ.
_CONTROL = {"x86_64": (28, 1 << 15 | 1 << 6), "aarch64": (0, 1 << 24), "armv7l": (0, 1 << 24)}


@contextmanager
def kept() -> Iterator[None]:
    """Leave the float environment of this thread as it was, whatever happens inside."""
    libm = _libm()
    before = ctypes.create_string_buffer(BYTES)
    if libm is not None:
        libm.fegetenv(before)
    try:
        yield
    finally:
        if libm is not None:
            libm.fesetenv(before)


@contextmanager
def without_denormals() -> Iterator[None]:
    """Run with denormals taken and given as zero, where the processor is known; then put everything back."""
    with kept():
        place = _CONTROL.get(platform.machine())
        if (libm := _libm()) is not None and place is not None:
            offset, bits = place
            held = ctypes.create_string_buffer(BYTES)
            libm.fegetenv(held)
            word = ctypes.c_uint32.from_buffer(held, offset)
            word.value |= bits
            libm.fesetenv(held)
        yield


@cache
def _libm() -> ctypes.CDLL | None:
    library = ctypes.CDLL(None)  # Python itself is linked with the mathematics library
    return library if hasattr(library, "fegetenv") and hasattr(library, "fesetenv") else None
