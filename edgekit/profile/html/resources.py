"""Sections of what a program takes of its device, and of the device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edgekit.profile.figures import memory_rows
from edgekit.profile.grades import DERIVED, MEASURED, UNAVAILABLE
from edgekit.profile.html import charts
from edgekit.profile.html.parts import NOT_TOLD, Badge, Figure, Gap, Section, Table, flat
from edgekit.profile.numbers import number, quantity

Document = Mapping[str, Any]
_ENERGY = (
    ("joules", "run, idle too", "J", ""),
    ("joules_per_step", "a step, idle too", "J", "ci95"),
    ("net_joules", "run, less idle", "J", ""),
    ("net_joules_per_step", "a step, less idle", "J", "net_ci95"),
    ("minimum_detectable_joules", "the least that this run could tell from nothing", "J", ""),
    ("watts", "mean power of the run", "W", ""),
    ("idle_watts", "mean power of idle", "W", ""),
    ("seconds", "length of the run", "s", ""),
    ("steps", "steps in the run", "count", ""),
    ("blocks", "blocks of the interval", "count", ""),
    ("rate_hz", "readings", "Hz", ""),
    ("update_s", "the sensor gives a new reading every", "s", ""),
    ("resolution", "least difference of two readings", "unit", ""),
)  # key, label, unit, key of the interval
_NAMES = {"most_khz": "highest_frequency_khz", "quota_cpus": "quota_in_cores"}


def memory_section(document: Document) -> Section | Gap:
    """What the program takes, and where everything lies over the ops of a step."""
    memory, size = document.get("memory"), document.get("file_bytes")
    if not memory and size is None:
        return Gap("Memory", "Nothing is known of what the program takes.")
    rows = memory_rows(memory) if memory else [("file", size, MEASURED, "weights and graph, as they are on disk")]
    table = Table(
        ("memory", "bytes", "grade", "what"),
        tuple(
            (name, "none" if value is None else number(value), Badge(grade), what) for name, value, grade, what in rows
        ),
        (1,),
    )
    lead = "What the program needs on the device: code and constants in flash, the struct and the stack in RAM."
    placed = document.get("places")
    if not placed:
        return Section("memory", "Memory", lead, tables=(table,))
    calls, peak, struct = placed["calls"], number(placed["peak"]), number(placed["struct_bytes"])
    figure = Figure(
        "memory-map",
        "Places over the ops of a step",
        "Each rectangle is something that lies in the struct: as wide as the ops during which its place is taken, as "
        "high as its bytes. Values that are never needed at the same time may lie at the same bytes.",
        charts.memory_map(placed["places"], calls),
        str(placed.get("grade", DERIVED)),
    )
    listed = tuple(
        (
            *(str(place[key]) for key in ("name", "kind")),
            *(number(place[key]) for key in ("bytes", "offset")),
            *(_named(calls, place[key]) for key in ("first", "last")),
        )
        for place in placed["places"]
    )
    stored = tuple(
        (", ".join(each["tensors"]), ", ".join(each["forms"]), number(each["bytes"])) for each in placed["constants"]
    )
    tables = (
        table,
        Table(("name", "kind", "bytes", "offset", "from", "to"), listed, (2, 3), fold=f"All {len(listed)} places"),
        Table(("constants", "stored as", "bytes"), stored, (2,), fold=f"All {len(stored)} constants in flash"),
    )
    note = f"At most {peak} of the {struct} bytes of the struct are needed at one op; the rest is free then."
    return Section("memory", "Memory", lead, (figure,), tuple(part for part in tables if part.rows), (note,))


def _named(calls: Sequence[str], at: int) -> str:
    return f"{at} {calls[at]}" if 0 <= at < len(calls) else str(at)


def energy_section(document: Document) -> Section | Gap:
    """Power over time with the windows of which the energy is taken, and the figures."""
    energy = document.get("energy")
    if not energy:
        return Gap("Energy", "Nothing was metered: no sensor was found, or none was asked for with --power.")
    grade, samples = str(energy["grade"]), energy["samples"]
    points = [(t, w) for t, w in zip(samples["t"], samples["watts"], strict=True) if None not in (t, w)]
    figures: tuple[Figure, ...] = ()
    if len(points) > 1:
        seconds, watts = zip(*points, strict=True)
        figures = (
            Figure(
                "energy-trace",
                "Power over time",
                f"Readings of {energy['sensor']}; where there are more than a screen has columns, the least and the "
                "most of each stretch. The energy is that of the run; idle before and after is what is "
                "taken off for the net figures.",
                charts.power(seconds, watts, energy["windows"]),
                grade,
            ),
        )
    rows = tuple(
        (
            label,
            _with_interval(energy, key, interval, unit),
            Badge(grade if energy.get(key) is not None else UNAVAILABLE),
        )
        for key, label, unit, interval in _ENERGY
    )
    rails = tuple(
        (str(rail["name"]), quantity(rail["watts"], "W"), "yes" if rail["counted"] else "no", Badge(grade))
        for rail in energy["rails"]
    )
    facts = [f"Sensor: {energy['sensor']}, which sees {energy['sees']}."] if energy.get("sees") else []
    notes = (*(f"Fault: {fault}" for fault in energy["faults"]), *facts, *map(str, energy["notes"]))
    lead = f"Energy of the run by the readings of a sensor, with idle before and after. Verdict: {energy['verdict']}."
    tables = (
        Table(("energy", "value", "grade"), rows, (1,)),
        Table(("rail", "mean of the run", "in the total", "grade"), rails, (1,), fold=f"All {len(rails)} rails"),
    )
    return Section("energy", "Energy", lead, figures, tables if len(rails) > 1 else tables[:1], notes)


def _with_interval(energy: Document, key: str, interval: str, unit: str) -> str:
    value, between = energy.get(key), energy.get(interval)
    if unit == "count":
        return number(value)
    text = quantity(value, energy["unit"] if unit == "unit" else unit)
    return f"{text}, 95 % from {quantity(between[0], unit)} to {quantity(between[1], unit)}" if between else text


def estimates_section(document: Document) -> Section | Gap:
    """Formulas with their sources and assumptions."""
    found = document.get("estimates") or ()
    if not found:
        return Gap("Estimates", "Nothing was estimated: the figures above stand on their own.")
    rows = tuple((str(e["name"]), _estimated(e), Badge(str(e["grade"])), str(e["formula"])) for e in found)
    notes = tuple(
        text
        for e in found
        for text in (
            *(f"Source for the {e['name']}: {source}" for source in e.get("sources") or ()),
            *(f"Assumed for the {e['name']}: {assumed}" for assumed in e.get("assumptions") or ()),
        )
    )
    lead = "From formulas, where nothing was measured; never mixed with measurements."
    table = Table(("estimate", "value", "grade", "formula"), rows, (1,))
    return Section("estimates", "Estimates", lead, tables=(table,), notes=notes)


def _estimated(estimate: Document) -> str:
    unit, low, high = str(estimate["unit"]), estimate.get("low"), estimate.get("high")
    if low is not None and high is not None:
        return f"{quantity(low, unit)} to {quantity(high, unit)}"
    return quantity(estimate["value"], unit)


def conditions_section(document: Document) -> Section | Gap:
    """The device, and what it told of itself before and after."""
    conditions, host = document.get("conditions"), document.get("host")
    if not conditions and not host:
        return Gap("Conditions", "No device was looked at: counts on an emulated core depend on none.")
    tables, notes = list[Table](), list[str]()
    if conditions:
        before, after = (dict(flat(_renamed(conditions.get(when) or {}))) for when in ("before", "after"))
        rows = [
            (name, before.get(name, NOT_TOLD), after.get(name, NOT_TOLD)) for name in dict.fromkeys((*before, *after))
        ]
        silent = [name for name, *texts in rows if set(texts) == {NOT_TOLD}]
        notes += [f"Not told by the system: {', '.join(silent)}."] if silent else []
        tables.append(Table(("condition", "before", "after"), tuple(row for row in rows if row[0] not in silent)))
    if host:
        tables.append(Table(("device", ""), tuple(flat(host))))
    lead = "What the device told of itself: a reader needs it to place the timings."
    return Section("conditions", "Conditions", lead, tables=tuple(tables), notes=tuple(notes))


def _renamed(conditions: Document) -> dict[str, Any]:
    """With keys that read better."""
    return {_NAMES.get(key, key): value for key, value in conditions.items()}
