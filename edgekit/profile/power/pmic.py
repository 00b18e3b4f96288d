"""The power management chip of a Raspberry Pi 5, which the firmware reads: `vcgencmd pmic_read_adc`."""

from __future__ import annotations

import re
from collections.abc import Sequence

from edgekit.profile.power.sensors import PROGRAMS, WATTS, Rail, Sensor, Tree

# The boards that have this chip; the firmware of others answers with an error.
MODELS = re.compile(r"Raspberry Pi (5|500|Compute Module 5)\b")
LINE = re.compile(r"^\s*(\S+)_([AV])\s+(?:current|volt)\(\d+\)=(-?[0-9.]+)[AV]\s*$", re.MULTILINE)


def pmic(tree: Tree) -> Sensor | None:
    """The sensor, where this is such a board with `vcgencmd` on it; OSError when the command cannot be run.

    ValueError when the firmware answers with something else.
    """
    try:
        model = tree.read("/proc/device-tree/model")
    except OSError:
        return None
    programs = [path for folder in PROGRAMS for path in tree.glob(f"{folder}/vcgencmd")]
    if not MODELS.search(model) or not programs:
        return None
    command = (programs[0], "pmic_read_adc")
    names = tuple(_rails(tree.run(command)))

    def parse(contents: Sequence[str]) -> tuple[float, ...]:
        rails = _rails(contents[0])
        if tuple(rails) != names:
            raise ValueError(f"tells of other rails than before: {', '.join(rails)}")
        return tuple(rails.values())

    return Sensor(
        name="Raspberry Pi 5 PMIC",
        family="pmic",
        unit=WATTS,
        rails=tuple(map(Rail, names)),
        parse=parse,
        command=command,
        sees="the rails behind the power management chip, added up",
        misses="what hangs on the 5 V input itself (USB, fan, HATs) and losses of conversion",
        most_hz=10.0,  # every reading starts a process and asks the firmware
    )


def _rails(text: str) -> dict[str, float]:
    """Watts of each rail that has a voltage and a current; EXT5V and BATT have no current."""
    found: dict[str, dict[str, float]] = {}
    for name, unit, value in LINE.findall(text):
        found.setdefault(name, {})[unit] = float(value)
    rails = {name: both["V"] * both["A"] for name, both in found.items() if len(both) == 2}
    if not rails:
        raise ValueError(f"is no reading of the chip: {text.strip()[:80]!r}")
    return rails
