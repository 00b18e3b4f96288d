"""The process that emulates: `python -m edgekit.toolchain.unicorn_worker CORE TIMEOUT_S`, see wire.py.

It is a process of its own because unicorn (GPL-2) is no part of edgekit, because a fault in it must not end the
caller, and because emulated code then cannot reach the caller's memory even through a bug of the emulator.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from importlib import import_module
from itertools import zip_longest
from typing import Any, BinaryIO

from edgekit.toolchain import wire

# As Any: unicorn's annotations are partial, and strict checking of the rest should stay useful.
unicorn: Any = import_module("unicorn")
arm64: Any = import_module("unicorn.arm64_const")

STACK_BASE, STACK_BYTES = 0x0F_0000_0000, 1 << 20
RETURN_ADDRESS = STACK_BASE - 0x1_0000
PAGE = 4096

ARGUMENTS = tuple(getattr(arm64, f"UC_ARM64_REG_X{i}") for i in range(wire.MAX_ARGUMENTS))
ACCESS = ((1, unicorn.UC_PROT_READ), (2, unicorn.UC_PROT_WRITE), (4, unicorn.UC_PROT_EXEC))
FAULT_KINDS = {
    unicorn.UC_MEM_READ_UNMAPPED: 0,
    unicorn.UC_MEM_READ_PROT: 0,
    unicorn.UC_MEM_WRITE_UNMAPPED: 1,
    unicorn.UC_MEM_WRITE_PROT: 1,
    unicorn.UC_MEM_FETCH_UNMAPPED: 2,
    unicorn.UC_MEM_FETCH_PROT: 2,
}


class Core:
    """One emulated AArch64 core and its memory."""

    def __init__(self, model: int, timeout_s: float) -> None:
        self.uc = unicorn.Uc(unicorn.UC_ARCH_ARM64, unicorn.UC_MODE_ARM)
        self.uc.ctl_set_cpu_model(model)
        self.uc.mem_map(STACK_BASE, STACK_BYTES, unicorn.UC_PROT_READ | unicorn.UC_PROT_WRITE)
        self.uc.mem_map(RETURN_ADDRESS, PAGE, unicorn.UC_PROT_READ | unicorn.UC_PROT_EXEC)
        self.uc.hook_add(unicorn.UC_HOOK_MEM_INVALID, self._invalid)
        self.timeout_s = timeout_s
        self.bad_access: tuple[int, int] | None = None
        self.watched = (0, 0)
        self.blocks: dict[tuple[int, int, int], int] = {}
        self.site = 0
        self.hook: Any = None

    def _invalid(self, _uc: Any, access: int, address: int, _size: int, _value: int, _data: object) -> bool:
        self.bad_access = (address, FAULT_KINDS[access])
        return False

    def _block(self, _uc: Any, address: int, size: int, _data: object) -> None:
        low, high = self.watched
        if low <= address < high:
            self.site = address + size - 4  # the last instruction of the block: the call, when it is one
            key = (0, address, size)
        else:
            key = (self.site, address, size)
        self.blocks[key] = self.blocks.get(key, 0) + 1

    def _count_blocks(self, wanted: bool) -> None:
        """Install or remove the counter; what was translated without it would not call it, and the other way round."""
        if wanted == (self.hook is not None):
            return
        if wanted:
            self.hook = self.uc.hook_add(unicorn.UC_HOOK_BLOCK, self._block)
        else:
            self.uc.hook_del(self.hook)
            self.hook = None
        self.uc.ctl_flush_tb()

    def call(self, address: int, arguments: list[int], *, count: bool) -> tuple[int, int, bytes]:
        """Run a function to its return; (status, value, payload) as wire.py has it."""
        # Registers without an argument are zero, so that a run does not depend on the run before.
        for register, value in zip_longest(ARGUMENTS, arguments, fillvalue=0):
            self.uc.reg_write(register, value)
        self.uc.reg_write(arm64.UC_ARM64_REG_SP, STACK_BASE + STACK_BYTES)
        self.uc.reg_write(arm64.UC_ARM64_REG_LR, RETURN_ADDRESS)
        self.bad_access, self.blocks, self.site = None, {}, 0
        self._count_blocks(count)
        # The alarm ends this process, also when the caller is gone. (unicorn's own time-out costs 2 ms a call.)
        signal.setitimer(signal.ITIMER_REAL, self.timeout_s)
        try:
            self.uc.emu_start(address, RETURN_ADDRESS)
        except unicorn.UcError:
            bad, kind = self.bad_access or (0, wire.FAULTS.index("instruction"))
            return wire.FAULT, 0, wire.FAULT_ROW.pack(self.uc.reg_read(arm64.UC_ARM64_REG_PC), bad, kind)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        rows = b"".join(wire.ROW.pack(*key, executions) for key, executions in self.blocks.items())
        return wire.OK, self.uc.reg_read(arm64.UC_ARM64_REG_X0), rows


def serve(core: Core, requests: BinaryIO, replies: BinaryIO) -> None:
    """Answer requests until there are no more."""

    def protect(address: int, size: int, access: int) -> None:
        core.uc.mem_protect(address, size, sum(flag for bit, flag in ACCESS if access & bit))

    def watch(low: int, high: int, _: int) -> None:
        core.watched = (low, high)

    simple: dict[int, Callable[[int, int, int], object]] = {
        wire.MAP: lambda a, b, _: core.uc.mem_map(a, b, unicorn.UC_PROT_READ | unicorn.UC_PROT_WRITE),
        wire.PROTECT: protect,
        wire.WRITE: lambda a, b, _: core.uc.mem_write(a, requests.read(b)),
        wire.WATCH: watch,
    }
    answer(replies, wire.OK, payload=f"unicorn {unicorn.__version__}".encode())
    while header := requests.read(wire.REQUEST.size):
        op, a, b, c = wire.REQUEST.unpack(header)
        try:
            if op == wire.CALL:
                arguments = [word for (word,) in wire.WORD.iter_unpack(requests.read(8 * b))]
                answer(replies, *core.call(a, arguments, count=bool(c)))
            elif op == wire.READ:
                answer(replies, wire.OK, payload=bytes(core.uc.mem_read(a, b)))
            else:
                simple[op](a, b, c)
                answer(replies, wire.OK)
        except unicorn.UcError as error:
            answer(replies, wire.REFUSED, payload=f"the emulator refuses: {error}".encode())


def answer(replies: BinaryIO, status: int, value: int = 0, payload: bytes = b"") -> None:
    """Send one reply."""
    replies.write(wire.REPLY.pack(status, value, len(payload)) + payload)
    replies.flush()


def main() -> None:
    """Find the core, then serve."""
    name, timeout_s = sys.argv[1:]
    model = getattr(arm64, f"UC_CPU_ARM64_{name.removeprefix('cortex-').upper()}", None)
    if model is None:
        answer(sys.stdout.buffer, wire.REFUSED, payload=f"unicorn has no core {name!r}".encode())
        return
    serve(Core(model, float(timeout_s)), sys.stdin.buffer, sys.stdout.buffer)


if __name__ == "__main__":
    main()
