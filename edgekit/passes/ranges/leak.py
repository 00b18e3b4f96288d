"""What carries an elementwise recurrence: the factor by which a state decays, and what rounding adds to it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgekit.passes.ranges.linear import respond, rounds
from edgekit.passes.ranges.nodes import Node, Step
from edgekit.passes.ranges.values import Array

CHOICES = ("where", "minimum", "maximum", "relu")  # give one of their operands, or zero


@dataclass(frozen=True, eq=False)
class Leak:
    """`decay` per element, and what the roundings of its own step add up to over all time, in LSB.

    `residue` is infinite where the state does not decay. `is_whole` where nothing but the decay leads from the state
    to itself: then no state is ever further than that from exact arithmetic fed with the same integers, saturated or
    not, because saturation brings no two values further apart.
    """

    decay: Array
    residue: Array
    is_whole: bool

    @property
    def text(self) -> str:
        """The decay in words."""
        low, high = float(self.decay.min()), float(self.decay.max())
        text = f"decay {low:.6g}" if low == high else f"decay {low:.6g} to {high:.6g}"
        lasting = int((np.abs(self.decay) >= 1).sum())
        return text if not lasting else f"{text}, {lasting} of {self.decay.size} elements keep all they get"


def leak_of(step: Step, state: str, way: list[Node]) -> Leak | None:
    """The decay of a state along elementwise nodes; None if it is not linear in itself."""
    tensor, value = step.tensors[state], step.entry.updates[state]
    decay = _response(step, state, way, value)
    if decay is None or not tensor.size:
        return None
    noise = np.zeros(tensor.shape)
    for at, node in enumerate(way):
        if rounds(step, node):
            gain = _response(step, node.output, way[at + 1 :], value)
            if gain is None:
                return None
            noise = noise + 0.5 * np.abs(gain)
    with np.errstate(divide="ignore", invalid="ignore"):
        residue = np.where(noise == 0, 0.0, np.where(np.abs(decay) < 1, noise / (1 - np.abs(decay)), np.inf))
    inside = {state, *(n.output for n in way)}
    whole = all({n for n in node.inputs if n in inside} <= set(step.linear_operands(node)) for node in way)
    return Leak(decay, residue, whole)


def _response(step: Step, start: str, way: list[Node], value: str) -> Array | None:
    """The most that one unit more of `start` adds to `value` while no spike changes; None if it has no such bound."""
    values = {start: np.ones((1, *step.tensors[start].shape))}
    for node in way:
        moving = {n: None for n in node.inputs if n in values}.keys()
        if node.output in values or not moving or step.tensors[node.output].dtype.numpy.kind == "b":
            continue
        result: Array | None
        if node.kind in CHOICES:
            parts = [np.broadcast_to(values[n], (1, *step.tensors[node.output].shape)) for n in moving]
            result = parts[0] if len(parts) == 1 else np.where(np.abs(parts[0]) >= np.abs(parts[1]), *parts)
        elif moving <= set(step.linear_operands(node)):
            result = respond(step, node, values)
        else:
            return None
        if result is not None:
            values[node.output] = np.broadcast_to(result, (1, *step.tensors[node.output].shape))
    found = values.get(value)
    return np.zeros(step.tensors[value].shape) if found is None else np.asarray(found[0])
