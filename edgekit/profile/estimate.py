"""Time and energy of a step where there is no device to measure: a range, its sources and its assumptions, or a gap.

time = instructions · cycles per instruction / clock
energy = instructions · cycles per instruction · energy per cycle, or else time · power of a busy core

An estimate is never mixed with what was measured.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgekit.profile.grades import ESTIMATED, UNAVAILABLE
from edgekit.target import Range, Target

# Cycles per instruction where nobody has sourced them: of a small core, and of one that runs Linux.
UNSOURCED = {True: Range(1.0, 2.0, 3.0), False: Range(0.5, 1.0, 2.0)}


@dataclass(frozen=True)
class Estimate:
    """`value` in `unit`, between `low` and `high`; all None where it is unavailable, with the reason in `formula`.

    `sources` are those of the figures in the formula, `assumptions` what nobody has sourced and what must hold.
    """

    name: str
    value: float | None
    unit: str
    grade: str
    formula: str
    sources: tuple[str, ...] = ()
    assumptions: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None


def estimates(instructions: float, target: Target) -> tuple[Estimate, ...]:
    """Time and energy of a step of so many instructions, and energy with the board's idle where that is known.

    `unavailable` where a figure of the target has no source.
    """
    time = _time(instructions, target)
    return (time, _energy(instructions, target, time), *_with_idle(target, time))


def _time(instructions: float, target: Target) -> Estimate:
    name, unit = "time per step", "s"
    if target.clock_hz is None:
        return Estimate(name, None, unit, UNAVAILABLE, f"no sourced clock for {target.name}")
    cycles = _cycles(target)
    return Estimate(
        name,
        instructions * cycles.typical / target.clock_hz,
        unit,
        ESTIMATED,
        f"{instructions:,.0f} instructions · {_range(cycles)} cycles / {target.clock_hz / 1e6:,g} MHz",
        (f"clock: {target.sources['clock_hz']}", *_sources(target, "cycles_per_instruction")),
        _assumed_cycles(target),
        low=instructions * cycles.low / target.clock_hz,
        high=instructions * cycles.high / target.clock_hz,
    )


def _energy(instructions: float, target: Target, time: Estimate) -> Estimate:
    name, power = "energy per step", target.power
    if power.joules_per_cycle:
        cycles, each = _cycles(target), power.joules_per_cycle
        picojoules = Range(each.low * 1e12, each.typical * 1e12, each.high * 1e12)
        return Estimate(
            name,
            instructions * cycles.typical * each.typical,
            "J",
            ESTIMATED,
            f"{instructions:,.0f} instructions · {_range(cycles)} cycles · {_range(picojoules)} pJ",
            (*_sources(target, "joules_per_cycle"), *_sources(target, "cycles_per_instruction")),
            (*_assumed_cycles(target), *_conditions(target)),
            low=instructions * cycles.low * each.low,
            high=instructions * cycles.high * each.high,
        )
    if power.core_watts and time.value is not None:
        return _of_time(name, target, time, power.core_watts, ("core_watts",))
    missing = "time" if power.core_watts else "power"
    return Estimate(name, None, "J", UNAVAILABLE, f"no sourced {missing} of {target.name}")


def _with_idle(target: Target, time: Estimate) -> tuple[Estimate, ...]:
    """What a board takes that is on for the step alone."""
    core, idle = target.power.core_watts, target.power.idle_watts
    if core is None or idle is None or time.value is None:
        return ()
    watts = Range(core.low + idle.low, core.typical + idle.typical, core.high + idle.high)
    name = "energy per step, with idle"
    return (_of_time(name, target, time, watts, ("core_watts", "idle_watts")),)


def _of_time(name: str, target: Target, time: Estimate, watts: Range, figures: tuple[str, ...]) -> Estimate:
    value, low, high = (part or 0.0 for part in (time.value, time.low, time.high))
    return Estimate(
        name,
        value * watts.typical,
        "J",
        ESTIMATED,
        f"time per step · {_range(watts)} W",
        tuple(source for figure in figures for source in _sources(target, figure)),
        (*time.assumptions, *_conditions(target)),
        low=low * watts.low,
        high=high * watts.high,
    )


def _cycles(target: Target) -> Range:
    return target.power.cycles_per_instruction or UNSOURCED[target.is_bare]


def _assumed_cycles(target: Target) -> tuple[str, ...]:
    if target.power.cycles_per_instruction:
        return ()
    cycles = UNSOURCED[target.is_bare]
    typical = "1 cycle" if cycles.typical == 1 else f"{cycles.typical:g} cycles"
    return (
        f"{typical} per instruction, between {cycles.low:g} and {cycles.high:g}: nobody has sourced a figure;"
        " waits for memory are not in it",
    )


def _conditions(target: Target) -> tuple[str, ...]:
    return (f"power: {target.power.conditions}",) if target.power.conditions else ()


def _sources(target: Target, figure: str) -> tuple[str, ...]:
    source = target.power.sources.get(figure)
    return (f"{figure.replace('_', ' ')}: {source}",) if source else ()


def _range(figure: Range) -> str:
    if figure.low == figure.high:
        return f"{figure.typical:.3g}"
    return f"{figure.low:.3g} to {figure.high:.3g}"
