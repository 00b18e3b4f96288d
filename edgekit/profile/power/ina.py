"""Texas Instruments' current monitors as Linux shows them: INA3221 and INA238 of a Jetson, INA219 and its kin.

Layouts and units: Documentation/hwmon/ina3221.rst, ina238.rst and ina2xx.rst of the Linux kernel, its drivers, and
NVIDIA's ina3221x driver of L4T 32 (JetPack 4).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from edgekit.profile.power.sensors import WATTS, Rail, Sensor, Tree, total_rails, whole_number

HWMON = "/sys/class/hwmon/hwmon*/name"
# Releases differ in whether the driver's folder holds `iio:deviceN` or a link `iio_device` to it.
IIO = (
    "/sys/bus/i2c/drivers/ina3221x/*/iio:device*/rail_name_*",
    "/sys/bus/i2c/drivers/ina3221x/*/iio_device/rail_name_*",
)

# A rail that feeds all the others of a module, so that theirs are parts of it.
WHOLE = ("VDD_IN", "POM_5V_IN")
UNUSED = "NC"  # a channel that is wired to nothing
SHUNT_VOLT = 40e-6  # V, one step of the INA3221's current measurement across its shunt

# chip -> V of one step across the shunt and steps of current in one step of power: data sheets, ina2xx.c
CHIPS = {
    "ina219": (10e-6, 20),
    "ina220": (10e-6, 20),
    "ina226": (2.5e-6, 25),
    "ina230": (2.5e-6, 25),
    "ina231": (2.5e-6, 25),
}
INA260_STEP = 0.01  # W: its shunt is inside
OTHERS = ("ina238", "ina237", "ina228")  # what a step is depends on how the driver sets them up


def ina3221(tree: Tree) -> Sensor | None:
    """All INA3221 of a board as the mainline driver shows them (JetPack 5 and later); None where there is none."""
    files, rails, updates = list[str](), list[tuple[str, float | None]](), list[int]()
    off = list[str]()
    for folder in _chips(tree, ("ina3221",)):
        for current in tree.glob(f"{folder}/curr[1-3]_input"):
            channel = current.removesuffix("_input")[-1]
            volts = f"{folder}/in{channel}_input"
            label = _text(tree, f"{folder}/in{channel}_label") or f"channel {channel}"
            if not tree.glob(volts) or label in (UNUSED, "sum of shunt voltages"):
                continue
            if _text(tree, f"{folder}/in{channel}_enable") == "0":
                off.append(label)
                continue
            shunt = _text(tree, f"{folder}/shunt{channel}_resistor")
            ohms = whole_number(shunt) * 1e-6 if shunt else None
            at = _text(tree, volts)
            step = SHUNT_VOLT / ohms * whole_number(at) / 1000 if ohms and at else None
            files += [volts, current]
            rails.append((label, step))
        updates += [whole_number(text) for text in [_text(tree, f"{folder}/update_interval")] if text]
    return _jetson("ina3221", files, rails, _volts_amps, update_s=max(updates, default=0) / 1000 or None, off=off)


def ina3221_iio(tree: Tree) -> Sensor | None:
    """All INA3221 of a board as NVIDIA's own driver of JetPack 4 shows them; None where there is none."""
    files, rails, seen = list[str](), list[tuple[str, float | None]](), set[str]()
    for path in [path for pattern in IIO for path in tree.glob(pattern)]:
        folder, _, number = path.rpartition("/rail_name_")
        chip = folder.rpartition("/")[0]
        power, label = f"{folder}/in_power{number}_input", tree.read(path)
        if f"{chip} {number}" in seen or label == UNUSED or not tree.glob(power):
            continue
        seen.add(f"{chip} {number}")
        files.append(power)
        rails.append((label, None))
    return _jetson("iio", files, rails, _milliwatts)


def _jetson(
    family: str,
    files: Sequence[str],
    rails: Sequence[tuple[str, float | None]],
    parse: partial[tuple[float, ...]],
    *,
    update_s: float | None = None,
    off: Sequence[str] = (),
) -> Sensor | None:
    if not rails:
        return None
    names = [name for name, _ in rails]
    counted = total_rails(names, WHOLE)
    alone = next(
        (name for name, is_counted in zip(names, counted, strict=True) if is_counted and not all(counted)), None
    )
    return Sensor(
        name=f"INA3221 {alone or ' + '.join(names)}",
        family=family,
        unit=WATTS,
        rails=tuple(Rail(name, is_counted, step) for (name, step), is_counted in zip(rails, counted, strict=True)),
        parse=parse,
        files=tuple(files),
        sees=f"the module, at its input {alone}" if alone else "the rails it has channels on, added up",
        misses="the carrier board" if alone else "rails without a channel, the carrier board and losses of conversion",
        update_s=update_s,
        notes=tuple(f"channel {name} is switched off" for name in off),
    )


def ina2xx(tree: Tree) -> list[Sensor]:
    """Every INA219, 220, 226, 230, 231, 260, 228, 237 or 238, a sensor each: what one sees, its wiring tells."""
    found = []
    for folder in _chips(tree, (*CHIPS, "ina260", *OTHERS)):
        chip = tree.read(f"{folder}/name")
        files = (f"{folder}/in1_input", f"{folder}/power1_input")
        if not all(tree.glob(path) for path in files):
            continue
        update = _text(tree, f"{folder}/update_interval")
        is_jetson = chip == "ina238" and "jetson" in _text(tree, "/proc/device-tree/model").lower()
        label = _text(tree, f"{folder}/in1_label") or ("VIN" if is_jetson else folder.rpartition("/")[2])
        found.append(
            Sensor(
                name=f"{chip.upper()} {label}",
                family="ina238" if chip in OTHERS else "ina2xx",
                unit=WATTS,
                rails=(Rail(label, step=_step(tree, folder, chip)),),
                parse=_microwatts,
                files=files,
                sees="module and carrier board, at their input"
                if is_jetson
                else f"what is wired behind the {chip.upper()}",
                update_s=whole_number(update) / 1000 if update else None,
            )
        )
    return found


def _step(tree: Tree, folder: str, chip: str) -> float | None:
    if chip == "ina260":
        return INA260_STEP
    shunt = _text(tree, f"{folder}/shunt_resistor")
    if chip not in CHIPS or not shunt or whole_number(shunt) <= 0:
        return None
    volt, currents = CHIPS[chip]
    return currents * volt / (whole_number(shunt) * 1e-6)


def _chips(tree: Tree, names: Sequence[str]) -> list[str]:
    """Folders of hwmon devices of these names: their numbers change from one boot to the next."""
    return [path.removesuffix("/name") for path in tree.glob(HWMON) if _text(tree, path) in names]


def _text(tree: Tree, path: str) -> str:
    """A file that may be missing; one that is there and cannot be read is told of when the sensor is tried."""
    try:
        return tree.read(path)
    except OSError:
        return ""


def _scaled(kinds: str, contents: Sequence[str]) -> tuple[float, ...]:
    """Watts of each rail from `kinds` of texts that repeat: V in mV, A in mA, m in mW, u in µW after its mV.

    A supply of 0 V that feeds a running board is a chip that was reset.
    """
    if kinds == "m":
        return tuple(whole_number(text) / 1e3 for text in contents)
    pairs = list(zip(contents[::2], contents[1::2], strict=True))
    if any(whole_number(volts) == 0 for volts, _ in pairs):
        raise ValueError("reads a supply of 0 V")
    if kinds == "VA":
        return tuple(whole_number(volts) * whole_number(amps) / 1e6 for volts, amps in pairs)
    return tuple(whole_number(power) / 1e6 for _, power in pairs)


_volts_amps, _milliwatts, _microwatts = (partial(_scaled, kinds) for kinds in ("VA", "m", "Vu"))
