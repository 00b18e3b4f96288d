"""Targets: what a device is, read from `targets/<name>.toml`; every figure carries the source it was taken from."""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from edgekit.errors import TargetError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

HOST = "host"
EXPORTS = frozenset({"onnx", "tflite"})  # formats that a target may want beside its library
ALIASES = {"jetson": "jetson-orin-nano", "smartwatch": "smartwatch-m33"}

# Values that describe the device rather than how to build for it; each needs an entry in [sources].
FIGURES = (
    "features",
    "cores",
    "clock_hz",
    "ram_bytes",
    "flash_bytes",
    "l1d_bytes",
    "l2_bytes",
    "l3_bytes",
    "memory_bytes_per_s",
)

# Figures of [power] that time and energy are estimated with, each a range; each needs an entry in [power.sources].
POWER_FIGURES = ("cycles_per_instruction", "joules_per_cycle", "core_watts", "idle_watts")

# What the compiler assumes under `-mcpu=x86_64_v3` and `_v4` (the psABI micro-architecture levels), as Linux names it.
X86_64_V3 = frozenset({"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave"})
X86_64_V4 = X86_64_V3 | {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}
VNNI = "avx512_vnni"  # sums of products of bytes, for which there is a flag of its own
# What it assumes of a Cortex-A7 and of a Cortex-A76, which the cores that came after them have too.
ARMV7 = frozenset({"vfpv4", "neon", "idiva"})
CORTEX_A76 = frozenset(
    {"fp", "asimd", "aes", "pmull", "sha1", "sha2", "crc32"}  # Armv8.0-A, the crypto extension
    | {"atomics", "fphp", "asimdhp", "asimdrdm", "lrcpc", "asimddp"}  # up to Armv8.4-A
)
# What a Cortex-M may have: the DSP extension, floats in hardware by their bits, vectors of integers and of floats.
CORTEX_M = frozenset({"dsp", "fp16", "fp32", "fp64", "mve", "mve-fp"})

# architecture -> instruction sets there are kernels for, each a superset of those before it
SIMDS = {
    "x86_64": ("portable", "avx2", "avx512", "vnni"),
    "aarch64": ("portable", "neon"),
    "armv7": ("portable", "neon32"),
    "thumb": ("portable", "dsp", "mve"),
}
# architecture -> features that a target may name, as Linux names them in /proc/cpuinfo where there is a Linux
FEATURES = {
    "x86_64": X86_64_V4 | {VNNI},
    "aarch64": CORTEX_A76,
    "armv7": ARMV7 | {"vfpd32", "lpae"},
    "thumb": CORTEX_M,
}


@dataclass(frozen=True)
class Range:
    """A figure as sources have it: the least, the one to expect, the most."""

    low: float
    typical: float
    high: float


@dataclass(frozen=True)
class Power:
    """What time and energy are estimated with where no device is at hand; a figure that nobody has sourced is None.

    `joules_per_cycle` is of a microcontroller while it computes. `core_watts` is what one busy core adds to an idle
    board, `idle_watts` what that board takes. `conditions` are those that the figures hold under.
    """

    cycles_per_instruction: Range | None = None
    joules_per_cycle: Range | None = None
    core_watts: Range | None = None
    idle_watts: Range | None = None
    conditions: str = ""
    sources: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Target:
    """One device that programs are built for.

    `triple` and `cpu` are spelled as zig wants them (`aarch64-linux-gnu.2.31`, `cortex_a72`); sizes are in bytes,
    clocks in Hz. `memory_bytes_per_s` is the peak of all cores together; `l1d_bytes`, `l2_bytes` and `l3_bytes` are
    what one core has or shares. A figure that nobody has sourced is None: gaps stay gaps. `sources` maps each figure
    to its source. `ldflags` are of the link alone. `also` are further machines that a program is built for beside the
    first, by a name that goes into the artifact; `exports` further formats. `grade` says how far a target was tried.
    """

    name: str
    description: str
    arch: str
    triple: str
    cpu: str
    simd: str
    alignment: int
    features: tuple[str, ...] = ()
    cflags: tuple[str, ...] = ()
    ldflags: tuple[str, ...] = ()
    emulated_core: str | None = None
    exports: tuple[str, ...] = ()
    grade: str | None = None
    cores: int | None = None
    clock_hz: int | None = None
    ram_bytes: int | None = None
    flash_bytes: int | None = None
    l1d_bytes: int | None = None
    l2_bytes: int | None = None
    l3_bytes: int | None = None
    memory_bytes_per_s: int | None = None
    sources: Mapping[str, str] = field(default_factory=dict)
    power: Power = field(default_factory=Power)
    also: Mapping[str, Target] = field(default_factory=dict)

    @property
    def is_host(self) -> bool:
        return self.name == HOST

    @property
    def is_bare(self) -> bool:
        """Whether programs run without an operating system: a Cortex-M."""
        return self.arch == "thumb"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain JSON values, lists for tuples."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        values["power"] = asdict(self.power)
        values["also"] = {name: target.to_dict() for name, target in self.also.items()}
        return {k: list(v) if isinstance(v, tuple) else dict(v) if k == "sources" else v for k, v in values.items()}


def list_targets() -> list[str]:
    """Return the names that `load_target` accepts, `host` first."""
    return [HOST, *sorted(path.stem for path in _target_dir().glob("*.toml"))]


def load_target(name: str) -> Target:
    """Return the target called `name`, or one of the aliases; `host` is this machine, looked at now.

    Raises TargetError when there is no such target, when its file breaks a rule, or when `host` is unsupported.
    """
    real = ALIASES.get(name, name)
    if real == HOST:
        return _host()
    if real not in list_targets():
        alias = f" (alias of {real})" if real != name else ""
        raise TargetError(f"target {name!r}{alias}", "is not known", "known targets:", list_targets())
    path = _target_dir() / f"{real}.toml"
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise TargetError(str(path), f"is not TOML: {error}") from error
    return target_from_table(table, where=str(path), name=real)


def target_from_table(table: Mapping[str, Any], *, where: str, name: str) -> Target:
    """Return the target that the TOML `table` describes; `where` is how messages call it.

    Raises TargetError that lists every unknown, missing, ill-typed or unsourced key at once.
    """
    faults = [f"unknown key {key!r}" for key in table if key not in _RULES]
    for key, (check, wanted, required) in _RULES.items():
        if key not in table:
            faults += [f"missing key {key!r}"] if required else []
        elif not check(table[key]):
            faults.append(f"{key} must be {wanted}, not {table[key]!r}")
    if not faults:
        sources = table.get("sources", {})
        faults += [f"{key} has no entry in [sources]" for key in FIGURES if key in table and key not in sources]
        faults += [f"[sources] names {key!r}, which is not a figure here" for key in sources if key not in table]
        arch, features = table["arch"], table.get("features", ())
        if table["simd"] not in SIMDS[arch]:
            faults.append(f"simd on {arch} must be one of {', '.join(SIMDS[arch])}, not {table['simd']!r}")
        faults += [f"feature {f!r} is not known for {arch}" for f in features if f not in FEATURES[arch]]
        faults += _power_faults(table.get("power", {}))
        faults += [f"name is {table['name']!r}, the file is {name}.toml"] if table["name"] != name else []
    if faults:
        raise TargetError(where, "does not describe a target", "mend the file", faults)
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in table.items()}
    also = {key: _beside(key, part, where, name) for key, part in table.get("also", {}).items()}
    return Target(**(values | {"also": also, "power": _power(table.get("power", {}))}))


def _power_faults(power: Mapping[str, Any]) -> list[str]:
    """What breaks a rule of [power]."""
    known = (*POWER_FIGURES, "conditions", "sources")
    faults = [f"unknown key 'power.{key}'" for key in power if key not in known]
    wanted = "three rising positive numbers: low, typical, high"
    faults += [
        f"power.{key} must be {wanted}, not {power[key]!r}" for key in POWER_FIGURES if not _is_range(power.get(key))
    ]
    if not isinstance(power.get("conditions", ""), str):
        faults.append(f"power.conditions must be a text, not {power['conditions']!r}")
    sources = power.get("sources", {})
    if not _are_texts(sources):
        return [*faults, f"power.sources must be a table of texts, not {sources!r}"]
    faults += [
        f"power.{key} has no entry in [power.sources]" for key in POWER_FIGURES if key in power and key not in sources
    ]
    return faults + [
        f"[power.sources] names {key!r}, which is not a figure here" for key in sources if key not in power
    ]


def _power(power: Mapping[str, Any]) -> Power:
    ranges = {key: Range(*map(float, power[key])) for key in POWER_FIGURES if key in power}
    return Power(**ranges, conditions=power.get("conditions", ""), sources=dict(power.get("sources", {})))


def _beside(key: str, table: Mapping[str, Any], where: str, name: str) -> Target:
    """A further machine of a target: a target of its own in all but its name, which joins the two."""
    return target_from_table({**table, "name": f"{name}-{key}"}, where=f"{where}: also.{key}", name=f"{name}-{key}")


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(_is_text(item) for item in value)


def _are_texts(value: object) -> bool:
    return isinstance(value, dict) and all(map(_is_text, value.values()))


def _is_range(value: object) -> bool:
    """Whether a figure of [power] is one, or is not there."""
    if value is None:
        return True
    numbers = value if isinstance(value, list) else []
    is_number = all(isinstance(n, int | float) and not isinstance(n, bool) and n > 0 for n in numbers)
    return len(numbers) == 3 and is_number and numbers == sorted(numbers) and numbers[-1] < float("inf")


def _are_tables(value: object) -> bool:
    return isinstance(value, dict) and all(k in SIMDS and isinstance(v, dict) for k, v in value.items())


# key -> (check, what the message says, required)
_RULES: dict[str, tuple[Callable[[Any], bool], str, bool]] = {
    "name": (lambda v: _is_text(v) and re.fullmatch(r"[a-z0-9-]+", v) is not None, "lower case, digits and -", True),
    "description": (_is_text, "a text", True),
    "arch": (lambda v: _is_text(v) and v in SIMDS, f"one of {', '.join(SIMDS)}", True),
    "triple": (_is_text, "a zig target triple", True),
    "cpu": (_is_text, "a zig cpu name", True),
    "simd": (_is_text, "a text", True),
    "alignment": (lambda v: _is_count(v) and v & (v - 1) == 0, "a power of two, bytes", True),
    "features": (_is_texts, "a list of texts", False),
    "cflags": (_is_texts, "a list of texts", False),
    "ldflags": (_is_texts, "a list of texts", False),
    "exports": (lambda v: _is_texts(v) and set(v) <= EXPORTS, f"a list of {', '.join(sorted(EXPORTS))}", False),
    "grade": (_is_text, "a text", False),
    "also": (_are_tables, "a table of targets, each named like an architecture", False),
    "emulated_core": (_is_text, "a core name", False),
    "cores": (_is_count, "a positive integer", False),
    "clock_hz": (_is_count, "a positive integer, Hz", False),
    "ram_bytes": (_is_count, "a positive integer, bytes", False),
    "flash_bytes": (_is_count, "a positive integer, bytes", False),
    "l1d_bytes": (_is_count, "a positive integer, bytes", False),
    "l2_bytes": (_is_count, "a positive integer, bytes", False),
    "l3_bytes": (_is_count, "a positive integer, bytes", False),
    "memory_bytes_per_s": (_is_count, "a positive integer, bytes a second", False),
    "sources": (_are_texts, "a table of texts", False),
    "power": (lambda v: isinstance(v, dict), "a table", False),
}


def firmware_files() -> dict[str, bytes]:
    """Return what firmware of a Cortex-M is made of beside a program: start-up code and linker scripts, by name."""
    return {path.name: path.read_bytes() for path in sorted((_target_dir() / "cortex-m").iterdir())}


def _target_dir() -> Path:
    """`edgekit/_targets` in an installed wheel, `targets/` beside the package in a checkout."""
    package = Path(__file__).parent
    installed = package / "_targets"
    return installed if installed.is_dir() else package.parent / "targets"


def _host() -> Target:
    arch = _arch()
    if platform.system() != "Linux" or arch not in SIMDS:
        raise TargetError(
            "target 'host'",
            f"{platform.system()} on {platform.machine()} is not supported",
            f"use Linux on one of {', '.join(SIMDS)}, or name a target and run it with --on emulator",
        )
    features = _cpu_features()
    cflags: tuple[str, ...] = ()
    if arch == "armv7":
        # A 64-bit kernel names the features of 64-bit programs; its cores have those of Armv7 too.
        if not (features >= ARMV7 or "asimd" in features):
            raise TargetError(
                "target 'host'",
                "this 32-bit Arm core lacks NEON, VFPv4 or integer division",
                "name a target and run it with --on emulator",
            )
        triple, cpu, simd = "arm-linux-musleabihf", "cortex_a7", "neon32"
    elif arch == "aarch64":
        triple, cpu, simd = "aarch64-linux-gnu.2.31", "cortex_a76", "neon"
        if not features >= CORTEX_A76:
            # Programs for a generic core have no dot products, so weights must not be packed for them either.
            cpu, features = "generic", features - {"asimddp"}
    elif features >= X86_64_V4 | {VNNI}:
        triple, cpu, simd, cflags = "x86_64-linux-gnu.2.17", "x86_64_v4", "vnni", ("-mavx512vnni",)
    elif features >= X86_64_V4:
        triple, cpu, simd = "x86_64-linux-gnu.2.17", "x86_64_v4", "avx512"
    elif features >= X86_64_V3:
        triple, cpu, simd = "x86_64-linux-gnu.2.17", "x86_64_v3", "avx2"
    else:
        triple, cpu, simd = "x86_64-linux-gnu.2.17", "x86_64", "portable"
    clock_hz = _max_clock_hz()
    sources = {"features": "/proc/cpuinfo", "cores": "os.cpu_count", "ram_bytes": "sysconf"}
    return Target(
        name=HOST,
        description=f"this machine: {arch}, {simd}",
        arch=arch,
        triple=triple,
        cpu=cpu,
        simd=simd,
        alignment=64,
        features=tuple(sorted(features & FEATURES[arch])),
        cflags=cflags,
        cores=os.cpu_count(),
        clock_hz=clock_hz,
        ram_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        sources=sources | ({"clock_hz": str(_MAX_CLOCK)} if clock_hz else {}),
    )


def _arch() -> str:
    """The architecture of this Python, by edgekit's name; a kernel of 64 bits may run programs of 32."""
    names = {"AMD64": "x86_64", "arm64": "aarch64", "armv7l": "armv7", "armv8l": "armv7"}
    arch = names.get(platform.machine(), platform.machine())
    return "armv7" if arch == "aarch64" and sys.maxsize < 2**32 else arch


_MAX_CLOCK = Path("/sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq")


def _max_clock_hz() -> int | None:
    try:
        return int(_MAX_CLOCK.read_text()) * 1000
    except (OSError, ValueError):
        return None


def _cpu_features() -> frozenset[str]:
    """The feature words that Linux prints for the first core (`flags` on x86, `Features` on Arm)."""
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    found = re.search(r"^(?:flags|Features)\s*:(.*)$", text, re.MULTILINE)
    return frozenset(found.group(1).split()) if found else frozenset()
