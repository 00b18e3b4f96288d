"""The integer kernels of weights that change, called one by one in guarded buffers, here and on emulated cores."""

from __future__ import annotations

import ctypes
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from images import build_image
from integer_engines import HOST, every

from edgekit.backends.c.integer import flavour_of
from edgekit.backends.c.program import kernel_files
from edgekit.target import load_target
from edgekit.toolchain import Machine, build_shared

MAIN = "plastic_kernels.c"
SOURCE = Path(__file__).parent / MAIN
GUARD, FILL = 64, 0xA5


@dataclass(frozen=True)
class Call:
    """One call: `y` is the result of a dtype and a shape, or the number of the operand that it is written over."""

    function: str
    operands: tuple[np.ndarray | None, ...]
    numbers: tuple[int, ...]
    y: np.ndarray | int


class _Here:
    """Buffers and functions of this process."""

    def __init__(self, library: bytes) -> None:
        with tempfile.NamedTemporaryFile(suffix=".so") as file:
            Path(file.name).write_bytes(library)
            self._library = ctypes.CDLL(file.name)
        self._kept: list[np.ndarray] = []

    def put(self, data: bytes) -> int:
        raw = np.zeros(len(data) + 64, np.uint8)
        at = -raw.ctypes.data % 64 + 4  # of vectors, no more is promised than whole words
        raw = raw[at : at + len(data)]
        raw[:] = np.frombuffer(data, np.uint8)
        self._kept.append(raw)
        return int(raw.ctypes.data)

    def get(self, address: int, nbytes: int) -> bytes:
        return ctypes.string_at(address, nbytes)

    def call(self, function: str, arguments: Sequence[int], pointers: int) -> None:
        kinds = [ctypes.c_void_p] * pointers + [ctypes.c_uint32] * (len(arguments) - pointers)
        getattr(self._library, function)(*(k(a) for k, a in zip(kinds, arguments, strict=True)))

    def clear(self) -> None:
        self._kept.clear()


class _There:
    """Buffers and functions of an emulated core; one piece of its memory serves one call after the other."""

    BYTES = 1 << 17

    def __init__(self, machine: Machine) -> None:
        self.machine, self._base = machine, machine.alloc(self.BYTES)
        self.by_symbol: dict[str, int] = {}
        self._end = self._base

    def put(self, data: bytes) -> int:
        address = self._end + 4
        self._end = -(-(address + len(data)) // 8) * 8
        assert self._end <= self._base + self.BYTES
        self.machine.write(address, data)
        return address

    def get(self, address: int, nbytes: int) -> bytes:
        return self.machine.read(address, nbytes)

    def call(self, function: str, arguments: Sequence[int], pointers: int) -> None:
        self.by_symbol = dict(self.machine.call(function, arguments).by_symbol)

    def clear(self) -> None:
        self._end = self._base


class Kernels:
    """Runs calls, and looks at what is around every buffer afterwards."""

    def __init__(self, place: _Here | _There) -> None:
        self.place = place

    def run(self, call: Call) -> np.ndarray:
        """The result; operands that it is not written over, and all that is around them, are as before."""
        self.place.clear()
        given = [None if v is None else v.tobytes() for v in call.operands]
        guard = bytes([FILL]) * GUARD
        over = call.y if isinstance(call.y, int) else None
        blank = call.y.tobytes() if isinstance(call.y, np.ndarray) else b""
        addresses = [0 if data is None else self.place.put(guard + data + guard) for data in given]
        y = addresses[over] if over is not None else self.place.put(guard + blank + guard)
        pointers = [y, *addresses]
        arguments = [a + GUARD if a else 0 for a in pointers] + list(call.numbers)
        self.place.call(call.function, arguments, len(pointers))
        like = call.operands[over] if over is not None else call.y
        assert isinstance(like, np.ndarray)
        for at, (address, data) in enumerate(zip(addresses, given, strict=True)):
            if data is not None and at != over:
                assert self.place.get(address, len(data) + 2 * GUARD) == guard + data + guard, f"operand {at}"
        found = self.place.get(y, like.nbytes + 2 * GUARD)
        assert found[:GUARD] == guard, "wrote before the result"
        assert found[-GUARD:] == guard, "wrote past the result"
        return np.frombuffer(found[GUARD:-GUARD], like.dtype).reshape(like.shape)


@contextmanager
def kernels(engine: str) -> Iterator[Kernels]:
    """The kernels as an engine compiles them; the test is skipped where the engine is not installed."""
    chosen = every()[engine]
    if not chosen.there:
        pytest.skip(f"what {engine} needs is not installed")
    target = load_target(chosen.target)
    files = {**kernel_files(integer=True), MAIN: SOURCE.read_text("utf-8")}
    define = flavour_of(target.simd).define
    flags = ("-Wall", "-Wextra", "-Werror", *chosen.flags, *([f"-D{define}=1"] if define else []))
    if engine in HOST:
        yield Kernels(_Here(build_shared(files, MAIN, target, compiler=chosen.compiler, extra_flags=flags)))
        return
    image = build_image(files, MAIN, target, compiler=chosen.compiler, extra_flags=flags)
    with chosen.machine(image, target, timeout_s=120.0) as machine:
        yield Kernels(_There(machine))
