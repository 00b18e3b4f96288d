"""Counters of energy in Intel's and AMD's processors (RAPL), as Linux's powercap shows them."""

from __future__ import annotations

from collections.abc import Sequence

from edgekit.profile.power.sensors import JOULES, Rail, Sensor, Tree

ZONES = ("/sys/class/powercap/intel-rapl:*", "/sys/class/powercap/intel-rapl-mmio:*")
COUNTS = 2**32  # of the register behind a zone: the range the driver prints is that many steps
UPDATE_S = 1e-3  # Intel, Software Developer's Manual, volume 3B, RAPL interfaces: about once a millisecond


def rapl(tree: Tree) -> Sensor | None:
    """Packages and the memory beside them; None where there is no counter.

    `core` and `uncore` are parts of a package, `psys` holds it, and `intel-rapl-mmio` is a package by another road:
    none of them may be added to it.
    """
    files, rails, seen = list[str](), list[Rail](), set[str]()
    for zone in [zone for pattern in ZONES for zone in tree.glob(pattern)]:
        name = tree.read(f"{zone}/name")
        parent, _, _ = zone.rpartition(":")
        is_memory = name == "dram" and parent.rpartition("/")[2].count(":") == 1
        name = f"{tree.read(f'{parent}/name')} dram" if is_memory else name
        if not (is_memory or name.startswith("package")) or name in seen:
            continue
        most = int(tree.read(f"{zone}/max_energy_range_uj"))
        seen.add(name)
        files.append(f"{zone}/energy_uj")
        rails.append(Rail(name, step=(most + 1) / COUNTS * 1e-6, wraps=(most + 1) * 1e-6))
    if not rails:
        return None
    return Sensor(
        name=f"RAPL {' + '.join(rail.name for rail in rails)}",
        family="rapl",
        unit=JOULES,
        rails=tuple(rails),
        parse=_joules,
        files=tuple(files),
        sees="processor packages" + (" and memory" if any(" dram" in rail.name for rail in rails) else ""),
        misses="the rest of the computer",
        update_s=UPDATE_S,
    )


def _joules(contents: Sequence[str]) -> tuple[float, ...]:
    return tuple(int(text) * 1e-6 for text in contents)
