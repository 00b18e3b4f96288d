"""The emulator: a library's own machine code on an emulated core, confined, with instructions counted exactly."""

from __future__ import annotations

import importlib.util
import sys

from edgekit.errors import ToolchainError
from edgekit.toolchain.boards import BOARDS
from edgekit.toolchain.device import Device
from edgekit.toolchain.machine import Machine
from edgekit.toolchain.qemu_system import QemuSystem

_STAND_INS = {"cortex-a76": "max"}  # all of Armv8.2-A, which unicorn's A53, A57 and A72 do not have


class Emulator(Machine):
    """Runs a library for `device` on unicorn, in a worker process.

    A core that unicorn lacks is emulated by the nearest model that has its instructions; `core` names both.
    The library sees its own memory and what `alloc` gave out, and nothing of this computer: system calls are faults.
    A call that lasts longer than `timeout_s` is ended. Raises ToolchainError when unicorn is missing, or when the
    device has no emulated core.

        with Emulator(library, target) as emulator:
            x = emulator.alloc(24)
            result = emulator.call("ek_m_step", [x, …], watch="ek_m_step")
    """

    counts = True

    def _command(self) -> list[str]:
        if importlib.util.find_spec("unicorn") is None:
            raise ToolchainError("unicorn", "is not installed", 'pip install "edgekit[emulate]"')
        model = _STAND_INS.get(self.core, self.core)
        if model != self.core:
            self.core = f"{self.core} (model {model})"
        worker = "edgekit.toolchain.unicorn_worker"
        return [sys.executable, "-m", worker, self.device.arch, model, str(self._timeout_s)]


def emulator_for(device: Device) -> type[Machine]:
    """Return the machine that runs and counts programs for a device, confined: unicorn wherever it has the core."""
    board = BOARDS.get(device.emulated_core or "")
    return QemuSystem if board is not None and not board.unicorn else Emulator
