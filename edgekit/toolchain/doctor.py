"""What of the toolchain is here, and how to get the rest."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import MappingProxyType

from edgekit.toolchain import qemu_system
from edgekit.toolchain.compilers import CROSS_PREFIXES, is_native
from edgekit.toolchain.qemu_user import REMEDY as QEMU_REMEDY
from edgekit.toolchain.qemu_user import find_qemu, qemu_name

PACKAGES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        **{"zig": ("ziglang", "convert"), "torch": ("torch", "convert"), "unicorn": ("unicorn", "emulate")},
        **{"snntorch": ("snntorch", "snn"), "norse": ("norse", "norse")},
        **{"onnx": ("onnx", "onnx"), "onnxruntime": ("onnxruntime", "onnx")},
        **{"nir": ("nir", "nir"), "h5py": ("h5py", "nir")},
        **{"ai_edge_litert": ("ai_edge_litert.interpreter", "tflite"), "flatbuffers": ("flatbuffers", "tflite")},
    }
)
"""Optional packages: the module that is imported of each, and the extra that brings it."""
IMPORT_SECONDS = 60
# The child looks where this process does, and nowhere else: `-c` alone would put the working folder in front.
IMPORT = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); __import__(sys.argv[2])"


@dataclass(frozen=True)
class Tool:
    """One row of the report; `remedy` says how to get what is missing, and is empty when it is there."""

    tool: str
    version: str | None
    path: str | None
    ok: bool
    remedy: str


def doctor() -> list[Tool]:
    """Return what is installed of compilers, emulators and packages; a board needs none of them to run artifacts.

    A package is there when it can be imported, which is tried in a process of its own.
    """
    devices = ("aarch64", "armv7")
    cross = [CROSS_PREFIXES[arch] for arch in (*devices, "thumb") if not is_native(arch)]
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        packages = dict(zip(PACKAGES, pool.map(_package, PACKAGES), strict=True))
    return [
        packages.pop("zig"),
        _program("gcc", shutil.which("gcc"), "apt install gcc"),
        _program("clang", shutil.which("clang"), "apt install clang"),
        *(_program(f"{prefix}-gcc", shutil.which(f"{prefix}-gcc"), f"apt install gcc-{prefix}") for prefix in cross),
        packages.pop("unicorn"),
        *(_program(qemu_name(arch), find_qemu(arch), QEMU_REMEDY) for arch in devices),
        _program(qemu_system.QEMU, qemu_system.find_qemu_system(), qemu_system.REMEDY),
        *packages.values(),
    ]


def _package(tool: str) -> Tool:
    module, extra = PACKAGES[tool]
    package = module.partition(".")[0]
    spec = importlib.util.find_spec(package)
    if spec is None:
        return Tool(tool, None, None, ok=False, remedy=f'pip install "edgekit[{extra}]"')
    try:
        version = importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        version = None
    if why := _import_fault(module):
        remedy = f'installed, does not import ({why}); pip install --force-reinstall "edgekit[{extra}]"'
        return Tool(tool, version, spec.origin, ok=False, remedy=remedy)
    return Tool(tool, version, spec.origin, ok=True, remedy="")


def _import_fault(module: str) -> str | None:
    """Why a module cannot be imported in a fresh process; None where it can."""
    command = [sys.executable, "-c", IMPORT, json.dumps(sys.path), module]
    try:
        done = subprocess.run(command, capture_output=True, timeout=IMPORT_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return f"not within {IMPORT_SECONDS} s"
    except OSError as error:
        return str(error)
    if done.returncode == 0:
        return None
    last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
    return last[0][:200] if last else f"Python ended with {done.returncode}"


def _program(tool: str, path: str | None, remedy: str) -> Tool:
    if path is None:
        return Tool(tool, None, None, ok=False, remedy=remedy)
    try:
        result = subprocess.run([path, "--version"], capture_output=True, timeout=30, check=True, text=True)
    except (OSError, subprocess.SubprocessError) as error:
        return Tool(tool, None, path, ok=False, remedy=f"it does not run ({error}); install it again")
    return Tool(tool, result.stdout.splitlines()[0], path, ok=True, remedy="")
