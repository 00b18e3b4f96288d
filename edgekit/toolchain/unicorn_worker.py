"""The process that emulates: `python -m edgekit.toolchain.unicorn_worker ARCH CORE TIMEOUT_S`, see wire.py.

It is a process of its own because unicorn (GPL-2) is no part of edgekit, because a fault in it must not end the
caller, and because emulated code then cannot reach the caller's memory even through a bug of the emulator.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, BinaryIO

from edgekit.toolchain import wire

# As Any: unicorn's annotations are partial, and strict checking of the rest should stay useful.
unicorn: Any = import_module("unicorn")
arm: Any = import_module("unicorn.arm_const")
arm64: Any = import_module("unicorn.arm64_const")

STACK_BYTES = 1 << 20
PAGE = 4096

ACCESS = ((1, unicorn.UC_PROT_READ), (2, unicorn.UC_PROT_WRITE), (4, unicorn.UC_PROT_EXEC))
FAULT_KINDS = {
    unicorn.UC_MEM_READ_UNMAPPED: 0,
    unicorn.UC_MEM_READ_PROT: 0,
    unicorn.UC_MEM_WRITE_UNMAPPED: 1,
    unicorn.UC_MEM_WRITE_PROT: 1,
    unicorn.UC_MEM_FETCH_UNMAPPED: 2,
    unicorn.UC_MEM_FETCH_PROT: 2,
}


@dataclass(frozen=True)
class Isa:
    """How unicorn calls an instruction set, and how Linux programs of it call functions.

    The first arguments are in registers, the others on the stack, `word` bytes each; the first register also has the
    result. `setup` is written to registers before the first call. Calls return to a page below the stack. `thumb` is 1
    where the lowest bit of an address to go to says that the code there is Thumb code. `registers` are pages of the
    core's own registers that code may touch; nothing is behind them.
    """

    arch: int
    models: Mapping[str, int]
    word: int
    arguments: tuple[int, ...]
    stack_pointer: int
    link: int
    counter: int
    stack: int
    setup: Mapping[int, int] = field(default_factory=dict)
    mode: int = unicorn.UC_MODE_ARM
    thumb: int = 0
    registers: tuple[int, ...] = ()


ISAS = {
    "aarch64": Isa(
        unicorn.UC_ARCH_ARM64,
        {
            "cortex-a53": arm64.UC_CPU_ARM64_A53,
            "cortex-a57": arm64.UC_CPU_ARM64_A57,
            "cortex-a72": arm64.UC_CPU_ARM64_A72,
            "max": arm64.UC_CPU_ARM64_MAX,
        },
        8,
        tuple(getattr(arm64, f"UC_ARM64_REG_X{i}") for i in range(8)),
        arm64.UC_ARM64_REG_SP,
        arm64.UC_ARM64_REG_LR,
        arm64.UC_ARM64_REG_PC,
        stack=0x0F_0000_0000,
    ),
    "armv7": Isa(
        unicorn.UC_ARCH_ARM,
        {"cortex-a7": arm.UC_CPU_ARM_CORTEX_A7},
        4,
        tuple(getattr(arm, f"UC_ARM_REG_R{i}") for i in range(4)),
        arm.UC_ARM_REG_SP,
        arm.UC_ARM_REG_LR,
        arm.UC_ARM_REG_PC,
        stack=0x0F00_0000,
        # Linux lets programs use VFP and NEON: access to coprocessors 10 and 11 (CPACR), then the enable bit (FPEXC).
        setup={arm.UC_ARM_REG_C1_C0_2: 0xF << 20, arm.UC_ARM_REG_FPEXC: 1 << 30},
    ),
    # Unicorn lets a Cortex-M use floats whether or not its start-up code has run.
    "thumb": Isa(
        unicorn.UC_ARCH_ARM,
        {"cortex-m4": arm.UC_CPU_ARM_CORTEX_M4, "cortex-m33": arm.UC_CPU_ARM_CORTEX_M33},
        4,
        tuple(getattr(arm, f"UC_ARM_REG_R{i}") for i in range(4)),
        arm.UC_ARM_REG_SP,
        arm.UC_ARM_REG_LR,
        arm.UC_ARM_REG_PC,
        stack=0x3F00_0000,
        mode=unicorn.UC_MODE_THUMB | unicorn.UC_MODE_MCLASS,
        thumb=1,
        registers=(0xE000_1000, 0xE000_E000),  # the cycle counter, which stands still here, and system control
    ),
}


class Core:
    """One emulated core and its memory."""

    def __init__(self, isa: Isa, model: int, timeout_s: float) -> None:
        self.isa, self.returns_to = isa, isa.stack - 0x1_0000
        self.uc = unicorn.Uc(isa.arch, isa.mode)
        self.uc.ctl_set_cpu_model(model)
        for register, value in isa.setup.items():
            self.uc.reg_write(register, value)
        self.uc.mem_map(isa.stack, STACK_BYTES, unicorn.UC_PROT_READ | unicorn.UC_PROT_WRITE)
        self.uc.mem_map(self.returns_to, PAGE, unicorn.UC_PROT_READ | unicorn.UC_PROT_EXEC)
        for page in isa.registers:
            self.uc.mem_map(page, PAGE, unicorn.UC_PROT_READ | unicorn.UC_PROT_WRITE)
        self.uc.hook_add(unicorn.UC_HOOK_MEM_INVALID, self._invalid)
        self.timeout_s = timeout_s
        self.bad_access: tuple[int, int] | None = None
        self.watched = (0, 0)
        self.blocks: dict[tuple[int, int, int], int] = {}
        self.site, self.top = 0, isa.stack
        self.hook: Any = None

    def _invalid(self, _uc: Any, access: int, address: int, _size: int, _value: int, _data: object) -> bool:
        self.bad_access = (address, FAULT_KINDS[access])
        return False

    def _block(self, _uc: Any, address: int, size: int, _data: object) -> None:
        low, high = self.watched
        if low <= address < high:
            self.site = address + size  # where the last instruction of the block returns to, when it is a call
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
        # Arguments that are not given are zero, so that a run does not depend on the run before.
        words = [value % (1 << 8 * self.isa.word) for value in arguments]
        words += [0] * (wire.MAX_ARGUMENTS - len(words))
        for register, value in zip(self.isa.arguments, words, strict=False):
            self.uc.reg_write(register, value)
        on_stack = b"".join(value.to_bytes(self.isa.word, "little") for value in words[len(self.isa.arguments) :])
        top = self.isa.stack + STACK_BYTES - len(on_stack)
        self.uc.mem_write(top, on_stack)
        self.uc.reg_write(self.isa.stack_pointer, top)
        self.top = top
        self.uc.reg_write(self.isa.link, self.returns_to | self.isa.thumb)
        self.bad_access, self.blocks, self.site = None, {}, 0
        self._count_blocks(count)
        # The alarm ends this process, also when the caller is gone. (unicorn's own time-out costs 2 ms a call.)
        signal.setitimer(signal.ITIMER_REAL, self.timeout_s)
        try:
            self.uc.emu_start(address | self.isa.thumb, self.returns_to)
        except unicorn.UcError:
            bad, kind = self.bad_access or (0, wire.FAULTS.index("instruction"))
            return wire.FAULT, 0, wire.FAULT_ROW.pack(self.uc.reg_read(self.isa.counter), bad, kind)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        rows = b"".join(wire.ROW.pack(*key, executions) for key, executions in self.blocks.items())
        return wire.OK, self.uc.reg_read(self.isa.arguments[0]), rows

    def paint_stack(self) -> None:
        """Make every byte of the stack one that a call is unlikely to leave there."""
        self.uc.mem_write(self.isa.stack, bytes([wire.PAINT]) * STACK_BYTES)

    def used_stack(self) -> int:
        """Bytes between the stack pointer of the last call and the lowest byte that is painted no more."""
        stack = bytes(self.uc.mem_read(self.isa.stack, self.top - self.isa.stack))
        return len(stack.lstrip(bytes([wire.PAINT])))


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
            elif op == wire.STACK:
                if a:
                    core.paint_stack()
                answer(replies, wire.OK, 0 if a else core.used_stack())
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
    arch, name, timeout_s = sys.argv[1:]
    isa = ISAS[arch]
    model = isa.models.get(name)
    if model is None:
        answer(sys.stdout.buffer, wire.REFUSED, payload=f"unicorn has no core {name!r}".encode())
        return
    serve(Core(isa, model, float(timeout_s)), sys.stdin.buffer, sys.stdout.buffer)


if __name__ == "__main__":
    main()
