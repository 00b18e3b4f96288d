"""Power beside a measurement: a sensor of the place, sampled on the clock that the steps are marked on."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from shlex import join, quote
from time import monotonic, sleep
from types import TracebackType
from typing import Protocol

from edgekit.errors import UsageError
from edgekit.profile.counts import Progress
from edgekit.profile.measurer import Mark, Measurer, Sampler
from edgekit.profile.measurer import Sample as FileSample
from edgekit.profile.places import Place
from edgekit.profile.power import (
    EnergyResult,
    Marks,
    PowerMeter,
    PowerOption,
    Sample,
    Sensor,
    choose_sensor,
    energy_of,
    trace_of,
)
from edgekit.profile.power.sampling import DEFAULT_HZ

IDLE_S = 2.0  # before and after
NS = 1e-9
CSV = "csv"


class Powered:
    """Nothing is known of the power of a place while it is measured; `notes` are for whoever reads the profile."""

    def __init__(self, notes: Sequence[str] = ()) -> None:
        self.notes = tuple(notes)

    def energy(self, marks: Sequence[Mark]) -> EnergyResult | None:  # noqa: ARG002
        """Energy from the first of these marks to the last, and of each of their steps, once all is done."""
        return None


class _File(Powered):
    """A meter's file, which somebody recorded beside the run."""

    def __init__(self, option: PowerOption) -> None:
        super().__init__()
        self._result = option.file_energy()  # now: a file that cannot be read is no reason to measure first

    def energy(self, marks: Sequence[Mark]) -> EnergyResult | None:  # noqa: ARG002
        return self._result


class _Sensed(Powered):
    """A sensor that is read all the time, with idle before and after."""

    def __init__(self, readings: _Readings, idle_before: tuple[float, float], notes: Sequence[str]) -> None:
        super().__init__(notes)
        self._readings, self._before = readings, idle_before

    def energy(self, marks: Sequence[Mark]) -> EnergyResult | None:
        if not marks:
            return None
        after = self._readings.idle()
        run = min(mark.begin_ns for mark in marks) * NS, max(mark.end_ns for mark in marks) * NS
        return self._readings.energy(Marks(run, self._before, after), sum(mark.steps for mark in marks))


class _Readings(Protocol):
    """Readings of a sensor at some place, with times of CLOCK_MONOTONIC there; they are taken while it is entered."""

    def __enter__(self) -> _Readings: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None: ...

    def idle(self) -> tuple[float, float]:
        """Let the place rest, and give the window of it in seconds of its clock."""

    def energy(self, marks: Marks, steps: int) -> EnergyResult:
        """Energy of a run."""


class _Here:
    """Read by a thread of this process."""

    def __init__(self, sensor: Sensor, option: PowerOption) -> None:
        self._meter = PowerMeter(sensor, tree=option.tree)

    def __enter__(self) -> _Here:
        self._meter.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._meter.__exit__(kind, error, at)

    def idle(self) -> tuple[float, float]:
        return self._meter.idle(IDLE_S)

    def energy(self, marks: Marks, steps: int) -> EnergyResult:
        return self._meter.energy(marks, steps)


class _There:
    """Read by the measurer on a board."""

    def __init__(self, sensor: Sensor, tree: PlaceTree) -> None:
        self._sensor = sensor
        files = [tree.root + path for path in sensor.files]
        names = [tree.shell(sensor.command)] if sensor.command else files
        self._each = len(names)
        self._rate_hz = min(DEFAULT_HZ, sensor.most_hz)
        self._sampler: Sampler = tree.measurer.sampler(names, max(1, round(1000 / self._rate_hz)))

    def __enter__(self) -> _There:
        self._sampler.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._sampler.__exit__(kind, error, at)

    def idle(self) -> tuple[float, float]:
        until = monotonic() + IDLE_S + 1.0
        while not self._sampler.samples and monotonic() < until:
            sleep(0.01)  # the first reading tells what time it is there
        start = self._now()
        sleep(IDLE_S)
        return start, max(self._now(), start + IDLE_S / 2)

    def _now(self) -> float:
        samples = self._sampler.samples
        return samples[-1].end_ns * NS if samples else 0.0

    def energy(self, marks: Marks, steps: int) -> EnergyResult:
        taken = list(self._sampler.samples)
        rounds = [taken[at : at + self._each] for at in range(0, len(taken) - self._each + 1, self._each)]
        readings = [_reading(each) for each in rounds]
        if self._sampler.error is not None:
            ended = OSError(errno.ENODEV, f"the reader ended: {self._sampler.error}")
            readings.append(Sample(taken[-1].end_ns * NS if taken else marks.run[0], (), ended))
        return energy_of(trace_of(self._sensor, readings, self._rate_hz), marks, steps)


def _reading(files: Sequence[FileSample]) -> Sample:
    """The files of one round as one reading."""
    seconds = (files[0].begin_ns + files[-1].end_ns) / 2 * NS
    wrong = next((one for one in files if one.text is None), None)
    if wrong is not None:
        return Sample(seconds, (), OSError(wrong.error, os.strerror(wrong.error), wrong.name))
    return Sample(seconds, tuple((one.text or "").strip(" \t\r\n\0") for one in files))


@dataclass(frozen=True)
class PlaceTree:
    """The files and commands of a place below `root` ('' for all of it), through its measurer."""

    measurer: Measurer
    root: str = ""
    _cache: dict[str, list[str]] = field(default_factory=dict)

    def glob(self, pattern: str) -> list[str]:
        """Paths that match, in the order of their numbers; none where nothing does."""
        if pattern not in self._cache:
            shown = self.measurer.read_files([f"!ls -d {quote(self.root)}{pattern} 2>/dev/null || :"])
            paths = [path.removeprefix(self.root) for path in "".join(shown.values()).split("\n") if path]
            self._cache[pattern] = sorted(paths, key=lambda path: (len(path), path))
        return self._cache[pattern]

    def read(self, path: str) -> str:
        """The text of a file; OSError when it cannot be read."""
        (sample,) = self.measurer.once([self.root + path])
        if sample.text is None:
            raise OSError(sample.error, os.strerror(sample.error), path)
        return sample.text.strip(" \t\r\n\0")

    def shell(self, command: Sequence[str]) -> str:
        """What the measurer is asked for to run a command."""
        return f"!{join((self.root + command[0], *command[1:]))}"

    def run(self, command: Sequence[str]) -> str:
        """What a command prints; OSError when it fails."""
        (sample,) = self.measurer.once([self.shell(command)])
        if sample.text is None:
            raise OSError(sample.error or errno.EIO, f"{command[0]} cannot be run there")
        return sample.text


def no_power(option: PowerOption | None, why: str) -> None:
    """UsageError when an option names a sensor where there is none; the file of a meter may be there."""
    if option is not None and option.kind not in ("auto", "none", CSV):
        raise UsageError(f"--power {option.kind}", why, "leave it out, or give csv:FILE of a meter")


@contextmanager
def powered(place: Place, measurer: Measurer, option: PowerOption | None, progress: Progress) -> Iterator[Powered]:
    """Read a sensor of a place while it is measured: the first one found, after some seconds of idle.

    Without an option, or with `none`, nothing is looked for. UsageError when a sensor is asked for that is not there.
    """
    if option is None or option.kind == "none":
        yield Powered()
        return
    if option.kind == CSV:
        yield _File(option)
        return
    tree = PlaceTree(measurer, str(option.path) if option.path else "")
    found = choose_sensor(option, None if place.is_here else tree)
    notes = [f"{one.name}: {one.why}; to grant it: {one.grant}" for one in found.refused if one.grant]
    if not found.sensors:
        notes += [f"{one.name}: {one.why}" for one in found.refused if not one.grant]
        yield Powered(notes or ["energy is not known: no sensor of power was found"])
        return
    sensor = found.sensors[0]
    with _Here(sensor, option) if place.is_here else _There(sensor, tree) as readings:
        progress("read power while idle", 0, None)
        yield _Sensed(readings, readings.idle(), notes)
