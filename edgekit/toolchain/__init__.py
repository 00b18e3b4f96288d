"""Compilers and emulators: find them, drive them, and say clearly what is missing."""

from edgekit.toolchain.cache import cache_dir
from edgekit.toolchain.compilers import (
    COMPILERS,
    Compiler,
    build_archive,
    build_executable,
    build_flags,
    build_object,
    build_shared,
    find_compiler,
    linux_header,
)
from edgekit.toolchain.device import Device
from edgekit.toolchain.doctor import Tool, doctor
from edgekit.toolchain.elf import Image, load_image
from edgekit.toolchain.emulator import Emulator, emulator_for
from edgekit.toolchain.firmware import Sizes, build_firmware, object_sizes
from edgekit.toolchain.machine import CallResult, CallSite, Machine
from edgekit.toolchain.qemu_system import QemuSystem
from edgekit.toolchain.qemu_user import QemuUser

__all__ = [
    "COMPILERS",
    "CallResult",
    "CallSite",
    "Compiler",
    "Device",
    "Emulator",
    "Image",
    "Machine",
    "QemuSystem",
    "QemuUser",
    "Sizes",
    "Tool",
    "build_archive",
    "build_executable",
    "build_firmware",
    "build_flags",
    "build_object",
    "build_shared",
    "cache_dir",
    "doctor",
    "emulator_for",
    "find_compiler",
    "linux_header",
    "load_image",
    "object_sizes",
]
