"""Weights that learn, in integers: int16 states with room to grow, and what a step leaves for the rule."""

from __future__ import annotations

from math import ceil, log2
from typing import TYPE_CHECKING

import numpy as np

from edgekit.compress.stored import Array, Spec, Stored, largest_of
from edgekit.ir import INT16, INT32, SPIKE, Op, State

if TYPE_CHECKING:
    from edgekit.compress.lower_values import ValueLowering

ROOM = 16.0  # by which what weights make may grow beyond what calibration saw: they may start at random
WEIGHT_ROOM = 8.0  # by which the largest weight may grow


def learned_scale(first: Array, room: float = WEIGHT_ROOM) -> float:
    """The power of two on which int16 weights start: the largest has room to grow `room` times."""
    largest = max(float(np.abs(first).max(initial=0.0)), 1e-6)
    return float(2.0 ** (ceil(log2(room * largest)) - 15))


def take_weights(values: ValueLowering, state: State) -> None:
    """Declare plastic weights with their first values."""
    scale = np.asarray(learned_scale(state.init))
    first = np.clip(np.floor(state.init / scale + 0.5), *INT16.limits)
    values.writer.builder.state(state.tensor, first, INT16, state.reset)
    values.hold(state.tensor, Stored(state.tensor, INT16, scale))


def plastic_product(values: ValueLowering, op: Op, spec: Spec) -> Stored:
    """W x + c by exact sums, narrowed to int16 once; W [out, in] is a state."""
    writer, name = values.writer, op.outputs[0]
    x, w, *addend = op.inputs
    given, weights = plain_operand(values, x), values.held[w]
    exact = float(given.scale * weights.scale)
    wanted = ROOM * max(spec.bound, 1e-6) / largest_of(INT16)
    shift = max(0, ceil(log2(wanted / exact)))
    constant = [values.sums.data(c) for c in addend]
    third = [
        writer.number(name, "bias", np.broadcast_to(c, values.sums.tensor(name).shape[-1:]), INT32, np.asarray(exact))
        for c in constant
        if c is not None
    ]
    learned = [bias_state(values, c, exact) for c in addend if c in values.sums.learned]
    alone = [*third, *learned]
    out = name if len(alone) == len(addend) else writer.fresh(name, "product")
    made = writer.op("matvec", given.name, weights.name, *alone, out=out, shift=shift, to="int16")
    stored = writer.keep(Stored(made, INT16, np.asarray(exact * 2.0**shift)))
    if len(alone) == len(addend):
        return stored
    other = writer.convert(values.value(addend[0]), Spec(INT16, stored.scale), writer.fresh(name, "addend"))
    return Stored(writer.op("add", made, other.name, out=name, saturate=True), INT16, stored.scale)


def bias_state(values: ValueLowering, name: str, scale: float) -> str:
    """Declare a plastic bias in the units of the sums that it joins."""
    if name not in values.held:
        state = next(s for s in values.sums.graph.states if s.tensor == name)
        first = np.clip(np.floor(np.asarray(state.init, np.float64) / scale + 0.5), *INT32.limits)
        values.writer.builder.state(name, first, INT32, state.reset)
        values.hold(name, Stored(name, INT32, np.asarray(scale)))
    return name


def plain_operand(values: ValueLowering, name: str) -> Stored:
    """A value as what plastic weights multiply: spikes, or int16 on one scale without a zero point."""
    if values.sums.is_spike(name):
        return Stored(values.spike(name), SPIKE, np.ones(()))
    return values.uniform(name)


def leave(values: ValueLowering, state: State, value: str) -> None:
    """Leave a value of the step in a state of its own for the entries that learn."""
    stored = plain_operand(values, value)
    values.writer.builder.state(state.tensor, np.zeros(state.init.shape), stored.dtype, state.reset)
    values.writer.keep(Stored(state.tensor, stored.dtype, stored.scale))
    values.writer.builder.update(state.tensor, stored.name)
