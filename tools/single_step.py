"""Instructions of a function of a library on this computer, counted one by one: the kernel stops it after each.

Exact, whatever the instruction set: no emulator here knows AVX-512. Linux on x86-64.
"""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path

from edgekit.errors import ToolchainError
from edgekit.toolchain import load_image

_TRACEME, _PEEKUSER, _CONT, _SINGLESTEP = 0, 3, 7, 9
_RIP, _RSP = 16 * 8, 19 * 8  # of struct user
_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.ptrace.restype = ctypes.c_long
_LIBC.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]


def count_functions(library: Path, functions: Mapping[str, str], call: Callable[[ctypes.CDLL], None]) -> dict[str, int]:
    """Instructions of each function, with all that it calls, while `call` runs in a process of its own.

    `functions` are the symbols to count, by what the result calls them. ToolchainError where it cannot be traced.
    """
    image = load_image(library.read_bytes(), 0)
    offsets = {image.function(symbol).address: name for name, symbol in functions.items()}
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        _traced(library, call, writer)
    os.close(writer)
    try:
        return _stepped(child, offsets, reader)
    finally:
        os.close(reader)
        _end(child)


def _traced(library: Path, call: Callable[[ctypes.CDLL], None], writer: int) -> None:
    """What the other process does: tells where the library lies, then runs between two stops."""
    try:
        handle = ctypes.CDLL(str(library))
        with Path("/proc/self/maps").open(encoding="utf-8") as maps:
            base = min(int(line.split("-")[0], 16) for line in maps if line.rstrip().endswith(str(library)))
        os.write(writer, base.to_bytes(8, "little"))
        _LIBC.ptrace(_TRACEME, 0, None, None)
        os.kill(os.getpid(), signal.SIGSTOP)
        call(handle)
    finally:
        os._exit(0)


def _stepped(child: int, offsets: Mapping[int, str], reader: int) -> dict[str, int]:
    base = int.from_bytes(os.read(reader, 8), "little")
    entries, found = {base + offset: name for offset, name in offsets.items()}, dict.fromkeys(offsets.values(), 0)
    _, status = os.waitpid(child, 0)
    inside, stack = "", 0
    while os.WIFSTOPPED(status):
        at = _LIBC.ptrace(_PEEKUSER, child, _RIP, None) % 2**64
        if inside and _LIBC.ptrace(_PEEKUSER, child, _RSP, None) % 2**64 > stack:
            inside = ""
        if at in entries:
            inside, stack = entries[at], _LIBC.ptrace(_PEEKUSER, child, _RSP, None) % 2**64
        if inside:
            found[inside] += 1
        if _LIBC.ptrace(_SINGLESTEP, child, None, None) < 0:
            raise ToolchainError("single steps", os.strerror(ctypes.get_errno()), "run where a process may be traced")
        _, status = os.waitpid(child, 0)
    return found


def _end(child: int) -> None:
    try:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    except (ProcessLookupError, ChildProcessError):
        pass
