"""Firmware of a Cortex-M: an object, start-up code and a linker script become an ELF that runs from reset."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

from edgekit.errors import ToolchainError
from edgekit.toolchain.boards import board_of
from edgekit.toolchain.compilers import build_flags, built, find_compiler
from edgekit.toolchain.device import Device
from edgekit.toolchain.elf import load_image, sections_of

STARTUP, IDLE = "startup.c", "idle.c"
_LINK = (
    "-static",
    "-nostdlib",
    "-Wl,-e,Reset",
    "-Wl,--build-id=none",
    "-Wl,-z,max-page-size=4096",
    "-Wl,--no-gc-sections",  # zig asks for it: nothing would be left of the model
)


def build_firmware(
    model: bytes,
    support: Mapping[str, bytes | str],
    device: Device,
    *,
    main: str = IDLE,
    compiler: str | None = None,
) -> bytes:
    """Return the ELF for the board that emulates `device`: the object `model`, start-up code, and a main function.

    `support` holds the start-up code, the linker scripts, and the source `main` with what it includes. Every function
    of the model is kept. Raises ToolchainError with the first diagnostics: undefined symbols, or a full memory.
    """
    found = find_compiler(device, compiler)
    script = board_of(device).script
    flags = (*build_flags(device, found), "-Wall", "-Wextra", "-Werror", *_LINK, f"-Wl,-T,{script}")
    firmware = built({**support, "model.o": model}, (STARTUP, main, "model.o"), found, flags)
    load_image(firmware)  # raises when an emulator could not place it
    return firmware


@dataclass(frozen=True)
class Sizes:
    """Bytes of an object: `code` and `constants` lie in flash, `data` in flash and RAM, `zeros` in RAM."""

    code: int
    constants: int
    data: int
    zeros: int

    @property
    def flash(self) -> int:
        return self.code + self.constants + self.data

    @property
    def ram(self) -> int:
        return self.data + self.zeros


def object_sizes(relocatable: bytes) -> Sizes:
    """Return what the sections of a relocatable object hold; ToolchainError when it is none."""
    totals = {"code": 0, "constants": 0, "data": 0, "zeros": 0}
    try:
        for section in sections_of(relocatable):
            if section.stored and section.loaded:
                totals["code" if section.code else "data" if section.writable else "constants"] += section.size
            elif section.loaded and not section.stored:
                totals["zeros"] += section.size
    except struct.error as error:
        raise ToolchainError("object", f"is malformed ({error})") from error
    return Sizes(**totals)
