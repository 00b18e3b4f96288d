"""What of the toolchain is here, and how to get the rest."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import shutil
import subprocess
from dataclasses import dataclass

from edgekit.toolchain import qemu_system
from edgekit.toolchain.compilers import CROSS_PREFIXES, is_native
from edgekit.toolchain.qemu_user import REMEDY as QEMU_REMEDY
from edgekit.toolchain.qemu_user import find_qemu, qemu_name

FORMATS = {"onnx": "onnx", "onnxruntime": "onnx", "nir": "nir", "h5py": "nir", "ai_edge_litert": "tflite"}
"""What reads, writes and runs files of other formats, and the extra that brings it."""


@dataclass(frozen=True)
class Tool:
    """One row of the report; `remedy` says how to get what is missing, and is empty when it is there."""

    tool: str
    version: str | None
    path: str | None
    ok: bool
    remedy: str


def doctor() -> list[Tool]:
    """Return what is installed of compilers, emulators and readers of formats; a board needs none to run artifacts."""
    devices = ("aarch64", "armv7")
    cross = [CROSS_PREFIXES[arch] for arch in (*devices, "thumb") if not is_native(arch)]
    return [
        _package("zig", "ziglang", 'pip install "edgekit[convert]"'),
        _program("gcc", shutil.which("gcc"), "apt install gcc"),
        _program("clang", shutil.which("clang"), "apt install clang"),
        *(_program(f"{prefix}-gcc", shutil.which(f"{prefix}-gcc"), f"apt install gcc-{prefix}") for prefix in cross),
        _package("unicorn", "unicorn", 'pip install "edgekit[emulate]"'),
        *(_program(qemu_name(arch), find_qemu(arch), QEMU_REMEDY) for arch in devices),
        _program(qemu_system.QEMU, qemu_system.find_qemu_system(), qemu_system.REMEDY),
        *(_package(name, name, f'pip install "edgekit[{extra}]"') for name, extra in FORMATS.items()),
    ]


def _package(tool: str, module: str, remedy: str) -> Tool:
    spec = importlib.util.find_spec(module)
    if spec is None:
        return Tool(tool, None, None, ok=False, remedy=remedy)
    return Tool(tool, importlib.metadata.version(module), spec.origin, ok=True, remedy="")


def _program(tool: str, path: str | None, remedy: str) -> Tool:
    if path is None:
        return Tool(tool, None, None, ok=False, remedy=remedy)
    try:
        result = subprocess.run([path, "--version"], capture_output=True, timeout=30, check=True, text=True)
    except (OSError, subprocess.SubprocessError) as error:
        return Tool(tool, None, path, ok=False, remedy=f"it does not run ({error}); install it again")
    return Tool(tool, result.stdout.splitlines()[0], path, ok=True, remedy="")
