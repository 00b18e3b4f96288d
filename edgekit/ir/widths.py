"""Nested widths: entries `step_25`, `step_50`, … beside `step`, which are the same step with its first units alone."""

from __future__ import annotations

import dataclasses
import re

from edgekit.errors import GraphError, UsageError
from edgekit.ir.graph import Entry, Graph, Op

FULL = 100
_WIDTH = re.compile(r"step_([1-9][0-9]?)")


def width_entry(percent: int) -> str:
    """The entry of a width in per cent of the units."""
    return "step" if percent == FULL else f"step_{percent}"


def is_width(entry: str) -> bool:
    """Whether an entry is the step at a width below the full one."""
    return _WIDTH.fullmatch(entry) is not None


def widths_of(graph: Graph) -> tuple[int, ...]:
    """The widths of a graph in per cent, the full one first; (100,) of a graph that has no others."""
    found = [int(match[1]) for name in graph.entries if (match := _WIDTH.fullmatch(name))]
    return (FULL, *sorted(found, reverse=True))


def narrow_widths(graph: Graph) -> tuple[int, ...]:
    """The widths below the full one, the widest first; none of a graph that has one width."""
    return widths_of(graph)[1:]


def checked_width(thing: str, graph: Graph | None, width: float) -> int:
    """The width in per cent of one given as a share of the units, (0, 1]; UsageError lists those that `thing` has."""
    known = (FULL,) if graph is None else widths_of(graph)
    percent = round(100 * width) if 0 < width <= 1 else 0
    if percent not in known or abs(percent - 100 * width) > 1e-6:
        cause = f"is not in {thing}"
        if known == (FULL,):
            raise UsageError(f"width {100 * width:g} %", cause, "it has one width: convert with [[nested]] for others")
        raise UsageError(f"width {100 * width:g} %", cause, f"it has {', '.join(f'{n} %' for n in known)}")
    return percent


def check_widths(graph: Graph) -> None:
    """GraphError unless every width takes and gives what the full step does."""

    def ports(name: str) -> list[list[tuple[object, ...]]]:
        entry, tensors = graph.entries[name], graph.tensors
        return [[(tensors[n].shape, tensors[n].dtype) for n in side] for side in (entry.inputs, entry.outputs)]

    for name in filter(is_width, graph.entries):
        if ports(name) != ports("step"):
            raise GraphError(f"entry {name!r}", "takes or gives other things than 'step'", "a width is the same step")


def at_width(graph: Graph, percent: int) -> Graph:
    """The graph whose step is that of a width, with inputs and outputs named as those of the full one.

    All states stay; no other width is left. UsageError for a width that the graph does not have.
    """
    entry = graph.entries[width_entry(checked_width(f"graph {graph.name!r}", graph, percent / FULL))]
    full = graph.entries["step"]
    renamed = {
        **dict(zip(entry.inputs, full.inputs, strict=True)),
        **dict(zip(entry.outputs, full.outputs, strict=True)),
    }
    entries = {n: e for n, e in graph.entries.items() if n != "step" and not is_width(n)}
    step = Entry(
        "step",
        full.inputs,
        full.outputs,
        tuple(_renamed(op, renamed) for op in entry.ops),
        {state: renamed.get(value, value) for state, value in entry.updates.items()},
    )
    kept = {n for e in (entry, *entries.values()) for n in (*e.inputs, *(o for op in e.ops for o in op.outputs))}
    used = {n for e in (entry, *entries.values()) for op in e.ops for n in op.inputs} | graph.state_names | kept
    used |= {n for e in (entry, *entries.values()) for n in (*e.outputs, *e.updates.values())}  # constants too
    tensors = {
        renamed.get(name, name): dataclasses.replace(tensor, name=renamed.get(name, name))
        for name, tensor in graph.tensors.items()
        if name in used
    }
    return graph.replace(tensors=tensors, entries={"step": step, **entries})


def _renamed(op: Op, names: dict[str, str]) -> Op:
    there = [tuple(names.get(n, n) for n in side) for side in (op.inputs, op.outputs)]
    return dataclasses.replace(op, inputs=there[0], outputs=there[1])
