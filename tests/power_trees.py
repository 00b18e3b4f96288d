"""Trees of files laid out as Linux documents them for power sensors that cannot be here, and a process that works them.

Nothing below is a recording of hardware: names, units, permissions and example figures are those of the kernel's
Documentation/hwmon/{ina3221,ina238,ina2xx}.rst, power/powercap/powercap.rst and power/power_supply_class.rst, of the
ina3221x driver of JetPack 4, and the form of a line of `vcgencmd pmic_read_adc`. `Work` starts a process of its own
that advances the counters along a power that is known exactly, so that a measurement can be held against the truth.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from time import monotonic, sleep

HWMON = "sys/class/hwmon"
POWERCAP = "sys/class/powercap"
RAPL_RANGE = 65_532_610_987  # µJ: 2^32 steps of 15.3 µJ


@dataclass(frozen=True)
class Plan:
    """Power over time, W: idle, a run with a wave of `swing` on it, idle; times in seconds of CLOCK_MONOTONIC."""

    start: float
    busy: float
    quiet: float
    end: float
    idle: float = 2.0
    load: float = 3.0
    swing: float = 1.0
    hertz: float = 23.0

    def joules(self, t: float) -> float:
        """Energy from the start to `t`."""
        inside = min(max(t, self.busy), self.quiet) - self.busy
        w = 2 * math.pi * self.hertz
        return self.idle * (t - self.start) + self.load * inside + self.swing * (1 - math.cos(w * inside)) / w

    def watts(self, t: float) -> float:
        """Power at `t`."""
        if not self.busy <= t < self.quiet:
            return self.idle
        return self.idle + self.load + self.swing * math.sin(2 * math.pi * self.hertz * (t - self.busy))


def plan(*, run: float = 1.6, idle: float = 0.8, **power: float) -> Plan:
    """A plan that begins soon; the wave comes to whole periods in a run of 0.8 s or 1.6 s."""
    start = monotonic() + 0.25
    return Plan(start, start + idle, start + idle + run, start + 2 * idle + run, **power)


def files(root: Path, folder: str, texts: dict[str, object]) -> Path:
    """Write a folder of one-line files."""
    where = root / folder
    where.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        put(where / name, text)
    return where


def put(path: Path, text: object) -> None:
    """Replace a file in one go: a reader sees the old text or the new one, as with a sensor."""
    aside = path.with_name(f".{path.name}")
    aside.write_text(f"{text}\n")
    aside.replace(path)


def ina3221(
    root: Path, number: int, labels: tuple[str, str, str], *, shunt: int = 5000, volts: int = 5000, amps: int = 400
) -> Path:
    """Documentation/hwmon/ina3221.rst, with the sum of shunt voltages that it adds as a seventh channel."""
    texts: dict[str, object] = {"name": "ina3221", "update_interval": 7, "samples": 1}
    for i, label in enumerate(labels, 1):
        texts |= {f"in{i}_label": label, f"in{i}_input": volts, f"in{i}_enable": 1}
        texts |= {f"curr{i}_input": amps // i, f"shunt{i}_resistor": shunt, f"in{i + 3}_input": amps // i * 5}
    texts |= {"in7_label": "sum of shunt voltages", "in7_input": 8080, "curr4_input": 1640}
    return files(root, f"{HWMON}/hwmon{number}", texts)


def iio(
    root: Path, address: str, labels: tuple[str, str, str], milliwatts: tuple[int, int, int] = (2000, 300, 500)
) -> Path:
    """NVIDIA's ina3221x driver of JetPack 4."""
    texts: dict[str, object] = {}
    for i, (label, power) in enumerate(zip(labels, milliwatts, strict=True)):
        texts |= {f"rail_name_{i}": label, f"in_power{i}_input": power, f"in_voltage{i}_input": 5000}
        texts |= {f"in_current{i}_input": power // 5, f"crit_current_limit_{i}": "5000 ma"}
    return files(root, f"sys/bus/i2c/drivers/ina3221x/{address}/iio:device{address[-1]}", texts)


def ina2xx(root: Path, number: int, chip: str, *, shunt: int | None = 10_000, microwatts: int = 1_500_000) -> Path:
    """Documentation/hwmon/ina2xx.rst and ina238.rst."""
    texts: dict[str, object] = {"name": chip, "in0_input": 3, "in1_input": 5000, "curr1_input": 300}
    texts |= {"power1_input": microwatts} | ({} if shunt is None else {"shunt_resistor": shunt})
    return files(root, f"{HWMON}/hwmon{number}", texts)


def rapl(root: Path, energy: int = 5_000_000) -> Path:
    """Documentation/power/powercap/powercap.rst: a package, its parts, memory, the platform, the package by MMIO."""
    zones = {
        "intel-rapl:0": "package-0",
        "intel-rapl:0:0": "core",
        "intel-rapl:0:1": "uncore",
        "intel-rapl:0:2": "dram",
        "intel-rapl:1": "psys",
        "intel-rapl-mmio:0": "package-0",
    }
    for zone, name in zones.items():
        texts = {"name": name, "energy_uj": energy, "max_energy_range_uj": RAPL_RANGE, "enabled": 1}
        files(root, f"{POWERCAP}/{zone}", texts)
    return root / POWERCAP / "intel-rapl:0"


def battery(root: Path, name: str = "BAT0", **texts: object) -> Path:
    """Documentation/power/power_supply_class.rst."""
    here = {"type": "Battery", "status": "Discharging", "voltage_now": 3_800_000, "current_now": -120_000}
    return files(root, f"sys/class/power_supply/{name}", here | texts)


PMIC = """ 3V7_WL_SW_A current(0)=0.10247270A
   3V3_SYS_A current(1)=0.10832820A
  VDD_CORE_A current(7)={amps:.8f}A
 3V7_WL_SW_V volt(8)=3.71091200V
   3V3_SYS_V volt(9)=3.30910500V
  VDD_CORE_V volt(15)=0.90000000V
     EXT5V_V volt(24)=5.05716000V
      BATT_V volt(25)=0.00000000V
"""


def raspberry_pi_5(
    root: Path, model: str = "Raspberry Pi 5 Model B Rev 1.0", *, answer: str | None = None, code: int = 0
) -> Path:
    """The model as the device tree has it, and a `vcgencmd` that prints what a file holds."""
    files(root, "proc/device-tree", {"model": f"{model}\0"})
    shown = root / "pmic.txt"
    shown.write_text(PMIC.format(amps=1.0) if answer is None else answer)
    folder = root / "usr/bin"
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "vcgencmd"
    program.write_text(f'#!/bin/sh\n[ "$1" = pmic_read_adc ] || exit 9\ncat "{shown}"\nexit {code}\n')
    program.chmod(0o755)
    return shown


class Work:
    """A process that advances the files of a sensor along a plan, until it is stopped or the plan ends."""

    def __init__(self, kind: str, where: Path, plan: Plan, *, at: int = 0) -> None:
        given = json.dumps({"kind": kind, "where": str(where), "plan": asdict(plan), "at": at})
        self.process = subprocess.Popen([sys.executable, "-S", "-E", __file__, given])

    def __enter__(self) -> Work:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End it where it is: the files stay as they are."""
        self.process.kill()
        self.process.wait()


def wait_until(t: float) -> None:
    """Sleep until a time of CLOCK_MONOTONIC."""
    sleep(max(0.0, t - monotonic()))


def work(kind: str, where: Path, plan: Plan, at: int) -> None:
    """What the process does: a counter in µJ that begins `at`, the first channel of an INA3221, or an INA226."""
    while (now := monotonic()) < plan.end + 0.5:
        if kind == "rapl":
            put(where / "energy_uj", (at + round(plan.joules(now) * 1e6)) % (RAPL_RANGE + 1))
        elif kind == "ina3221":
            # 5 V, and steps of 8 mA: 40 µV across a shunt of 5 mΩ
            put(where / "curr1_input", 8 * round(plan.watts(now) / 5 * 1000 / 8))
        else:
            put(where / "power1_input", 6250 * round(plan.watts(now) * 1e6 / 6250))
        sleep(0.001)


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    work(given["kind"], Path(given["where"]), Plan(**given["plan"]), given["at"])
