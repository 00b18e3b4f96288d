"""Which sensors a computer has, and what to grant where one may not be read."""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgekit.profile.power.ina import ina2xx, ina3221, ina3221_iio
from edgekit.profile.power.pmic import pmic
from edgekit.profile.power.rapl import rapl
from edgekit.profile.power.sensors import LocalTree, Sensor, Tree
from edgekit.profile.power.supply import batteries

VIDEO = "sudo usermod -aG video $USER, then log in again (vcgencmd opens /dev/vcio, of the group video)"


def _one(find: Callable[[Tree], Sensor | None]) -> Callable[[Tree], list[Sensor]]:
    return lambda tree: [sensor for sensor in [find(tree)] if sensor]


# family -> how its sensors are found, those that see most of a board first
FAMILIES: dict[str, Callable[[Tree], Sequence[Sensor]]] = {
    "ina238": lambda tree: [sensor for sensor in ina2xx(tree) if sensor.family == "ina238"],
    "ina3221": _one(ina3221),
    "iio": _one(ina3221_iio),
    "pmic": _one(pmic),
    "ina2xx": lambda tree: [sensor for sensor in ina2xx(tree) if sensor.family == "ina2xx"],
    "rapl": _one(rapl),
    "supply": batteries,
}


@dataclass(frozen=True)
class Refused:
    """A sensor that is there and cannot be used: why, and the command that grants it ('' where none helps)."""

    name: str
    why: str
    grant: str = ""


@dataclass(frozen=True)
class Found:
    """The sensors of a computer that can be read, best first, and those that cannot."""

    sensors: tuple[Sensor, ...]
    refused: tuple[Refused, ...]


def find_sensors(tree: Tree | None = None, families: Sequence[str] = tuple(FAMILIES)) -> Found:
    """Look for sensors, and read each once: what is found can be read."""
    tree = tree or LocalTree()
    sensors, refused = list[Sensor](), list[Refused]()
    for family in families:
        try:
            there = FAMILIES[family](tree)
        except (OSError, ValueError) as error:
            is_closed = family == "pmic" and isinstance(error, OSError) and not isinstance(error, TimeoutError)
            refused.append(Refused(family, _why(error), VIDEO if is_closed else ""))
            continue
        for sensor in there:
            try:
                sensor.parse(sensor.read(tree))
            except PermissionError:
                refused.append(Refused(sensor.name, "may not be read", _grant(tree, sensor)))
            except (OSError, ValueError) as error:
                refused.append(Refused(sensor.name, _why(error)))
            else:
                sensors.append(sensor)
    return Found(tuple(sensors), tuple(refused))


def _grant(tree: Tree, sensor: Sensor) -> str:
    """The command that lets everybody read the files of a sensor, and for RAPL what lasts beyond a reboot."""
    closed = []
    for path in sensor.files:
        try:
            tree.read(path)
        except OSError as error:
            closed += [path] if error.errno in (errno.EACCES, errno.EPERM) else []
    command = f"sudo chmod a+r {' '.join(closed)}"
    if sensor.family != "rapl":
        return command
    rule = 'SUBSYSTEM=="powercap", ACTION=="add", RUN+="/bin/chmod a+r /sys%p/energy_uj"'
    return (
        f"{command} until the next boot, or for good a file /etc/udev/rules.d/90-rapl.rules with {rule}"
        " (others on this computer can then read the counter too, which CVE-2020-8694 exploits)"
    )


def _why(error: OSError | ValueError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
