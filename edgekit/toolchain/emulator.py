"""The emulator: a library's own machine code on an emulated core, confined, with instructions counted exactly."""

from __future__ import annotations

import importlib.util
import sys

from edgekit.errors import ToolchainError
from edgekit.toolchain.machine import Machine


class Emulator(Machine):
    """Runs a library for `device` on unicorn, in a worker process.

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
        return [sys.executable, "-m", "edgekit.toolchain.unicorn_worker", self.core, str(self._timeout_s)]
