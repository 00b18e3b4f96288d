"""What the code of a Cortex-M program is made of: the instructions of a function and of all that it calls."""

from __future__ import annotations

import io
from dataclasses import dataclass
from itertools import pairwise

import capstone
from elftools.elf.elffile import ELFFile

from edgekit.toolchain import Image, load_image


@dataclass(frozen=True)
class Instruction:
    """One instruction, in the function that holds it."""

    function: str
    address: int
    mnemonic: str
    operands: str

    def __str__(self) -> str:
        return f"{self.function}: {self.mnemonic} {self.operands}"


def reachable(firmware: bytes, name: str) -> list[Instruction]:
    """The instructions of a function and of every function it may go to; an indirect call is an error."""
    image = load_image(firmware)
    code = _Code(firmware, image)
    found: list[Instruction] = []
    left, seen = [name], set()
    while left:
        function = left.pop()
        if function in seen:
            continue
        seen.add(function)
        for instruction in code.of(function):
            found.append(instruction)
            target = code.goes_to(instruction)
            if target is not None and target != function:
                left.append(target)
    return found


class _Code:
    def __init__(self, firmware: bytes, image: Image) -> None:
        self.image = image
        symbols = ELFFile(io.BytesIO(firmware)).get_section_by_name(".symtab").iter_symbols()
        marks = sorted((s["st_value"], s.name[:2]) for s in symbols if s.name[:2] in ("$t", "$d"))
        self.marks = marks
        self.decoder = capstone.Cs(capstone.CS_ARCH_ARM, capstone.CS_MODE_THUMB | capstone.CS_MODE_MCLASS)

    def of(self, name: str) -> list[Instruction]:
        """The instructions of a function, without the constants between them."""
        function = self.image.function(name)
        end = function.address + function.size
        inside = [(at, kind) for at, kind in self.marks if function.address <= at < end]
        before = [kind for at, kind in self.marks if at <= function.address]
        spans = [(function.address, before[-1]), *inside, (end, "")]
        out = []
        for (start, kind), (stop, _) in pairwise(spans):
            if kind != "$t" or start == stop:
                continue
            decoded = list(self.decoder.disasm_lite(self.image.code_at(start, stop - start), start))
            assert sum(size for _, size, *_ in decoded) == stop - start, f"{name}: not all of it is code"
            out += [Instruction(name, at, mnemonic, operands) for at, _, mnemonic, operands in decoded]
        return out

    def takes_a_place(self, name: str) -> bool:
        """Whether a function jumps into a loop of its own, at so many steps before its end: it adds to such a place."""
        function = self.image.function(name)
        end = function.address + function.size
        for i in self.of(name):
            if i.mnemonic.startswith("adr") or (i.mnemonic == "addw" and ", pc, " in i.operands):
                return function.address <= (i.address + 4 & ~3) + int(i.operands.rpartition("#")[2], 0) < end
        return False

    def goes_to(self, instruction: Instruction) -> str | None:
        """The function that a branch goes to; None for any other instruction, and for a return."""
        mnemonic, operands = instruction.mnemonic.removesuffix(".w"), instruction.operands
        if mnemonic == "bx" and operands != "lr" and self.takes_a_place(instruction.function):
            return None
        if mnemonic == "blx" or (mnemonic.startswith("bx") and operands != "lr"):
            raise AssertionError(f"{instruction} goes to where nobody knows")
        target = operands.rpartition("#")[2]
        if not mnemonic.startswith(("b", "cb")) or not target.startswith("0x") or mnemonic.startswith(("bic", "bf")):
            return None
        function = self.image.function_at(int(target, 16))
        assert function is not None, f"{instruction} leaves the program"
        return function.name
