"""What carries an elementwise recurrence: the factor by which a state decays, and what rounding adds to it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgekit.passes.ranges.linear import respond, rounds
from edgekit.passes.ranges.nodes import Node, Step
from edgekit.passes.ranges.values import Array


@dataclass(frozen=True, eq=False)
class Leak:
    """`decay` per element; the rounding of its step summed up over all time, in LSB, where it decays."""

    decay: Array
    rounding: Array | None
    is_whole: bool  # nothing but this decay leads from the state to itself

    @property
    def text(self) -> str:
        """The decay in words."""
        low, high = float(self.decay.min()), float(self.decay.max())
        return f"decay {low:.6g}" if low == high else f"decay {low:.6g} to {high:.6g}"


def leak_of(step: Step, state: str, way: list[Node]) -> Leak | None:
    """The decay of a state along elementwise nodes; None if it is not linear in itself."""
    tensor, value = step.tensors[state], step.entry.updates[state]
    if not tensor.size:
        return None
    decay = _response(step, {state: np.ones((1, *tensor.shape))}, way, value)
    if decay is None:
        return None
    linear = [n for n in way if step.tensors[n.output].dtype.numpy.kind != "b"]
    whole = all(step.linear_operands(n) for n in linear) and len(linear) == len(way)
    rounding = None
    if not tensor.dtype.is_float:
        noise = np.zeros(tensor.shape)
        for at, node in enumerate(way):
            if rounds(step, node):
                gain = _response(step, {node.output: np.ones((1, *tensor.shape))}, way[at + 1 :], value)
                noise = noise + (0.5 * np.abs(gain) if gain is not None else 0.0)
        noise = noise + 0.5 * _fed(step, way, value)
        with np.errstate(divide="ignore"):
            rounding = np.where(np.abs(decay) < 1, noise / np.maximum(1 - np.abs(decay), 1e-12), np.inf)
        rounding = rounding if np.isfinite(rounding).all() else None
    return Leak(decay, rounding, whole)


def _response(step: Step, seeds: dict[str, Array], way: list[Node], value: str) -> Array | None:
    values = dict(seeds)
    for node in way:
        if node.output in seeds or step.tensors[node.output].dtype.numpy.kind == "b":
            continue
        moving = {n for n in node.inputs if n in values}
        if not moving:
            continue
        if not moving <= set(step.linear_operands(node)):
            return None
        result = respond(step, node, values)
        if result is not None:
            values[node.output] = np.broadcast_to(result, (1, *step.tensors[node.output].shape))
    return values[value][0] if value in values else np.zeros(step.tensors[value].shape)


def _fed(step: Step, way: list[Node], value: str) -> Array:
    """How many roundings of half an LSB reach the state from inputs that are rescaled to its scale, not counted here."""
    return np.zeros(step.tensors[value].shape)
