"""Compilers: find one, and build libc-free C for a device.

Every flag that can change a float is the same for all compilers: no contraction into fma, no fast-math.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from edgekit.errors import ToolchainError
from edgekit.toolchain import cache
from edgekit.toolchain.device import Device
from edgekit.toolchain.elf import load_image

COMPILERS = ("zig", "gcc", "clang")
TIMEOUT_S = 300.0
MAX_DIAGNOSTICS = 8

_COMPILE = (
    "-std=c99",
    "-O2",
    "-g0",
    "-ffp-contract=off",
    "-fno-math-errno",
    # The program is libc-free: no calls to memset or memcpy in place of loops, no stack guard.
    "-ffreestanding",
    "-fno-builtin",
    "-fno-stack-protector",
    "-fno-asynchronous-unwind-tables",
    "-fno-unwind-tables",
    "-fomit-frame-pointer",
)
_SHARED = (
    "-fPIC",
    "-shared",
    "-nostdlib",
    "-fno-semantic-interposition",
    # Calls between exported functions stay inside the library; whatever is undefined is an error now, not on the board.
    "-Wl,-Bsymbolic",
    "-Wl,-z,defs",
    "-Wl,--build-id=none",
)
_EXECUTABLE = ("-static", "-nostdlib", "-fno-pie", "-no-pie", "-Wl,-e,_start", "-Wl,--build-id=none")
# Sections of their own let the linker of whoever uses the object leave out what nothing calls.
_OBJECT = ("-c", "-ffunction-sections", "-fdata-sections")
_OWN = {"gcc": ("-fno-tree-loop-distribute-patterns",)}  # gcc makes memset of loops in spite of -fno-builtin
# What zig takes from the triple. Not Thumb on armv7: there all instructions have four bytes.
_TRIPLE = {
    "armv7": ("-marm", "-mfpu=neon-vfpv4", "-mfloat-abi=hard"),
    "thumb": ("-mthumb", "-mfloat-abi=hard"),
}
_GCC_CORES = {"carmel": "-march=armv8.2-a+fp16+crypto"}  # a core that gcc does not know by name
# The floating-point unit of each core; of the Cortex-M55 gcc knows it from the core.
_GCC_FPUS = {"cortex-m4": ("-mfpu=fpv4-sp-d16",), "cortex-m33": ("-mfpu=fpv5-sp-d16",)}
# The prefix of Debian's cross compilers, and where `uname -m` has a name of its own.
CROSS_PREFIXES = {
    "x86_64": "x86_64-linux-gnu",
    "aarch64": "aarch64-linux-gnu",
    "armv7": "arm-linux-gnueabihf",
    "thumb": "arm-none-eabi",
}
_UNAME = {"armv7": "armv7l"}


@dataclass(frozen=True)
class Compiler:
    """A compiler that is there: `name` is zig, gcc or clang, `command` its argument list, `version` what it says."""

    name: str
    command: tuple[str, ...]
    version: str

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


def find_compiler(device: Device, name: str | None = None) -> Compiler:
    """Return the compiler called `name`, or the first of zig, gcc, clang that is there and builds for `device`.

    Raises ToolchainError that says how to install one.
    """
    if name is not None and name not in COMPILERS:
        raise ToolchainError(f"compiler {name!r}", "is not known", f"known are {', '.join(COMPILERS)}")
    for candidate in (name,) if name else COMPILERS:
        command = _command(candidate, device.arch)
        if command:
            return Compiler(candidate, command, _version(command))
    raise ToolchainError(
        f"compiler {name}" if name else "compilers",
        f"none is installed that builds for {device.arch}",
        'pip install "edgekit[convert]" brings zig',
    )


def build_flags(device: Device, compiler: Compiler) -> tuple[str, ...]:
    """Return the flags that decide the code of a library for `device`, without those of the link."""
    if compiler.name == "zig":
        machine: tuple[str, ...] = ("-target", device.triple, f"-mcpu={device.cpu}")
    else:
        option = "-march" if device.arch == "x86_64" else "-mcpu"
        name = device.cpu.partition("+")[0].replace("_", "-")  # what zig has to be told of an option, gcc knows
        core = f"{option}={name}"
        if compiler.name == "gcc":
            core = _GCC_CORES.get(device.cpu, core)
        machine = (core, *_TRIPLE.get(device.arch, ()), *_GCC_FPUS.get(name, ()))
    return (*machine, *_COMPILE, *_OWN.get(compiler.name, ()), *device.cflags)


def build_shared(
    c_files: Mapping[str, bytes | str],
    main_source: str,
    device: Device,
    *,
    compiler: str | None = None,
    extra_flags: Sequence[str] = (),
) -> bytes:
    """Return a shared library that needs no other, built from `c_files`; the same input gives the same bytes.

    `c_files` maps paths below the C folder (`ek_m.c`, `ek/linear.h`) to contents, `main_source` names the one that is
    compiled. Symbols are kept (they are not loaded), debug information is not. What was built before comes from the
    cache. Raises ToolchainError with the first diagnostics, or with the undefined symbols.
    """
    if device.arch == "thumb":
        raise ToolchainError(f"target {device.name!r}", "has no shared libraries", "build firmware for it")
    found = find_compiler(device, compiler)
    flags = (*build_flags(device, found), *_SHARED, *extra_flags)
    library = built(c_files, (main_source,), found, flags)
    load_image(library)  # raises when the library needs a loader or another library
    return library


def build_executable(
    c_files: Mapping[str, bytes | str],
    main_source: str,
    device: Device,
    *,
    compiler: str | None = None,
    extra_flags: Sequence[str] = (),
) -> bytes:
    """Return a static program without libc whose entry point is `_start`; otherwise as `build_shared`."""
    found = find_compiler(device, compiler)
    return built(c_files, (main_source,), found, (*build_flags(device, found), *_EXECUTABLE, *extra_flags))


def linux_header() -> dict[str, bytes]:
    """The header with which such programs of this computer, AArch64 or 32-bit Arm call Linux, by its name."""
    return {"linux.h": (Path(__file__).parent / "runner" / "linux.h").read_bytes()}


def build_object(
    c_files: Mapping[str, bytes | str],
    main_source: str,
    device: Device,
    *,
    compiler: str | None = None,
    extra_flags: Sequence[str] = (),
) -> bytes:
    """Return a relocatable object, each function and each constant in a section of its own; otherwise as
    `build_shared`, but for names that it leaves undefined.
    """
    found = find_compiler(device, compiler)
    return built(c_files, (main_source,), found, (*build_flags(device, found), *_OBJECT, *extra_flags))


def build_archive(objects: Mapping[str, bytes], device: Device, *, compiler: str | None = None) -> bytes:
    """Return a static library of `objects` (name.o to bytes) with an index of their symbols and without dates."""
    found = find_compiler(device, compiler)
    program = found.command[0]
    command = (program, "ar") if found.name == "zig" else (re.sub(r"(gcc|clang)(?=[^/]*$)", "ar", program),)
    return _built(objects, tuple(sorted(objects)), str(found), [*command, "rcsD", "program"])


def built(files: Mapping[str, bytes | str], inputs: Sequence[str], compiler: Compiler, flags: Sequence[str]) -> bytes:
    """Return what the compiler makes of `inputs`, which are among `files`."""
    return _built(files, inputs, str(compiler), [*compiler.command, *flags, "-I", ".", "-o", "program"])


def _built(files: Mapping[str, bytes | str], inputs: Sequence[str], tool: str, command: Sequence[str]) -> bytes:
    for name in inputs:
        if name not in files:
            raise ToolchainError(f"source {name!r}", "is not among the files", items=sorted(files))
    parts: list[bytes | str] = [tool, *command[1:], *inputs]
    for name in sorted(files):
        parts += [name, files[name]]
    key = cache.content_key(*parts)
    made = cache.load(key)
    if made is None:
        with tempfile.TemporaryDirectory(prefix="edgekit-") as folder:
            _write(files, Path(folder))
            # Relative names and a fixed output name: no trace of the folder ends up in the library.
            _run([*command, *inputs], folder, inputs[0])
            made = (Path(folder) / "program").read_bytes()
        cache.store(key, made)
    return made


def _write(files: Mapping[str, bytes | str], folder: Path) -> None:
    for name, contents in files.items():
        if not re.fullmatch(r"(?:[A-Za-z0-9_-]+/)*[A-Za-z0-9_-]+\.(?:c|h|ld|o)", name):
            raise ToolchainError(f"source {name!r}", "is not a relative path of a C file")
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(contents.encode() if isinstance(contents, str) else contents)


def _run(command: Sequence[str], folder: str, main: str) -> None:
    caches = {"ZIG_GLOBAL_CACHE_DIR", "ZIG_LOCAL_CACHE_DIR"} - set(os.environ)
    environment = os.environ | dict.fromkeys(caches, str(cache.cache_dir() / "zig")) | {"LC_ALL": "C"}
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    # A session of its own, so that a time-out or Ctrl-C ends the compiler's children too.
    with subprocess.Popen(command, cwd=folder, env=environment, start_new_session=True, **pipes) as process:  # type: ignore[call-overload]
        try:
            output, _ = process.communicate(timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired as error:
            raise ToolchainError(f"compiling {main}", f"took more than {TIMEOUT_S:.0f} s") from error
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    if process.returncode:
        lines = output.decode("utf-8", "replace").splitlines()
        faults = [line for line in lines if re.search(r"error|undefined|will not fit|overflowed", line)] or lines
        raise ToolchainError(f"compiling {main}", "failed", f"{command[0]} says:", faults[:MAX_DIAGNOSTICS])


def _command(name: str, arch: str) -> tuple[str, ...]:
    """The argument list that starts the compiler called `name` for `arch`; empty when it is not there."""
    if name == "zig":
        package = importlib.util.find_spec("ziglang")
        bundled = Path(package.origin).with_name("zig") if package and package.origin else None
        path = str(bundled) if bundled and bundled.is_file() else shutil.which("zig")
        return (path, "cc") if path else ()
    native = is_native(arch)
    if not native and name == "clang":
        return ()  # a foreign clang also needs a foreign linker; gcc's cross packages come complete
    path = shutil.which(name if native else f"{CROSS_PREFIXES[arch]}-{name}")
    return (path,) if path else ()


def is_native(arch: str) -> bool:
    """Whether this computer's own compilers build for `arch`."""
    return platform.machine() == _UNAME.get(arch, arch)


@lru_cache
def _version(command: tuple[str, ...]) -> str:
    """The version a compiler prints; the whole first line of it names builds that differ."""
    argument = ("version",) if command[1:] == ("cc",) else ("--version",)
    try:
        result = subprocess.run([command[0], *argument], capture_output=True, timeout=60, check=True, text=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise ToolchainError(command[0], f"does not run ({error})") from error
    return (result.stdout.splitlines() or ["unknown"])[0].strip()
