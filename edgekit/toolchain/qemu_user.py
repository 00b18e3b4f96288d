"""A second, independent emulator: the same library through qemu's user mode and a small program without libc."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from edgekit.errors import ToolchainError
from edgekit.toolchain.compilers import build_executable, linux_header
from edgekit.toolchain.device import Device
from edgekit.toolchain.machine import Machine

REMEDY = "apt install qemu-user-static"


class QemuUser(Machine):
    """Runs a library for `device` on qemu-user; the calls are those of `Emulator`, without instruction counts.

    qemu's user mode passes system calls on: it is no confinement. Give it only libraries that were built here, never
    one from an artifact that is not trusted. Raises ToolchainError when qemu is not installed.
    """

    def __init__(self, library: bytes, device: Device, *, timeout_s: float = 60.0) -> None:
        with tempfile.TemporaryDirectory(prefix="edgekit-") as folder:
            self._runner = Path(folder) / "runner"
            super().__init__(library, device, timeout_s=timeout_s)

    def _command(self) -> list[str]:
        qemu = find_qemu(self.device.arch)
        if qemu is None:
            raise ToolchainError(f"{qemu_name(self.device.arch)}-static", "is not installed", REMEDY)
        self._runner.write_bytes(_build_runner(self.device))
        self._runner.chmod(0o700)
        return [qemu, "-cpu", self.core, str(self._runner)]


def find_qemu(arch: str) -> str | None:
    """Return the path of qemu's user-mode emulator for `arch`."""
    return shutil.which(f"{qemu_name(arch)}-static") or shutil.which(qemu_name(arch))


def qemu_name(arch: str) -> str:
    """Return what qemu calls its user-mode emulator for `arch`."""
    return f"qemu-{'arm' if arch == 'armv7' else arch}"


def _build_runner(device: Device) -> bytes:
    sources = linux_header() | {"runner.c": (Path(__file__).parent / "runner" / "runner.c").read_bytes()}
    return build_executable(sources, "runner.c", device, extra_flags=("-Wall", "-Wextra", "-Werror"))
