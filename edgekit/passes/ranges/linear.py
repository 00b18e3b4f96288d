"""Linear recurrences read off a graph: what each state and each value from outside adds to the next states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from edgekit.ir import FLOAT32, OPS, Tensor
from edgekit.ir.ops.movement import MOVEMENT
from edgekit.passes.ranges.nodes import Node, Step
from edgekit.passes.ranges.reals import weights_of
from edgekit.passes.ranges.values import Array, Interval

MOST_NUMBERS = 2**25  # of one value's responses: 256 MiB
Responses = dict[str, Array]


def gain_of(step: Step, node: Node) -> Array:
    """The constant factor of a product, or of a division."""
    consts = [step.const(n) for n in node.inputs]
    factor = next(c for c in reversed(consts) if c is not None).astype(np.float64)
    if node.kind == "rescale":
        return np.asarray(factor / 2.0 ** node.attrs["shift"])
    return np.asarray(1.0 / factor if node.kind == "div" else factor)


def rounds(step: Step, node: Node) -> bool:
    """Whether a node's result is rounded: half an LSB from the exact one at most."""
    if node.kind != "rescale":
        return False
    factor = next(c for c in (step.const(n) for n in node.inputs) if c is not None)
    return bool((factor.astype(np.int64) % (1 << node.attrs["shift"]) != 0).any())


def respond(step: Step, node: Node, values: Mapping[str, Array]) -> Array | None:
    """The linear part of a node over responses [K, *shape]; operands that are not among them count as zero."""
    args = [values.get(n) for n in node.inputs]
    known = [a for a in args if a is not None]
    if not known:
        return None
    many, out = known[0].shape[0], step.tensors[node.output]
    tensors = [Tensor(n, step.tensors[n].shape, FLOAT32) for n in node.inputs]

    def filled(at: int) -> Array:
        arg = args[at]
        return np.zeros((many, *tensors[at].shape)) if arg is None else arg

    def weights(at: int) -> Array:
        tensor = step.tensors[node.inputs[at]]
        return weights_of(tensor) if tensor.dtype.numpy.kind == "f" or out.dtype.is_float else _stored(tensor)

    if node.kind in MOVEMENT or node.kind in ("sum", "cumsum"):
        return np.asarray(OPS[node.kind].evaluate([filled(i) for i in range(len(args))], node.attrs, tensors)[0])
    if node.kind == "linear":
        y = 0.0 if args[0] is None else args[0] @ weights(1).T
        return y if len(args) < 3 or args[2] is None else y + _aligned(args[2], out.shape)
    if node.kind == "memory_update":
        y = 0.0 if args[0] is None else args[0] @ weights(1).T
        return np.asarray(y if args[2] is None else y + args[2] @ weights(3).T)
    parts = [None if a is None else _aligned(a, out.shape) for a in args]
    if node.kind in ("mul", "div", "rescale"):
        (part,) = [p for p in parts if p is not None]
        return np.asarray(part * gain_of(step, node))
    if node.kind in ("add", "sub"):
        x, y = parts
        sign = -1.0 if node.kind == "sub" else 1.0
        total = x if y is None else sign * y if x is None else x + sign * y
        return np.broadcast_to(total, (many, *out.shape)) if total is not None else None
    (part,) = [p for p in parts if p is not None]
    return np.asarray(-part if node.kind == "neg" else part)


def _stored(tensor: Tensor) -> Array:
    assert tensor.data is not None
    return tensor.data.astype(np.float64)


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
    outside = list(dict.fromkeys(n for node in nodes for n in _moving(step, node) if n not in inside))
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
    """Operands that add to a linear node's result: all but its factors, constants among them."""
    factors = {"linear": (1,), "memory_update": (1, 3)}.get(node.kind, ())
    names = [n for i, n in enumerate(node.inputs) if i not in factors]
    if node.kind in ("mul", "div", "rescale"):
        names = [n for n in names if step.const(n) is None]
    return names
