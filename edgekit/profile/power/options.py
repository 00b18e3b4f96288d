"""`--power`: where figures of power come from."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from edgekit.errors import UsageError
from edgekit.profile.power.energy import EnergyResult, Marks, Span, energy_of
from edgekit.profile.power.find import FAMILIES, Found, find_sensors
from edgekit.profile.power.meters import QUANTITIES, read_meter
from edgekit.profile.power.sensors import LocalTree, Tree

AUTO, NONE, CSV, SYSFS = "auto", "none", "csv", "sysfs"
KNOWN = (
    "auto: the best sensor that there is",
    "none",
    "csv:FILE[,steps=N][,volts=V][,run=START:END][,idle=START:END][,time=TITLE:UNIT][,current=…][,voltage=…][,power=…]:"
    " a meter's file, times in seconds from its first reading",
    "sysfs:FOLDER: sensors below a folder that is laid out like /, with a /sys",
    *(f"{name}: that kind of sensor" for name in FAMILIES),
)
CSV_OPTION = re.compile(r"(?P<file>.+?)(?P<rest>(,[a-z]+=[^,]*)*)")
IDLE_WINDOWS = 2


@dataclass(frozen=True)
class PowerOption:
    """A `--power` that was understood: `kind` is auto, none, csv, sysfs or a family of sensors.

    Of a CSV file how many `steps` were done in the run, `volts`, the titles of `columns`, and the windows `run` and
    `idle` in seconds from its first reading.
    """

    kind: str
    path: Path | None = None
    steps: int | None = None
    volts: float | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    run: Span | None = None
    idle: tuple[Span, ...] = ()

    @property
    def tree(self) -> LocalTree:
        """The files of this computer that its sensors are looked for in."""
        return LocalTree(self.path) if self.kind == SYSFS and self.path else LocalTree()

    def file_energy(self) -> EnergyResult:
        """Energy of the run in the CSV file, the whole of it unless windows were given.

        DataError when the file is malformed, UsageError when the option names none or its windows are not in order.
        """
        if self.kind != CSV or self.path is None:
            raise UsageError(f"--power {self.kind}", "names no file", "give csv:FILE")
        trace = read_meter(self.path, volts=self.volts, columns=self.columns)
        first, last = float(trace.t[0]), float(trace.t[-1])
        run = self._span(self.run, first, last) if self.run else (first, last)
        idles = [self._span(span, first, last) for span in self.idle]
        before = [span for span in idles if span[1] <= run[0]]
        after = [span for span in idles if span[0] >= run[1]]
        if len(before) + len(after) < len(idles) or len(before) > 1 or len(after) > 1:
            raise UsageError(
                "--power csv: idle", "is one window before the run, one after it, or both", "mend the times"
            )
        return energy_of(trace, Marks(run, *before[:1] or (None,), *after[:1] or (None,)), self.steps)

    def _span(self, span: Span, first: float, last: float) -> Span:
        if first + span[1] > last + 1e-9:
            cause = f"ends at {span[1]:g} s, the file at {last - first:g} s"
            raise UsageError(f"--power csv: window {span[0]:g}:{span[1]:g}", cause, "give one inside the file")
        return first + span[0], min(first + span[1], last)


def parse_power_option(text: str) -> PowerOption:
    """Understand a `--power`; UsageError with the list of what there is when it is none of it."""
    kind, _, rest = text.partition(":")
    if kind == CSV and rest:
        return _csv(text, rest)
    if kind == SYSFS and rest:
        return PowerOption(SYSFS, Path(rest))
    if text in (AUTO, NONE, *FAMILIES):
        return PowerOption(text)
    raise UsageError(f"--power {text}", "is not known", "known are:", KNOWN)


def choose_sensor(option: PowerOption, tree: Tree | None = None) -> Found:
    """Look for the sensors of an option, the best first; `auto` may find none, and says what was refused.

    UsageError when a kind was named that is not there or may not be read: with the command that grants it.
    """
    if option.kind in (NONE, CSV):
        return Found((), ())
    if tree is None and option.path and not option.path.is_dir():
        raise UsageError(f"--power sysfs:{option.path}", "is no folder", "give one that holds a sys/")
    found = find_sensors(tree or option.tree, (option.kind,) if option.kind in FAMILIES else tuple(FAMILIES))
    if option.kind != AUTO and not found.sensors:
        items = [f"{one.name}: {one.why}" + (f"; {one.grant}" if one.grant else "") for one in found.refused]
        where = f" below {option.path}" if option.path else ""
        cause = f"no sensor can be used{where}" if items else f"no such sensor was found{where}"
        raise UsageError(f"--power {option.kind}", cause, "" if items else "try auto, or csv:FILE of a meter", items)
    return found


def _csv(text: str, rest: str) -> PowerOption:
    match = CSV_OPTION.fullmatch(rest)
    if match is None:
        raise UsageError(f"--power {text}", "is not known", "known are:", KNOWN)
    volts, steps, run, idle, columns = None, None, None, list[Span](), dict[str, str]()
    for key, _, value in (part.partition("=") for part in match["rest"].split(",")[1:]):
        if key == "volts" and volts is None:
            volts = _number(text, key, value)
        elif key == "steps" and steps is None:
            number = _number(text, key, value)
            if not number.is_integer():
                raise UsageError(f"--power {text}", f"{key}: {value!r} is no whole number", "give one such as 2000")
            steps = int(number)
        elif key == "run" and run is None:
            run = _window(text, key, value)
        elif key == "idle" and len(idle) < IDLE_WINDOWS:
            idle.append(_window(text, key, value))
        elif key in QUANTITIES and key not in columns and value:
            columns[key] = value
        else:
            raise UsageError(f"--power {text}", f"{key}={value} is not known, or there already", "known are:", KNOWN)
    return PowerOption(CSV, Path(match["file"]), steps, volts, columns, run, tuple(idle))


def _window(text: str, key: str, value: str) -> Span:
    start, _, end = value.partition(":")
    span = _number(text, key, start, least=0.0), _number(text, key, end)
    if span[1] <= span[0]:
        raise UsageError(f"--power {text}", f"{key}={value} ends before it begins", "give START:END in seconds")
    return span


def _number(text: str, key: str, value: str, least: float | None = None) -> float:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not math.isfinite(number) or (number <= 0 if least is None else number < least):
        raise UsageError(f"--power {text}", f"{key}: {value!r} is no positive number", "give one such as 3.3")
    return number
