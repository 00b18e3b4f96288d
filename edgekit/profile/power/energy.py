"""Energy of a run from a trace of power: how much, how sure, and whether the sensor could tell it from idle at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from math import sqrt
from typing import Any

import numpy as np

from edgekit.errors import UsageError
from edgekit.profile.grades import MEASURED, UNAVAILABLE
from edgekit.profile.power.blocks import FEWEST, Blocks, blocks_of, mean_watts, student
from edgekit.profile.power.trace import Trace

OK, BELOW, FAULTY = "ok", "below resolution", "faulty"
MOST_POINTS = 2000  # of the trace in a report
UNEVEN = 0.8  # of the rate that was asked for, below which it is told

Span = tuple[float, float]


@dataclass(frozen=True)
class Marks:
    """When the board ran, and when it was idle before and after: start and end, in the seconds of the trace."""

    run: Span
    idle_before: Span | None = None
    idle_after: Span | None = None

    @property
    def windows(self) -> tuple[tuple[str, Span], ...]:
        """The windows that there are, in order of time, by name."""
        named = (("idle before", self.idle_before), ("run", self.run), ("idle after", self.idle_after))
        return tuple((name, span) for name, span in named if span is not None)


@dataclass(frozen=True)
class EnergyResult:
    """What a sensor says of a run, with `faulty` for a verdict and no figure where it may not be believed.

    `joules` is all that the sensor saw in the run, idle too; `joules_per_step` that over the steps, with its interval
    `ci95`; the `net_` figures are an extra, less idle. `resolution` is the least difference of two readings in its
    `unit`, W or J. `minimum_detectable_joules` is the least net energy that this run could have told from nothing, in
    95 of 100 runs. Figures of a step are None when the run was `below resolution`.
    """

    sensor: str
    grade: str
    sees: str
    misses: str
    unit: str
    verdict: str
    faults: tuple[str, ...]
    notes: tuple[str, ...]
    rails: tuple[dict[str, Any], ...]
    windows: tuple[dict[str, Any], ...]
    samples: dict[str, list[float]]
    rate_hz: float | None
    update_s: float | None
    resolution: float | None
    steps: int | None = None
    seconds: float | None = None
    watts: float | None = None
    joules: float | None = None
    joules_per_step: float | None = None
    ci95: Span | None = None
    blocks: int | None = None
    idle_watts: float | None = None
    net_joules: float | None = None
    net_joules_per_step: float | None = None
    net_ci95: Span | None = None
    minimum_detectable_joules: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


@dataclass(frozen=True)
class _Level:
    """Mean power of idle, W, the variance of that mean and of one over a second, W², and the sensor's own share, W."""

    watts: float
    variance: float
    scatter: float
    sensor: float


def energy_of(trace: Trace, marks: Marks, steps: int | None = None) -> EnergyResult:
    """Integrate a trace over the run of `marks`, in which `steps` steps were done; check it first.

    UsageError when a window ends before it begins, or `steps` is no count.
    """
    for name, (start, end) in marks.windows:
        if not end > start:
            raise UsageError(f"window {name!r}", f"ends at {end:g} s, it begins at {start:g} s", "give a longer one")
    if steps is not None and steps < 1:
        raise UsageError(f"{steps} steps", "is no count of steps", "give 1 or more")
    faults = _faults(trace, marks)
    common = _common(trace, marks)
    if faults:
        return EnergyResult(**common, grade=UNAVAILABLE, verdict=FAULTY, faults=tuple(faults), notes=(), steps=steps)
    return _result(trace, marks, steps, common)


def _faults(trace: Trace, marks: Marks) -> list[str]:
    spans = [span for _, span in marks.windows]
    found = trace.faults(spans[0][0], spans[-1][1])
    if not trace.is_usable:
        return found
    stuck = trace.stuck(*marks.run)
    found += [stuck] if stuck else []
    gaps = ((name, trace.gap(*span)) for name, span in marks.windows)
    return found + [f"{name}: {gap}" for name, gap in gaps if gap]


def _common(trace: Trace, marks: Marks) -> dict[str, Any]:
    """What is told of every trace, one that may not be believed too; times from the first window on."""
    origin = marks.windows[0][1][0]
    few = not trace.is_usable
    first, last = (0.0, 0.0) if few else (trace.t[0], trace.t[-1])
    watts = None if few else np.diff(trace.energy(np.clip(np.array(marks.run), first, last)), axis=0)[0]
    rails = tuple(
        {
            "name": rail.name,
            "counted": rail.counted,
            "watts": None if watts is None else float(watts[i]) / (marks.run[1] - marks.run[0]),
        }
        for i, rail in enumerate(trace.sensor.rails)
    )
    return {
        "sensor": trace.sensor.name,
        "sees": trace.sensor.sees,
        "misses": trace.sensor.misses,
        "unit": trace.sensor.unit,
        "rails": rails,
        "windows": tuple({"name": name, "start": a - origin, "end": b - origin} for name, (a, b) in marks.windows),
        "samples": {"t": [], "watts": []} if few else _thinned(trace, origin),
        "rate_hz": None if few else (len(trace.t) - 1) / float(last - first),
        "update_s": None if few else trace.update,
        "resolution": None if few else trace.step,
    }


def _thinned(trace: Trace, origin: float) -> dict[str, list[float]]:
    """Points of the trace for a picture: the least and the most of each stretch where there are too many."""
    t, watts = trace.t - origin, trace.watts
    keep = np.arange(len(t))
    if len(t) > MOST_POINTS:
        stretches = np.array_split(keep, MOST_POINTS // 2)
        keep = np.unique([at for part in stretches for at in (part[watts[part].argmin()], part[watts[part].argmax()])])
    return {"t": t[keep].tolist(), "watts": watts[keep].tolist()}


def _result(trace: Trace, marks: Marks, steps: int | None, common: dict[str, Any]) -> EnergyResult:
    start, end = marks.run
    seconds = end - start
    blocks = blocks_of(trace, start, end)
    watts = mean_watts(trace, start, end)
    joules = watts * seconds
    notes = _notes(trace, blocks)
    idles = [(name, _level(trace, span)) for name, span in marks.windows if name != "run"]
    idle, apart = _idle([level for _, level in idles])
    if apart:
        notes.append(
            f"idle went from {idles[0][1].watts:.4g} W to {idles[1][1].watts:.4g} W: half of that is in what is net"
        )

    change = abs(watts - idle.watts) if idle else 0.0 if _is_all(trace, marks.run) else watts
    sensor = _sensor_watts(trace, marks.run, watts, change)
    half = None
    if blocks:
        half = blocks.quantile * sqrt(blocks.variance + sensor**2) * seconds + blocks.drift / 2 * seconds
    net = joules - idle.watts * seconds if idle else None
    least = _least(trace, marks.run, watts, idle, blocks) + apart / 2 * seconds
    if not idle:
        notes.append(
            "no idle window: what is net of idle is not known, and the least energy is that of the run's own scatter"
        )
    is_below = (joules if net is None else net) < least
    net_half = None
    if half is not None and idle:
        net_half = sqrt(half**2 + (1.96 * seconds) ** 2 * (idle.variance + idle.sensor**2)) + apart / 2 * seconds
    each = None if is_below or not steps else steps
    return EnergyResult(
        **common,
        grade=MEASURED,
        verdict=BELOW if is_below else OK,
        faults=(),
        notes=tuple(notes),
        steps=steps,
        seconds=seconds,
        watts=watts,
        joules=joules,
        joules_per_step=joules / each if each else None,
        ci95=((joules - half) / each, (joules + half) / each) if each and half is not None else None,
        blocks=blocks.count if blocks else None,
        idle_watts=idle.watts if idle else None,
        net_joules=None if is_below else net,
        net_joules_per_step=net / each if each and net is not None else None,
        net_ci95=((net - net_half) / each, (net + net_half) / each) if each and net is not None and net_half else None,
        minimum_detectable_joules=least,
    )


def _notes(trace: Trace, blocks: Blocks | None) -> list[str]:
    notes = list(trace.sensor.notes)
    if trace.sensor.misses:
        notes.append(f"the sensor does not see {trace.sensor.misses}")
    if trace.lost:
        notes.append(f"{len(trace.lost)} of {len(trace.t) + len(trace.lost)} readings failed: {trace.lost[0].why}")
    rate = 1 / trace.period
    if trace.asked_hz and rate < UNEVEN * trace.asked_hz:
        notes.append(f"{rate:.3g} readings a second instead of {trace.asked_hz:.3g}: the sensor is no faster")
    if blocks is None:
        notes.append(f"too short for an interval: the sensor gives a reading every {trace.update * 1000:.3g} ms")
    elif blocks.drift:
        notes.append(f"power went to one side by {blocks.drift:.3g} W during the run: half of that is in the interval")
    if blocks and blocks.correlation > 2 / sqrt(blocks.count):
        notes.append(f"neighbouring blocks are alike ({blocks.correlation:.2f}): the interval is wider for it")
    return notes


def _level(trace: Trace, span: Span) -> _Level:
    blocks, seconds = blocks_of(trace, *span), span[1] - span[0]
    watts = mean_watts(trace, *span)
    sensor = _sensor_watts(trace, span, watts)
    if blocks:
        return _Level(watts, blocks.variance, blocks.scatter, sensor)
    inside = trace.watts[(trace.t >= span[0]) & (trace.t <= span[1])]
    variance = float(np.var(inside)) / max(1, len(inside))
    return _Level(watts, variance, variance * seconds, sensor)


def _idle(levels: Sequence[_Level]) -> tuple[_Level | None, float]:
    """Idle before and after as one, and how far they are apart, W, where that is more than chance."""
    if not levels:
        return None, 0.0
    count = len(levels)
    of_both = sum(level.variance for level in levels)
    idle = _Level(
        sum(level.watts for level in levels) / count,
        of_both / count**2,
        sum(level.scatter for level in levels) / count,
        sum(level.sensor for level in levels) / count,  # the same step may mislead both the same way
    )
    apart = abs(levels[0].watts - levels[-1].watts)
    return idle, apart if apart > 1.96 * sqrt(of_both + 2 * idle.sensor**2) else 0.0


def _is_all(trace: Trace, run: Span) -> bool:
    return bool(run[0] <= trace.t[0] and run[1] >= trace.t[-1])


def _sensor_watts(trace: Trace, span: Span, watts: float, change: float = 0.0) -> float:
    """Standard uncertainty of a mean power by the sensor itself, W: its steps, and where in time the window ends.

    `change` is how far the power goes up or down at the ends.
    """
    seconds = span[1] - span[0]
    if trace.is_counter:
        late = watts * (trace.sensor.update_s or 0.0)
        return sqrt((trace.step**2 + late**2 + (change * trace.period) ** 2) / 6) / seconds
    # A step of q is uncertain by q / sqrt(12) (GUM, F.2.2.1). That shrinks with the number of readings only where noise
    # spreads them over several steps.
    rounding = trace.step / sqrt(12)
    inside = trace.watts[(trace.t >= span[0]) & (trace.t <= span[1])]
    low, high = np.percentile(inside, (16, 84)) if len(inside) else (0.0, 0.0)
    if high - low >= trace.step:
        rounding /= sqrt(max(1.0, seconds / trace.update))
    return sqrt(rounding**2 + (change * trace.update / seconds) ** 2 / 6)


def _least(trace: Trace, run: Span, watts: float, idle: _Level | None, blocks: Blocks | None) -> float:
    """The least net energy that is told from nothing, J: both kinds of error 5 % (Currie 1968, ISO 11843-1)."""
    seconds = run[1] - run[0]
    noise = blocks.variance if blocks else 0.0
    variance = idle.scatter / seconds + idle.variance + idle.sensor**2 if idle else noise
    variance += _sensor_watts(trace, run, watts) ** 2
    dof = blocks.count - 1 if blocks else FEWEST - 1
    return 2 * student(0.95, dof) * sqrt(variance) * seconds
