"""Sections of what a program does with its input: spikes, operations, and how far its answers are off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edgekit.profile.grades import DERIVED
from edgekit.profile.html import charts
from edgekit.profile.html.charts import Bar
from edgekit.profile.html.parts import Badge, Figure, Gap, Section, Table, flat
from edgekit.profile.numbers import number

Document = Mapping[str, Any]


def activity_section(document: Document) -> Section | Gap:
    """Which neurons fired at which step, and how often those of each population do."""
    activity = document.get("activity")
    if not activity or not activity.get("populations"):
        return Gap("Spikes", "No spikes were recorded: the model has none, or its activity was not asked for.")
    populations, spikes = activity["populations"], activity.get("spikes") or ()
    grade = str(activity.get("grade", DERIVED))
    figures = list[Figure]()
    if spikes:
        steps = _steps_drawn(spikes)
        part = [spike for spike in spikes if spike[0] < steps]
        more = (
            f"The first {steps:,} steps, {len(part):,} of {len(spikes):,} spikes: " if len(part) < len(spikes) else ""
        )
        figures.append(
            Figure(
                "spikes-raster",
                "Spike raster",
                f"{more}a dot is a neuron that fired at that step; populations lie above each other.",
                charts.raster(part, populations, steps),
                grade,
            )
        )
    rates = [
        Bar(f"{p['name']} · {number(p['size'])} neurons", float(p["rate"]), f"{float(p['rate']):.1%} of steps")
        for p in populations
    ]
    figures.append(
        Figure(
            "spikes-rates",
            "Rate of each population",
            "Spikes per neuron and step, mean over the stimulus: 1 is a population in which every neuron fires at "
            "every step.",
            charts.bars(rates, "spikes per neuron and step"),
            grade,
        )
    )
    rows = tuple(
        (str(p["name"]), number(p["size"]), number(float(p["rate"])), number(p["rate"] * p["size"]), Badge(grade))
        for p in populations
    )
    columns = ("population", "neurons", "per neuron and step", "spikes per step", "grade")
    lead = f"Which neurons fired over {document['stimulus']}: an event-driven program pays for those and no others."
    return Section("spikes", "Spikes", lead, tuple(figures), (Table(columns, rows, (1, 2, 3)),))


def _steps_drawn(spikes: Sequence[Sequence[int]]) -> int:
    """How many leading steps hold no more spikes than are drawn; at least one."""
    steps = sorted(spike[0] for spike in spikes)
    return steps[-1] + 1 if len(steps) <= charts.MOST_SPIKES else max(1, steps[charts.MOST_SPIKES])


def operations_section(document: Document) -> Section | Gap:
    """Operations in the terms of NeuroBench."""
    operations = document.get("operations")
    if not operations:
        return Gap("Operations", "Operations were not counted over this stimulus.")
    grade = Badge(str(operations.get("grade", DERIVED)))
    absent = [name for name in ("window", "a_window") if operations.get(name) is None]
    rows = tuple((*fact, grade) for fact in flat(operations, absent))
    lead = "As NeuroBench defines them: dense counts every operation, effective those whose inputs are not zero."
    return Section("operations", "Operations", lead, tables=(Table(("operations", "value", "grade"), rows, (1,)),))


def error_section(document: Document) -> Section | Gap:
    """The difference from the float model, step by step."""
    error = document.get("error")
    if not error or not error.get("steps"):
        return Gap("Error", "The outputs were not compared with those of the float model.")
    grade = str(error.get("grade", DERIVED))
    points = [row for row in zip(error["steps"], error["max_abs"], error["rms"], strict=True) if None not in row]
    steps, most, rms = zip(*points, strict=True) if points else ((), (), ())
    if not points:
        return Gap("Error", "The outputs hold no finite difference from those of the float model.")
    figure = Figure(
        "error-steps",
        "Difference over the steps",
        f"Between the outputs of this program and {error.get('against', 'the float model')}, at each step of the same "
        "stream; states are carried, so that an error that builds up would climb.",
        charts.lines(steps, {"largest": most, "root mean square": rms}, "step", "difference, units of the outputs"),
        grade,
    )
    rows = (
        ("largest over all steps", number(float(max(most))), Badge(grade)),
        ("root mean square, mean of the steps", number(sum(rms) / len(rms)), Badge(grade)),
    )
    lead = "What the precision of the program costs in its answers."
    return Section(
        "error", "Error against the float model", lead, (figure,), (Table(("error", "value", "grade"), rows, (1,)),)
    )
