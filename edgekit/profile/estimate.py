"""Time and energy of a step where there is no device to measure: a formula, its sources and its assumptions, or a gap.

time = instructions · cycles per instruction / clock
energy = power · time
"""

from __future__ import annotations

from dataclasses import dataclass

from edgekit.profile.grades import ESTIMATED, UNAVAILABLE
from edgekit.target import Target


@dataclass(frozen=True)
class Estimate:
    """`value` in `unit`; None where it is unavailable, with the reason in `formula`. `sources` are those of the figures
    in the formula, `assumptions` what nobody has sourced.
    """

    name: str
    value: float | None
    unit: str
    grade: str
    formula: str
    sources: tuple[str, ...] = ()
    assumptions: tuple[str, ...] = ()


def estimates(instructions: float, target: Target) -> tuple[Estimate, ...]:
    """Time and energy of a step of so many instructions; `unavailable` where a figure of the target has no source."""
    return _time(instructions, target), _energy(target)


def _time(instructions: float, target: Target) -> Estimate:
    name, unit = "time per step", "s"
    if target.clock_hz is None:
        return Estimate(name, None, unit, UNAVAILABLE, f"no sourced clock for {target.name}")
    return Estimate(
        name,
        instructions / target.clock_hz,
        unit,
        ESTIMATED,
        f"{instructions:,.0f} instructions · 1 cycle / {target.clock_hz / 1e6:,g} MHz",
        (f"clock: {target.sources['clock_hz']}",),
        ("1 cycle per instruction: nobody has sourced a figure; waits for memory and pipeline stalls are not in it",),
    )


def _energy(target: Target) -> Estimate:
    return Estimate("energy per step", None, "J", UNAVAILABLE, f"no sourced power of {target.name}")
