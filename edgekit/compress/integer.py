"""A float graph as an integer program: every value by its plan, the borders as entries of their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from edgekit.compress.borders import write_borders
from edgekit.compress.bounds import Bounds
from edgekit.compress.calibrate import Calibration
from edgekit.compress.learned import leave
from edgekit.compress.lower_values import ValueLowering, unsupported
from edgekit.compress.plan import Plan
from edgekit.compress.recipes import Recipe
from edgekit.compress.stored import Array, Rounded, Stored
from edgekit.compress.terms import Sums
from edgekit.compress.writer import Writer
from edgekit.errors import UnsupportedError
from edgekit.ir import SPIKE, Graph


@dataclass(frozen=True, eq=False)
class Choice:
    """How one value is held: dtype and scale (of its first element where they differ), what room it has, and why."""

    tensor: str
    dtype: str
    scale: float
    bound: float
    reason: str


@dataclass(frozen=True, eq=False)
class IntegerProgram:
    """An integer program before lowering, the recipe behind it, its choices by tensor, and remarks in plain words.

    `tables` holds, of each function by table, the largest error over all arguments that an int16 can be. By their names
    in the float graph, `rounded` tells how matrices were rounded and `held` how values are held.
    """

    graph: Graph
    recipe: Recipe
    choices: Mapping[str, Choice]
    notes: tuple[str, ...] = ()
    tables: Mapping[str, float] = field(default_factory=dict)
    rounded: Mapping[str, Rounded] = field(default_factory=dict)
    held: Mapping[str, Stored] = field(default_factory=dict)


def quantise_program(
    graph: Graph,
    calibration: Calibration,
    recipe: Recipe,
    normalisation: Mapping[str, tuple[Array, Array]] | None = None,
) -> IntegerProgram:
    """The integer program of an optimised float graph that takes normalised inputs.

    Its entry `quantize` takes raw ones: offset and scale of `normalisation` are folded into it. UnsupportedError lists
    every op without an integer form. States that a reset keeps are plastic weights, `scratch` ones what a step leaves.
    """
    sums = Sums(graph)
    missing = unsupported(sums)
    if missing:
        raise UnsupportedError("integer program", "these ops have no integer form", "use fp32 or w8", missing)
    plan = Plan(sums, Bounds(calibration, sums), recipe)
    writer = Writer(graph)
    values = ValueLowering(writer, plan)
    step = graph.entries["step"]
    inputs = [values.take_input(name) for name in step.inputs]
    biases = {n for op in step.ops if sums.is_plastic(op) for n in op.inputs[2:] if n in sums.learned}
    left = [state for state in graph.states if state.reset == "scratch"]
    for state in graph.states:
        if state not in left and state.tensor not in biases:  # a bias has the scale of the sums that it joins
            values.take_state(state)
    outputs = [values.output(name) for name in step.outputs]
    for name, value in step.updates.items():
        if name not in {state.tensor for state in left}:
            writer.builder.update(name, values.next_state(name, value))
    for state in left:
        leave(values, state, step.updates[state.tensor])
    writer.builder.output(*(o.name for o in outputs))
    write_borders(writer, inputs, outputs, normalisation or {})
    built = writer.build()
    choices = {
        name: Choice(name, str(s.dtype), float(np.asarray(s.scale).flat[0]), plan.bound(name), plan.reason(name))
        for name, s in values.held.items()
        if s.dtype is not SPIKE
    }
    notes = [*(f"{name}: {text}" for name, text in plan.notes.items()), *writer.notes]
    for name, bits in recipe.states.items():
        if choices[name].dtype != f"int{bits}":
            notes.append(f"{name}: asked for in int{bits}, but its rounding takes {choices[name].dtype}")
    if values.tables:
        off = ", ".join(f"{name} {error:.2g}" for name, error in values.tables.items())
        notes.append(f"functions by table are off by at most: {off}")
    return IntegerProgram(
        built, recipe, choices, tuple(notes), dict(values.tables), dict(writer.rounded), dict(values.held)
    )
