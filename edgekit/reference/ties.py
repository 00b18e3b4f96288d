"""Steps that hang on a rounding: every outcome that a step may have where a comparison is next to a tie.

An engine that adds in another order may decide such a comparison the other way, and is as right as the reference. What
it then gives must still be one of these outcomes: that some comparison was close excuses nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.ir.graph import Graph, Op
from edgekit.ir.ops import OPS
from edgekit.reference.interpreter import Interpreter, Values

Array = npt.NDArray[Any]

MARGIN = 1e-5  # of a comparison in float64, times max(1, |y|): closer than this to a tie, rounding may decide it
MOST_TIES = 6  # of one step, all of whose combinations are tried; of more, each alone and all together
COMPARES = ("gt", "ge", "lt", "le", "eq", "ne")
JUMPS = ("floor", "round", "sign")


@dataclass(frozen=True)
class Tie:
    """An element of a value that may come out otherwise: the op, which element of its result, and what it then is."""

    op: int
    at: int
    other: float


def near_ties(
    graph: Graph, inputs: Mapping[str, Array], state: Mapping[str, Array], margin: float = MARGIN
) -> list[Tie]:
    """The ties of a step of one stream, found in float64: of comparisons, and of floor, round and sign."""
    exact = Interpreter(graph, np.float64)
    wide = {n: v.astype(np.float64) if v.dtype.kind == "f" else v for n, v in state.items()}
    values = exact.trace(inputs, wide)
    found: list[Tie] = []
    for at, op in enumerate(graph.entries["step"].ops):
        with np.errstate(invalid="ignore"):  # Inf - Inf: never close
            jump = _jump(graph, op, values)
        if jump is not None:
            distance, other = jump
            close = np.flatnonzero(distance < margin).tolist()
            found += [Tie(at, i, float(other.reshape(-1)[i])) for i in close]
    return found


def _jump(graph: Graph, op: Op, values: Values) -> tuple[Array, Array] | None:
    """How far each element of a result is from jumping, and where it would jump to; None for a continuous op."""
    x, y = values[op.inputs[0]], values[op.outputs[0]]
    if op.kind in COMPARES or (op.kind == "cast" and op.attrs["to"] == "spike"):
        rank = len(graph.tensors[op.outputs[0]].shape)
        left, right = (
            [v.reshape(v.shape[0], *(1,) * (rank + 1 - v.ndim), *v.shape[1:]) for v in (values[n] for n in op.inputs)]
            if len(op.inputs) == 2
            else (x, np.zeros(()))
        )
        distance = np.abs(left - right) / np.maximum(1.0, np.abs(right))
        silent = (left == 0) & (right == 0)  # 0 > 0 is the same everywhere
        return np.broadcast_to(np.where(silent, np.inf, distance), y.shape), ~y
    if op.kind not in JUMPS:
        return None
    if op.kind == "sign":
        return np.where(x == 0, np.inf, np.abs(x)), -y
    edge = np.rint(x) if op.kind == "floor" else np.floor(x) + 0.5
    above = edge if op.kind == "floor" else edge + 0.5
    scale = _divisor(graph, op.inputs[0])  # a quotient is as far from a jump as what was divided
    distance = np.abs(x - edge) * scale / np.maximum(1.0, np.abs(x) * scale)
    return np.where(x == np.rint(x), np.inf, distance), np.where(y == above, above - 1, above)


def _divisor(graph: Graph, name: str) -> float:
    """The number that made a value by division, 1 where none did."""
    for op in graph.entries["step"].ops:
        if name in op.outputs and op.kind == "div":
            by = graph.tensors[op.inputs[1]].data
            return float(np.abs(by).max()) if by is not None else 1.0
    return 1.0


def outcomes(graph: Graph, inputs: Mapping[str, Array], state: Mapping[str, Array]) -> Iterator[tuple[Values, Values]]:
    """Outputs and next states [1, *shape] of each way in which a step of one stream may come out otherwise.

    There is none where no tie is near.
    """
    ties = near_ties(graph, inputs, state)
    if not ties:
        return
    if len(ties) <= MOST_TIES:
        ways = np.array(list(product((False, True), repeat=len(ties)))[1:])
    else:
        ways = np.concatenate([np.eye(len(ties), dtype=bool), np.ones((1, len(ties)), bool)])
    values = _traced(graph, inputs, state, ties, ways)
    step = graph.entries["step"]
    following = {s.tensor: step.updates.get(s.tensor, s.tensor) for s in graph.states}
    for at in range(len(ways)):
        one = {name: array[at : at + 1] if len(array) > 1 else array for name, array in values.items()}
        yield {name: one[name] for name in step.outputs}, {name: one[value] for name, value in following.items()}


def _ways(array: Array, count: int) -> Array:
    return array if array.shape[0] == count else np.broadcast_to(array, (count, *array.shape[1:]))


def _traced(
    graph: Graph, inputs: Mapping[str, Array], state: Mapping[str, Array], ties: list[Tie], ways: Array
) -> Values:
    """Every value of the step, one stream for each of the `ways`, in which the ties of that way fall otherwise."""
    tensors, count = graph.tensors, len(ways)
    values: Values = {n: t.data[None] for n, t in tensors.items() if t.data is not None}
    for name, array in {**inputs, **state}.items():
        values[name] = np.repeat(np.asarray(array).astype(tensors[name].dtype.numpy, copy=False), count, axis=0)
    for at, op in enumerate(graph.entries["step"].ops):
        args = [values[n] for n in op.inputs]
        results = OPS[op.kind].evaluate(args, op.attrs, [tensors[n] for n in op.inputs])
        values.update(zip(op.outputs, results, strict=True))
        mine = [(tie, ways[:, i]) for i, tie in enumerate(ties) if tie.op == at]
        if mine:
            name = op.outputs[0]
            changed = np.array(_ways(values[name], count), order="C")
            for tie, way in mine:
                changed.reshape(count, -1)[way, tie.at] = tie.other
            values[name] = changed
    return values
