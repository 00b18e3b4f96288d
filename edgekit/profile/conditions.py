"""What a measurement was taken under: clocks and their governor, temperatures, throttling, load, and a share of cores.

Read from the files in which Linux says so, through a function that reads files at the place itself. Sources of the
layouts: the kernel's documentation of cpufreq, thermal, hwmon and control groups; for `get_throttled` that of
`vcgencmd` by Raspberry Pi.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

ReadFiles = Callable[[Sequence[str]], Mapping[str, str]]

MOST = 16  # of each numbered thing that is looked for
_CPU, _THERMAL, _HWMON = "/sys/devices/system/cpu", "/sys/class/thermal", "/sys/class/hwmon"
_POLICIES = [f"{_CPU}/cpufreq/policy{n}" for n in range(MOST)]
_ZONES = [f"{_THERMAL}/thermal_zone{n}" for n in range(MOST)]
_COOLERS = [f"{_THERMAL}/cooling_device{n}" for n in range(MOST)]
_OVERCURRENT = [f"{_HWMON}/hwmon{n}/oc{k}_event_cnt" for n in range(MOST) for k in (1, 2, 3)]
_COUNTERS = [f"{_CPU}/cpu0/thermal_throttle/{kind}_throttle_count" for kind in ("core", "package")]
_FIRMWARE = "/sys/devices/platform/soc/soc:firmware/get_throttled"
_BOOST = (f"{_CPU}/cpufreq/boost", f"{_CPU}/intel_pstate/no_turbo")
_PLAIN = (
    "/proc/loadavg",
    "/proc/self/cgroup",
    f"{_CPU}/online",
    "/proc/device-tree/model",
    "/proc/sys/kernel/osrelease",
)
FILES = (
    *(
        f"{policy}/{name}"
        for policy in _POLICIES
        for name in ("scaling_governor", "scaling_cur_freq", "scaling_max_freq")
    ),
    *(f"{zone}/{name}" for zone in _ZONES for name in ("type", "temp")),
    *(f"{cooler}/{name}" for cooler in _COOLERS for name in ("type", "cur_state")),
    *_OVERCURRENT,
    *_COUNTERS,
    _FIRMWARE,
    *_BOOST,
    *_PLAIN,
)
# Bits of the Raspberry Pi's firmware: now, and since it was started.
_NOW = {0: "too low a voltage", 1: "a capped frequency", 2: "throttling", 3: "the soft limit of temperature"}
_SINCE = 16


@dataclass(frozen=True)
class Conditions:
    """What the system told, empty or None where it told nothing.

    `governors` and `frequencies_khz` are by cpufreq policy, `temperatures_c` by thermal zone, `cooling` the state of
    each device that cools or caps, `throttled` counters that only rise, by what throttles. `warnings` are those of a
    Raspberry Pi's firmware. `quota_cpus` is how many cores a control group allows. `load` is that of the last minute.
    """

    model: str | None = None
    kernel: str | None = None
    online: str | None = None
    load: float | None = None
    governors: Mapping[str, str] = field(default_factory=dict)
    frequencies_khz: Mapping[str, int] = field(default_factory=dict)
    most_khz: Mapping[str, int] = field(default_factory=dict)
    boost: bool | None = None
    temperatures_c: Mapping[str, float] = field(default_factory=dict)
    cooling: Mapping[str, int] = field(default_factory=dict)
    throttled: Mapping[str, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    quota_cpus: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def files_below(root: str | Path = "/") -> ReadFiles:
    """A function that reads files below a folder, which stands for `/`; what cannot be read is left out."""

    def read(paths: Sequence[str]) -> dict[str, str]:
        found = {}
        for path in paths:
            try:
                found[path] = (Path(root) / path.lstrip("/")).read_text(encoding="utf-8", errors="replace")
            except OSError:  # this system does not tell
                continue
        return found

    return read


def read_conditions(read: ReadFiles) -> Conditions:
    """Look now; `read` gives the contents of those of some files that are there."""
    found = {path: text.strip().strip("\0") for path, text in read(FILES).items()}
    group = found.get("/proc/self/cgroup", "")
    limits = read(_group_files(group)) if group else {}
    throttled = _throttled(found)
    periods = _throttled_periods(limits)
    if periods is not None:
        throttled["control group"] = periods
    named = ((zone, found.get(f"{zone}/type", Path(zone).name)) for zone in _ZONES)
    coolers = ((cooler, found.get(f"{cooler}/type", Path(cooler).name)) for cooler in _COOLERS)
    load = found.get("/proc/loadavg", "").split()
    return Conditions(
        model=found.get("/proc/device-tree/model"),
        kernel=found.get("/proc/sys/kernel/osrelease"),
        online=found.get(f"{_CPU}/online"),
        load=float(load[0]) if load and _is_number(load[0]) else None,
        governors={Path(p).name: found[f"{p}/scaling_governor"] for p in _POLICIES if f"{p}/scaling_governor" in found},
        frequencies_khz=_integers(found, {Path(p).name: f"{p}/scaling_cur_freq" for p in _POLICIES}),
        most_khz=_integers(found, {Path(p).name: f"{p}/scaling_max_freq" for p in _POLICIES}),
        boost=_boost(found),
        temperatures_c={
            name: milli / 1000
            for name, milli in _integers(found, _distinct((kind, f"{zone}/temp") for zone, kind in named)).items()
        },
        cooling=_integers(found, _distinct((kind, f"{cooler}/cur_state") for cooler, kind in coolers)),
        throttled=throttled,
        warnings=_warnings(found.get(_FIRMWARE, "")),
        quota_cpus=_quota(limits),
    )


def changes(before: Conditions, after: Conditions) -> tuple[str, ...]:
    """What a reader has to know of the time between: throttling, and frequencies that moved."""
    said = []
    for name, count in after.throttled.items():
        so_far = before.throttled.get(name, count)
        if count > so_far:
            said.append(f"throttled by {name}: {count - so_far} times")
    for name, state in after.cooling.items():
        was = before.cooling.get(name, state)
        if state != was:
            said.append(f"cooling device {name} went from state {was} to {state}")
    for name, khz in after.frequencies_khz.items():
        was = before.frequencies_khz.get(name, khz)
        if was and abs(khz - was) > 0.02 * was:
            said.append(f"clock of {name} went from {was / 1e6:.2f} GHz to {khz / 1e6:.2f} GHz")
    said += [f"the board warns of {warning}" for warning in after.warnings]
    return tuple(said)


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _integers(found: Mapping[str, str], files: Mapping[str, str]) -> dict[str, int]:
    """The number in each of the files that hold one."""
    texts = {name: found.get(path, "") for name, path in files.items()}
    return {name: int(text) for name, text in texts.items() if re.fullmatch(r"-?[0-9]{1,18}", text)}


def _distinct(rows: Any) -> dict[str, str]:
    """A dict of rows whose names may repeat: the second `x` becomes `x 2`."""
    made: dict[str, str] = {}
    for name, value in rows:
        known, n = name, 1
        while known in made:
            n += 1
            known = f"{name} {n}"
        made[known] = value
    return made


def _throttled(found: Mapping[str, str]) -> dict[str, int]:
    files = {f"{kind} temperature": path for kind, path in zip(("core", "package"), _COUNTERS, strict=True)}
    files |= {f"over-current {'/'.join(Path(p).parts[-2:])}": p for p in _OVERCURRENT}
    return _integers(found, files)


def _boost(found: Mapping[str, str]) -> bool | None:
    boost, no_turbo = (found.get(path) for path in _BOOST)
    if boost in ("0", "1"):
        return boost == "1"
    return None if no_turbo not in ("0", "1") else no_turbo == "0"


def _warnings(text: str) -> tuple[str, ...]:
    try:
        bits = int(text, 16) if text else 0
    except ValueError:
        return ()
    now = [f"{what}, now" for bit, what in _NOW.items() if bits >> bit & 1]
    since = [f"{what}, since it was started" for bit, what in _NOW.items() if bits >> (bit + _SINCE) & 1]
    return (*now, *since)


def _group_files(group: str) -> list[str]:
    """The files with limits of a process's control groups and of those above them, in both versions of the layout."""
    files = []
    for line in group.splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and "cpu" not in controllers.split(","):
            continue
        base = Path("/sys/fs/cgroup") / ("cpu" if controllers else "")
        names = ("cpu.cfs_quota_us", "cpu.cfs_period_us", "cpu.stat") if controllers else ("cpu.max", "cpu.stat")
        inner = base / path.lstrip("/")
        for folder in (inner, *inner.parents):
            if folder.is_relative_to(base):
                files += [str(folder / name) for name in names]
    return files


def _quota(limits: Mapping[str, str]) -> float | None:
    """The least share of cores that any of the control groups allows."""
    shares = []
    for path, text in limits.items():
        quota, period = "", ""
        if path.endswith("cpu.max"):
            quota, _, period = text.strip().partition(" ")
        elif path.endswith("cpu.cfs_quota_us"):
            quota, period = text.strip(), limits.get(path.replace("quota", "period"), "").strip()
        if quota.isdecimal() and period.isdecimal() and int(period):
            shares.append(int(quota) / int(period))
    return min(shares, default=None)


def _throttled_periods(limits: Mapping[str, str]) -> int | None:
    counts = [
        int(line.split()[1])
        for path, text in limits.items()
        if path.endswith("cpu.stat")
        for line in text.splitlines()
        if line.startswith("nr_throttled ") and line.split()[1].isdecimal()
    ]
    return max(counts, default=None)
