"""A machine that runs one library in a process of its own: memory, calls, time-outs, and an end that always comes."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import tempfile
import time
import weakref
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from subprocess import PIPE
from types import TracebackType
from typing import IO, TypeVar

from edgekit.errors import ToolchainError
from edgekit.toolchain import wire
from edgekit.toolchain.device import Device
from edgekit.toolchain.elf import PAGE, READ, WRITE, Image, load_image

MAX_HEAP_BYTES = 1 << 30
GRACE_S = 10.0  # what the machine gets beyond its own time-out before it is killed

M = TypeVar("M", bound="Machine")


@dataclass(frozen=True)
class _Isa:
    """Where a library and its data are placed, and (mask, value) of the instructions that call."""

    library: int
    heap: int
    stack_align: int
    calls: tuple[tuple[int, int], ...]


_ISAS = {
    # beyond 4 GiB, so that a pointer cut to 32 bits is a fault; bl, blr
    "aarch64": _Isa(0x10_0000_0000, 0x20_0000_0000, 16, ((0xFC000000, 0x94000000), (0xFFFFFC1F, 0xD63F0000))),
    # clear of 1 GiB, above which qemu-user has its stack; bl, blx register
    "armv7": _Isa(0x1000_0000, 0x6000_0000, 8, ((0x0F000000, 0x0B000000), (0x0FFFFFF0, 0x012FFF30))),
    # firmware lies where it was linked to, its data elsewhere; bl (first halfword low), blx register
    "thumb": _Isa(0, 0x6000_0000, 8, ((0xD000F800, 0xD000F000), (0xFF87, 0x4780))),
}


# faults that have no address
_FAULTS = {
    "instruction": "not an instruction that the core has, or one that leaves the program",
    "stack": "the stack is full",
    "alignment": "an access to an address that is no multiple of its size",
}


@dataclass(frozen=True)
class CallSite:
    """One call instruction of the watched function: what it called, how often, and all that ran because of it."""

    offset: int
    callee: str
    calls: int
    instructions: int


@dataclass(frozen=True)
class CallResult:
    """`value` is the low 32 bits of the result. The counts are exact; None and empty where nothing was counted."""

    value: int
    instructions: int | None = None
    by_symbol: Mapping[str, int] = field(default_factory=dict)
    by_call: tuple[CallSite, ...] = ()
    stack_bytes: int | None = None


class Machine(ABC):
    """One library for `device`, placed in the memory of another process; use it as a context manager, or `close` it.

    Subclasses say what to start. Addresses are those of the machine. Every fault of the library, the machine or the
    clock is a ToolchainError, after which the machine is closed. `core` names the emulated core, `engine` what runs it.
    """

    counts = False  # whether `call` can count instructions

    def __init__(
        self, library: bytes, device: Device, *, timeout_s: float = 60.0, heap: tuple[int, int] | None = None
    ) -> None:
        if device.emulated_core is None or device.arch not in _ISAS:
            raise ToolchainError(
                f"target {device.name!r}",
                "has no emulated core",
                "convert for one that has, such as --target raspberrypi4",
            )
        self._isa = _ISAS[device.arch]
        self.image: Image = load_image(library, self._isa.library)
        if self.image.arch != device.arch:
            raise ToolchainError("library", f"is built for {self.image.arch}, target {device.name!r} is {device.arch}")
        self.device, self.core, self.engine = device, device.emulated_core, "machine"
        self._heap, self._heap_bytes = heap or (self._isa.heap, MAX_HEAP_BYTES)
        self._timeout_s, self._heap_end, self._doing = timeout_s, self._heap, "starting"
        self._decoded: dict[tuple[int, int], list[int]] = {}
        self._shares: dict[tuple[int, int], tuple[tuple[str, int], ...]] = {}
        command = self._command()
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed by _end)
        # A session of its own: Ctrl-C reaches this process only, which then closes the other.
        self._process = subprocess.Popen(command, stdin=PIPE, stdout=PIPE, stderr=self._errors, start_new_session=True)
        self._finalizer = weakref.finalize(self, _end, self._process, self._errors)
        try:
            self._to, self._from = _descriptors(self._process)
            self.engine = self._reply(time.monotonic() + timeout_s + GRACE_S)[1].decode()
            self._place()
        except BaseException:
            self.close()
            raise

    @abstractmethod
    def _command(self) -> list[str]:
        """The program to start, and its arguments."""

    def _place(self) -> None:
        for segment in self.image.segments:
            start = segment.address // PAGE * PAGE
            size = -(-(segment.address + segment.size) // PAGE) * PAGE - start
            self._request(wire.MAP, start, size)
            self.write(segment.address, segment.data)
            self._request(wire.PROTECT, start, size, segment.access)

    def alloc(self, nbytes: int, align: int = 64) -> int:
        """Return the address of `nbytes` zero bytes. They lie at the end of a page that nothing follows, so that
        an overrun by `align` bytes or more is a fault.
        """
        if nbytes < 0 or align < 1 or align & (align - 1) or align > PAGE:
            raise ToolchainError("alloc", f"{nbytes} bytes aligned to {align} are not possible")
        padded = -(-max(nbytes, 1) // align) * align
        size = -(-padded // PAGE) * PAGE
        if self._heap_end + size - self._heap > self._heap_bytes:
            raise ToolchainError("alloc", f"{nbytes:,} bytes more would exceed the cap of {self._heap_bytes:,}")
        start, self._heap_end = self._heap_end, self._heap_end + size + PAGE
        self._request(wire.MAP, start, size)
        self._request(wire.PROTECT, start, size, READ | WRITE)
        return start + size - padded

    def write(self, address: int, data: bytes) -> None:
        """Put bytes into the machine's memory."""
        self._request(wire.WRITE, address, len(data), payload=data)

    def read(self, address: int, nbytes: int) -> bytes:
        """Get bytes from the machine's memory."""
        return self._request(wire.READ, address, nbytes)[1]

    def call(
        self,
        name: str,
        args: Iterable[int] = (),
        *,
        count: bool | None = None,
        watch: str | None = None,
        stack: bool = False,
    ) -> CallResult:
        """Call a function with up to sixteen integers or addresses.

        Instructions are counted unless `count` is False (counting is slower) or the machine cannot; to ask such a one
        for counts is an error. `watch` names a function whose every call instruction gets a row of `by_call`. With
        `stack`, the result says how many bytes of stack the call used, by those that changed.
        """
        if (count or watch or stack) and not self.counts:
            raise ToolchainError(self.engine, "cannot count instructions or bytes of stack", "use the emulator")
        counting = bool(watch) or (self.counts if count is None else count)
        function, words = self.image.function(name), [int(a) % 2**64 for a in args]
        if len(words) > wire.MAX_ARGUMENTS:
            raise ToolchainError(f"function {name!r}", f"takes at most {wire.MAX_ARGUMENTS} arguments")
        if counting:
            watched = self.image.function(watch) if watch else None
            bounds = (watched.address, watched.address + watched.size) if watched else (0, 0)
            self._request(wire.WATCH, *bounds)
        if stack:
            self._request(wire.STACK, 1)
        self._doing = f"running {name}"
        payload = b"".join(map(wire.WORD.pack, words))
        value, rows = self._request(wire.CALL, function.address, len(words), int(counting), payload)
        used = self._stack_bytes() if stack else None
        if not counting:
            return CallResult(value & 0xFFFFFFFF, stack_bytes=used)
        blocks = list(wire.ROW.iter_unpack(rows))
        by_symbol = self._by_symbol(blocks)
        by_call = self._by_call(blocks, watch) if watch else ()
        return CallResult(value & 0xFFFFFFFF, sum(by_symbol.values()), by_symbol, by_call, used)

    def _stack_bytes(self) -> int:
        """What the last call used: down to the lowest byte that changed, and on to where a stack pointer may be."""
        align = self._isa.stack_align
        return -(-self._request(wire.STACK)[0] // align) * align

    def close(self) -> None:
        """End the other process; calling it again does nothing."""
        self._finalizer()

    def __enter__(self: M) -> M:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _by_symbol(self, blocks: list[tuple[int, ...]]) -> dict[str, int]:
        """Instructions of each function itself, without those it calls; largest first."""
        totals: dict[str, int] = {}
        for _, address, size, executions in blocks:
            for name, share in self._named(address, size):
                totals[name] = totals.get(name, 0) + share * executions
        return dict(sorted(totals.items(), key=lambda item: -item[1]))

    def _by_call(self, blocks: list[tuple[int, ...]], watch: str) -> tuple[CallSite, ...]:
        function = self.image.function(watch)
        calls: dict[int, int] = {}  # by the address that the call returns to, as all three
        offsets: dict[int, int] = {}
        inside: dict[int, int] = {}
        callee: dict[int, str] = {}
        for _, address, size, executions in blocks:
            if function.address <= address < function.address + function.size:
                last = self._instructions(address, size)[-1]
                word = int.from_bytes(self.image.code_at(last, address + size - last), "little")
                if any(word & mask == value for mask, value in self._isa.calls):
                    offsets[address + size] = last - function.address
                    calls[address + size] = calls.get(address + size, 0) + executions
        for site, address, size, executions in blocks:
            if site in offsets:
                callee.setdefault(site, self._name(address))
                inside[site] = inside.get(site, 0) + executions * len(self._instructions(address, size))
        return tuple(CallSite(offsets[site], callee[site], calls[site], inside[site]) for site in sorted(inside))

    def _instructions(self, address: int, size: int) -> list[int]:
        """The instructions of a block, decoded once."""
        key = address, size
        if key not in self._decoded:
            self._decoded[key] = self.image.instructions(address, size)
        return self._decoded[key]

    def _named(self, address: int, size: int) -> tuple[tuple[str, int], ...]:
        """The functions that hold the instructions of a block, with how many of them each holds, looked up once."""
        key = address, size
        if key not in self._shares:
            self._shares[key] = tuple(Counter(map(self._name, self._instructions(address, size))).items())
        return self._shares[key]

    def _name(self, address: int) -> str:
        function = self.image.function_at(address)
        return function.name if function else "(no symbol)"

    def _request(self, op: int, a: int = 0, b: int = 0, c: int = 0, payload: bytes = b"") -> tuple[int, bytes]:
        if not self._finalizer.alive:
            raise ToolchainError(self.engine, "is closed")
        deadline = time.monotonic() + self._timeout_s + GRACE_S
        try:
            self._send(wire.REQUEST.pack(op, a, b, c) + payload, deadline)
            return self._reply(deadline)
        except BaseException:
            self.close()
            raise

    def _reply(self, deadline: float) -> tuple[int, bytes]:
        status, value, length = wire.REPLY.unpack(self._receive(wire.REPLY.size, deadline))
        payload = self._receive(length, deadline)
        if status == wire.OK:
            return value, payload
        if status == wire.FAULT:
            counter, address, kind = wire.FAULT_ROW.unpack(payload)
            raise ToolchainError(self._doing, self._fault(counter, address, wire.FAULTS[kind]))
        raise ToolchainError(self._doing, payload.decode("utf-8", "replace"))

    def _fault(self, counter: int, address: int, kind: str) -> str:
        function = self.image.function_at(counter)
        place = f"{function.name}+{counter - function.address:#x}" if function else f"address {counter:#x}"
        if kind in _FAULTS:
            return f"{place}: {_FAULTS[kind]}"
        what = "read or write" if kind == "access" else kind
        return f"{place}: {what} at {address:#x}, outside the memory it may use"

    def _send(self, data: bytes, deadline: float) -> None:
        left = memoryview(data)
        while left:
            self._wait(deadline, writable=True)
            try:
                left = left[os.write(self._to, left) :]
            except BlockingIOError:
                continue
            except BrokenPipeError:
                self._died()

    def _receive(self, nbytes: int, deadline: float) -> bytes:
        out = bytearray()
        while len(out) < nbytes:
            self._wait(deadline, writable=False)
            part = os.read(self._from, min(nbytes - len(out), 1 << 20))
            if not part:
                self._died()
            out += part
        return bytes(out)

    def _wait(self, deadline: float, *, writable: bool) -> None:
        left = deadline - time.monotonic()
        ready = select.select([] if writable else [self._from], [self._to] if writable else [], [], max(left, 0))
        if not any(ready):
            raise self._timeout()

    def _timeout(self) -> ToolchainError:
        return ToolchainError(self._doing, f"took more than {self._timeout_s:g} s")

    def _died(self) -> None:
        code = self._process.wait()
        if code == -signal.SIGALRM:
            raise self._timeout()
        self._errors.seek(0)
        last_words = self._errors.read(1 << 16).decode("utf-8", "replace").splitlines()[-1:]
        raise ToolchainError(self._doing, f"the machine {_ending(code)}", items=last_words)


def _ending(code: int) -> str:
    """How a process ended, from its return code; real-time signals have numbers only."""
    if code >= 0:
        return f"ended with exit code {code}"
    names = {int(known): known.name for known in signal.Signals}
    return f"was ended by {names.get(-code, f'signal {-code}')}"


def _descriptors(process: subprocess.Popen[bytes]) -> tuple[int, int]:
    """The process's input and output, neither of which may block: `select` decides how long to wait."""
    if process.stdin is None or process.stdout is None:
        raise ToolchainError("machine", "has no pipes")
    descriptors = process.stdin.fileno(), process.stdout.fileno()
    for descriptor in descriptors:
        os.set_blocking(descriptor, False)
    return descriptors


def _end(process: subprocess.Popen[bytes], errors: IO[bytes]) -> None:
    """Kill a process if it still runs, collect it, and close its pipes and the file of its messages."""
    if process.poll() is None:
        process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe:
            pipe.close()
    errors.close()
