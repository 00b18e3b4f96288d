"""The float environment of a thread: ONNX Runtime switches denormals off in the thread that opens a session."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

BYTES = 256  # more than fenv_t has on any platform


class FloatEnvironment:
    """A copy of rounding mode, exception masks and denormal flags, to be put back later.

    Where the C library cannot be reached the thread stays as it is.
    """

    def __init__(self) -> None:
        self._held = ctypes.create_string_buffer(BYTES)
        if (libm := _libm()) is not None:
            libm.fegetenv(self._held)

    def restore(self) -> None:
        """Put this environment back into the calling thread."""
        if (libm := _libm()) is not None:
            libm.fesetenv(self._held)


@contextmanager
def kept() -> Iterator[None]:
    """Leave the float environment of this thread as it was, whatever happens inside."""
    before = FloatEnvironment()
    try:
        yield
    finally:
        before.restore()


@contextmanager
def within(environment: FloatEnvironment) -> Iterator[None]:
    """Run under another float environment."""
    with kept():
        environment.restore()
        yield


@cache
def _libm() -> ctypes.CDLL | None:
    library = ctypes.CDLL(None)  # Python itself is linked with the mathematics library
    return library if hasattr(library, "fegetenv") and hasattr(library, "fesetenv") else None
