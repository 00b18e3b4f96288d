"""Linear recurrences read off a graph: what each state and each value from outside adds to the next states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from edgekit.ir import FLOAT32, OPS, Tensor
from edgekit.passes.ranges.nodes import Node, Step, moves
from edgekit.passes.ranges.values import Array, Interval

MOST_NUMBERS = 2**25  # of one value's responses: 256 MiB
Responses = dict[str, Array]


def gain_of(step: Step, node: Node) -> Array:
    """The constant factor of a `rescale`, as a real."""
    factor = next(c for c in map(step.const, node.inputs) if c is not None)
    return np.asarray(factor.astype(np.float64) / 2.0 ** node.attrs["shift"])


def rounds(step: Step, node: Node) -> bool:
    """Whether a node's result is rounded: half an LSB from the exact one at most."""
    if node.kind != "rescale":
        return False
    gain = gain_of(step, node)
    return bool((gain != np.floor(gain)).any())


def respond(step: Step, node: Node, values: Mapping[str, Array]) -> Array | None:
    """The linear part of a node over responses [K, *shape]; operands that are not among them count as zero."""
    args = [values.get(n) for n in node.inputs]
    known = [a for a in args if a is not None]
    if not known:
        return None
    shape = step.tensors[node.output].shape
    tensors = [Tensor(n, step.tensors[n].shape, FLOAT32) for n in node.inputs]
    if moves(node.kind) or node.kind in ("sum", "cumsum"):
        filled = [np.zeros((len(known[0]), *t.shape)) if a is None else a for a, t in zip(args, tensors, strict=True)]
        return np.asarray(OPS[node.kind].evaluate(filled, node.attrs, tensors)[0])
    if node.kind in ("linear", "memory_update"):
        return _contracted(step, node, args, shape)
    x, *rest = (None if a is None else _aligned(a, shape) for a in args)
    if node.kind == "rescale":
        return np.asarray(_aligned(known[0], shape) * gain_of(step, node))
    if node.kind in ("add", "sub"):
        (y,) = rest
        y = -y if y is not None and node.kind == "sub" else y
        return x if y is None else y if x is None else x + y
    return None if x is None else np.asarray(-x if node.kind == "neg" else x)


def _contracted(step: Step, node: Node, args: Sequence[Array | None], shape: tuple[int, ...]) -> Array:
    """The responses of a matrix product: of its operand, and of what is added to it."""
    total = np.zeros(())
    for at, a in enumerate(args):
        if a is None:
            continue
        weights = step.const(node.inputs[at + 1]) if at in factors_after(node) else None
        total = total + (_aligned(a, shape) if weights is None else a @ weights.astype(np.float64).T)
    return np.asarray(total)


def factors_after(node: Node) -> tuple[int, ...]:
    """The operands of a node that the weights after them multiply."""
    return {"linear": (0,), "memory_update": (0, 2)}.get(node.kind, ())


def _aligned(a: Array, shape: tuple[int, ...]) -> Array:
    return a.reshape(a.shape[0], *(1,) * (len(shape) - (a.ndim - 1)), *a.shape[1:])


@dataclass(frozen=True, eq=False)
class System:
    """s' = F s + G w, w within bounds: inputs from outside and the errors of rounding (the last `noises` columns)."""

    states: tuple[str, ...]
    F: Array
    G: Array
    w: Interval
    noises: int
    observed: Mapping[str, tuple[Array, Array]] = field(default_factory=dict)  # values on the way: C s + D w


def is_linear(step: Step, nodes: Sequence[Node], states: Sequence[str]) -> bool:
    """Whether every node is linear in what leads from these states to themselves."""
    inside = {*states, *(n.output for n in nodes)}
    return all({n for n in node.inputs if n in inside} <= set(step.linear_operands(node)) for node in nodes)


def system_of(
    step: Step, states: Sequence[str], nodes: Sequence[Node], known: Mapping[str, Interval], observe: Sequence[str] = ()
) -> System | None:
    """The recurrence of states through linear nodes; None if it is too large to be written out."""
    tensors, updates = step.tensors, step.entry.updates
    inside = {*states, *(n.output for n in nodes)}
    read = [n for node in nodes for n in _moving(step, node)] + [updates[s] for s in states]
    outside = list(dict.fromkeys(n for n in read if n not in inside))
    noisy = [n.output for n in nodes if rounds(step, n)]
    seeds = [*states, *outside, *noisy]
    sizes = [tensors[n].size for n in seeds]
    total = sum(sizes)
    if total * max([tensors[n].size for n in inside] or [1]) > MOST_NUMBERS:
        return None
    values: Responses = {}
    noise: Responses = {}
    at = 0
    for i, (name, size) in enumerate(zip(seeds, sizes, strict=True)):
        unit = np.zeros((total, size))
        unit[at : at + size] = np.eye(size)
        target = noise if i >= len(states) + len(outside) else values
        target[name] = unit.reshape(total, *tensors[name].shape)
        at += size
    for node in nodes:
        result = respond(step, node, values)
        assert result is not None
        result = np.broadcast_to(result, (total, *tensors[node.output].shape))
        values[node.output] = result + noise[node.output] if node.output in noise else result
    n = sum(sizes[: len(states)])

    def rows(name: str) -> tuple[Array, Array]:
        matrix = values[name].reshape(total, -1).T
        return matrix[:, :n].copy(), matrix[:, n:].copy()

    parts = [rows(updates[s]) for s in states]
    bounds = [known[name].broadcast(tensors[name].shape) for name in outside]
    count = sum(tensors[n].size for n in noisy)
    lo = np.concatenate([*(b.lo.reshape(-1) for b in bounds), np.full(count, -0.5)])
    hi = np.concatenate([*(b.hi.reshape(-1) for b in bounds), np.full(count, 0.5)])
    return System(
        tuple(states),
        np.concatenate([f for f, _ in parts]),
        np.concatenate([g for _, g in parts]),
        Interval(lo, hi),
        count,
        {name: rows(name) for name in observe},
    )


def _moving(step: Step, node: Node) -> list[str]:
    """Operands that add to a linear node's result: all but its factors."""
    weights = [at + 1 for at in factors_after(node)]
    names = [n for at, n in enumerate(node.inputs) if at not in weights]
    return [n for n in names if step.const(n) is None] if node.kind == "rescale" else names
