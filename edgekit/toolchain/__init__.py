"""Compilers and emulators: find them, drive them, and say clearly what is missing."""

from edgekit.toolchain.cache import cache_dir
from edgekit.toolchain.compilers import (
    COMPILERS,
    Compiler,
    build_executable,
    build_flags,
    build_shared,
    find_compiler,
)
from edgekit.toolchain.device import Device
from edgekit.toolchain.doctor import Tool, doctor
from edgekit.toolchain.elf import Image, load_image
from edgekit.toolchain.emulator import Emulator
from edgekit.toolchain.machine import CallResult, CallSite, Machine
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
    "QemuUser",
    "Tool",
    "build_executable",
    "build_flags",
    "build_shared",
    "cache_dir",
    "doctor",
    "find_compiler",
    "load_image",
]
