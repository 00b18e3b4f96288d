"""Boards that emulate Cortex-M cores: linker scripts, their names in qemu, and memory beside that of a program."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edgekit.errors import ToolchainError
from edgekit.toolchain.device import Device


@dataclass(frozen=True)
class Board:
    """`machine` is the board's name in qemu and of its linker script; `heap` and `heap_bytes` lie outside the program.

    `unicorn`: whether unicorn has a model of the core.
    """

    machine: str
    heap: int
    heap_bytes: int
    unicorn: bool

    @property
    def script(self) -> str:
        return f"{self.machine}.ld"


# by emulated core; qemu-system-arm says where a board's memories are (`info mtree`)
BOARDS: Mapping[str, Board] = {
    "cortex-m4": Board("mps2-an386", 0x2100_0000, 16 << 20, unicorn=True),
    "cortex-m33": Board("mps2-an505", 0x8000_0000, 16 << 20, unicorn=True),
    "cortex-m55": Board("mps3-an547", 0x7200_0000, 16 << 20, unicorn=False),
}


def board_of(device: Device) -> Board:
    """Return the board that stands in for a Cortex-M device; ToolchainError when none does."""
    board = BOARDS.get(device.emulated_core or "")
    if board is None:
        raise ToolchainError(
            f"target {device.name!r}", "has no emulated board", f"emulated cores are {', '.join(BOARDS)}"
        )
    return board
