"""The battery of a watch, a phone or a laptop: `/sys/class/power_supply` (the kernel's power_supply_class.rst)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from edgekit.profile.power.sensors import WATTS, Rail, Sensor, Tree

DISCHARGING = "Discharging"


def batteries(tree: Tree) -> list[Sensor]:
    """Every battery of the device itself; a reading is a ValueError unless it discharges: else the charger feeds it."""
    types = tree.glob("/sys/class/power_supply/*/type")
    folders = [path.removesuffix("/type") for path in types if tree.read(path) == "Battery"]
    return [_battery(tree, folder) for folder in folders if not _is_of_a_device(tree, folder)]


def _is_of_a_device(tree: Tree, folder: str) -> bool:
    """Whether a battery is that of a mouse or a keyboard."""
    return bool(tree.glob(f"{folder}/scope")) and tree.read(f"{folder}/scope") == "Device"


def _battery(tree: Tree, folder: str) -> Sensor:
    has_power = bool(tree.glob(f"{folder}/power_now"))
    readings = ("power_now",) if has_power else ("voltage_now", "current_now")
    files = tuple(f"{folder}/{name}" for name in ("status", *readings))
    return Sensor(
        name=f"battery {folder.rpartition('/')[2]}",
        family="supply",
        unit=WATTS,
        rails=(Rail("battery"),),
        parse=partial(_watts, has_power=has_power),
        files=files,
        sees="the whole device, its display and radios too",
    )


def _watts(contents: Sequence[str], *, has_power: bool) -> tuple[float, ...]:
    """Drivers disagree about the sign of a current, so the direction is that of `status`."""
    status, *readings = contents
    if status != DISCHARGING:
        raise ValueError(f"is {status.lower()}: its current is not that of the load")
    if has_power:
        return (abs(int(readings[0])) * 1e-6,)
    return (abs(int(readings[0]) * int(readings[1])) * 1e-12,)
