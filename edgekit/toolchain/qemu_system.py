"""Firmware on an emulated board: qemu boots the ELF from reset, then its functions are called one by one."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from edgekit.errors import ToolchainError
from edgekit.toolchain.boards import board_of
from edgekit.toolchain.device import Device
from edgekit.toolchain.machine import Machine

QEMU = "qemu-system-arm"
REMEDY = f"apt install {QEMU}"


class QemuSystem(Machine):
    """Runs firmware for a Cortex-M `device` on qemu's emulated board, with the calls of `Emulator`.

    The ELF's own start-up code and main run first; what they get wrong (a floating-point unit that is not switched on)
    fails here. The board has no way to this computer: no semihosting, no network, no ports. Instructions are counted
    exactly, from qemu's log of each. Writes to constants and overruns of buffers are no faults: boards have no pages.

    Raises ToolchainError when qemu is not installed, or when the firmware does not come to the end of its main.
    """

    counts = True

    def __init__(self, library: bytes, device: Device, *, timeout_s: float = 60.0) -> None:
        board = board_of(device)
        self._machine_name = board.machine
        with tempfile.TemporaryDirectory(prefix="edgekit-") as folder:
            self._elf = Path(folder) / "firmware.elf"
            self._elf.write_bytes(library)
            super().__init__(library, device, timeout_s=timeout_s, heap=(board.heap, board.heap_bytes))

    def _command(self) -> list[str]:
        qemu = find_qemu_system()
        if qemu is None:
            raise ToolchainError(QEMU, f"is not installed; {self.core} needs it", REMEDY)
        worker = "edgekit.toolchain.qemu_worker"
        return [sys.executable, "-m", worker, qemu, self._machine_name, str(self._elf), str(self._timeout_s)]

    def _place(self) -> None:
        """Nothing is left to do: qemu has loaded the segments, and the start-up code has filled the memory."""


def find_qemu_system() -> str | None:
    """Return the path of qemu's emulator of Arm boards."""
    return shutil.which(QEMU)
