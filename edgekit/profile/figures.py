"""The figures of a profile's JSON document by name, each with its unit and its grade."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from edgekit.profile.grades import DERIVED, EMULATED, MEASURED
from edgekit.profile.numbers import number

Document = Mapping[str, Any]
SCHEMA_VERSION = 2
"""Of the documents whose keys are named here."""
US = 1e-6
OPS = "ops"
_SPREAD = (("p50", "median"), ("min", "least"), ("p90", "p90"), ("p99", "p99"), ("mean", "mean"))


@dataclass(frozen=True)
class Figure:
    """One number in `unit`: s, J, W, B, or '' for counts and shares; None where it is not known."""

    group: str
    name: str
    value: float | None
    unit: str
    grade: str


def figures(document: Document) -> tuple[Figure, ...]:
    """All figures of a document that another profile may have too, in order, each under a name of its own.

    KeyError, TypeError, ValueError or AttributeError for a document of another shape.
    """
    found = [figure for part in _PARTS for figure in part(document)]
    seen = Counter[tuple[str, str]]()
    named = list[Figure]()
    for figure in found:
        seen[figure.group, figure.name] += 1
        again = seen[figure.group, figure.name]
        named.append(figure if again == 1 else replace(figure, name=f"{figure.name} ({again})"))
    return tuple(named)


def named_timings(document: Document) -> tuple[tuple[str, Document], ...]:
    """The timings of a document, each under a name of its own."""
    seen = Counter[str]()
    found = list[tuple[str, Document]]()
    for timing in document.get("timings") or ():
        name = str(timing["name"])
        seen[name] += 1
        found.append((name if seen[name] == 1 else f"{name} ({seen[name]})", timing))
    return tuple(found)


def memory_rows(memory: Document) -> list[tuple[str, int | None, str, str]]:
    """Each figure of a program's memory: its name, bytes, grade and meaning."""
    stack, ram = str(memory["stack_grade"]), DERIVED if memory.get("stack") is None else EMULATED
    decoded = memory.get("decoded")  # not in profiles of before entropy coding
    return [
        ("flash", memory["flash"], DERIVED, "code and constants"),
        ("code", memory["code"], DERIVED, "machine code of all functions"),
        ("constants", memory["constants"], DERIVED, "weights, tables, and what a loader reads"),
        ("RAM", memory["ram"], ram, "struct" if memory.get("stack") is None else "struct and stack"),
        ("struct", memory["struct"], DERIVED, "what the caller owns"),
        ("states", memory["states"], DERIVED, "carried from step to step"),
        ("arena", memory["arena"], DERIVED, "values of one step, places shared"),
        *([("decoded", decoded, DERIVED, "constants that init has read from flash")] if decoded else []),
        ("lists", memory["lists"], DERIVED, "neurons that fired, copies of inputs"),
        ("stack", memory.get("stack"), stack, "the most that a step used, by the bytes it changed"),
    ]


def _times(document: Document) -> Iterator[Figure]:
    for name, timing in named_timings(document):
        spread = dict(timing["spread_us"])
        spread["p50"] = timing.get("median_us", spread["p50"])
        for key, what in _SPREAD:
            yield Figure("time", f"{name}: {what}", _scaled(spread[key], US), "s", str(timing["grade"]))
    paced = document.get("paced")
    if paced:
        rate, grade = f"at {number(_scaled(paced['rate_hz']))} Hz", str(paced["grade"])
        for key in ("late", "step"):
            for mark in ("p50", "p99"):
                yield Figure("paced", f"{key} {rate}: {mark}", _scaled(paced[key][mark], US), "s", grade)
        share = 1 / max(1, paced["deadlines"])
        yield Figure("paced", f"deadlines missed {rate}", _scaled(paced["misses"], share), "", grade)


def _instructions(document: Document) -> Iterator[Figure]:
    counts = document.get("counts")
    if not counts:
        return
    grade = str(counts["grade"])
    for key, what in (("a_step", "a step"), ("a_window", "a window")):
        for column in ("mean", "max") if counts.get(key) else ():
            yield Figure("instructions", f"{what}: {column}", _scaled(counts[key][column]), "", grade)
    for entry, once in counts["border"].items():
        yield Figure("instructions", f"{entry}, one call", _scaled(once), "", grade)


def _memory(document: Document) -> Iterator[Figure]:
    memory = document.get("memory")
    for name, nbytes, grade, _ in memory_rows(memory) if memory else ():
        yield Figure("memory", name, _scaled(nbytes), "B", grade)
    if document.get("file_bytes") is not None:
        yield Figure("memory", "file", _scaled(document["file_bytes"]), "B", MEASURED)


def _energy(document: Document) -> Iterator[Figure]:
    energy = document.get("energy")
    if energy:
        for key, what, unit in (
            ("joules_per_step", "a step, idle too", "J"),
            ("net_joules_per_step", "a step, less idle", "J"),
            ("watts", "mean power of the run", "W"),
            ("idle_watts", "mean power of idle", "W"),
        ):
            yield Figure("energy", what, _scaled(energy.get(key)), unit, str(energy["grade"]))


def _estimated(document: Document) -> Iterator[Figure]:
    for estimate in document.get("estimates") or ():
        value, grade = _scaled(estimate["value"]), str(estimate["grade"])
        yield Figure("estimates", str(estimate["name"]), value, str(estimate["unit"]), grade)


def _work(document: Document) -> Iterator[Figure]:
    operations, activity = document.get("operations") or {}, document.get("activity") or {}
    for key, value in operations.items():
        if key not in ("steps", "window") and isinstance(value, (int, float)):
            unit = "B" if key.endswith("_bytes") else ""
            name = key.removesuffix("_bytes").replace("_", " ")
            yield Figure("operations", name, _scaled(value), unit, str(operations["grade"]))
    for population in activity.get("populations", ()):
        yield Figure("spike rates", str(population["name"]), _scaled(population["rate"]), "", str(activity["grade"]))


def _error(document: Document) -> Iterator[Figure]:
    error = document.get("error") or {}
    for key, what in (("max_abs", "largest"), ("rms", "root mean square, mean")):
        values = [value for value in error.get(key, ()) if value is not None]
        if values:
            found = max(values) if key == "max_abs" else sum(values) / len(values)
            yield Figure("error", what, _scaled(found), "", str(error.get("grade", DERIVED)))


def _ops(document: Document) -> Iterator[Figure]:
    for part, key, scale, unit in (("breakdown", "microseconds", US, "s"), ("counts", "instructions", 1.0, "")):
        found = document.get(part) or {}
        for op in found.get("ops", ()):
            what = f"{op['layer'] or op['op']}: {'time' if unit else key}"
            yield Figure(OPS, what, _scaled(op[key], scale), unit, str(found["grade"]))


def _scaled(value: Any, scale: float = 1.0) -> float | None:
    """The value in the unit of its figure; None where it is not known or not finite, ValueError for no number."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"{value!r} is no number")
    if not math.isfinite(value):
        return None
    return value * scale if scale != 1.0 else value


_PARTS = (_times, _instructions, _memory, _energy, _estimated, _work, _error, _ops)
