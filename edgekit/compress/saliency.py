"""How much each unit of a step matters: by its weights, or by what calibration saw of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edgekit.compress.calibrate import Calibration
from edgekit.compress.gone import Mask, closure
from edgekit.compress.masks import damped
from edgekit.compress.matrices import matrices
from edgekit.compress.shrink import Units, slab
from edgekit.compress.stored import Array
from edgekit.compress.terms import Sums
from edgekit.ir import Graph, Op

AROUND = ("sum", "amax")  # ops that a unit reaches what stays through, besides matrices


@dataclass(frozen=True)
class Saliency:
    """A number for each unit of a group, the larger the more it matters, and which units do nothing at all."""

    scores: Array
    idle: tuple[int, ...] = ()


def by_magnitude(graph: Graph, units: Units) -> Saliency:
    """√Σ w² over the weights that go with each unit, those of each matrix in units of its root mean square."""
    weights = {n: np.asarray(graph.tensors[n].data, np.float64) for n in matrices(graph)}
    size = {n: float(np.sqrt(np.mean(w**2))) or 1.0 for n, w in weights.items()}
    scores = [
        np.sqrt(sum(float(np.sum((w[gone[n]] / size[n]) ** 2)) for n, w in weights.items()))
        for gone in each(graph, units)
    ]
    return Saliency(np.asarray(scores))


def by_activity(graph: Graph, units: Units, seen: Calibration) -> Saliency:
    """√Σ of what each product that stays loses with a unit, as a share of its power E |W x|².

    That is W_G ([(H + λ)⁻¹]_GG)⁻¹ W_Gᵀ over its inputs G that go with the unit, H = E[x xᵀ]: what the others cannot
    make good (Hassibi and Stork, 1993), without rows that go too. Of a memory_update it is Σ var(x_i) |w_i|². A unit is
    idle where all that it hands on is constant.
    """
    sums, found, idle = Sums(graph), [], []
    inverses: dict[str, Array] = {}
    for at, gone in enumerate(each(graph, units)):
        share, still = 0.0, True
        for op in sums.step.ops:
            for x, w, columns, rows in handed_on(sums, gone, (op,)):
                variance = seen.variance(x)
                still = still and not variance[columns].any()
                moments = seen.moments.get(x) if op.kind == "linear" else None
                lost = w[~rows][:, columns]
                if moments is None:
                    cost, power = (lost**2 @ variance[columns]).sum(), (w**2 @ variance).sum()
                else:
                    inverse = _inverse(inverses, x, moments)
                    own = np.linalg.inv(inverse[np.ix_(columns, columns)])
                    cost, power = np.einsum("oi,ij,oj->", lost, own, lost), np.einsum("oi,ij,oj->", w, moments, w)
                share += float(cost / power) if power > 0 else 0.0
            if op.kind in AROUND and gone[op.inputs[0]].any() and not gone[op.outputs[0]].all():
                observed, which = seen.of(op.inputs[0]), gone[op.inputs[0]]
                share += float(np.mean(which))
                still = still and not (np.abs(observed.hi) + np.abs(observed.lo))[which].any()
        found.append(np.sqrt(share))
        if still:
            idle.append(at)
    return Saliency(np.asarray(found), tuple(idle))


def handed_on(sums: Sums, gone: Mapping[str, Mask], ops: Sequence[Op]) -> Iterator[tuple[str, Array, Mask, Mask]]:
    """Products that stay though some of their operands go: the value x, the matrix, its columns and rows that go."""
    for op in ops:
        pairs = {"linear": ((0, 1),), "memory_update": ((0, 1), (2, 3))}.get(op.kind, ())
        for value, matrix in pairs:
            x, name = op.inputs[value], op.inputs[matrix]
            data = sums.data(name)
            if data is None or not gone[x].any():
                continue
            columns = np.asarray(gone[x].reshape(-1, gone[x].shape[-1]).all(axis=0))
            rows = np.asarray(gone[name].all(axis=1))
            if columns.any() and not rows.all():
                yield sums.uncast(x), data, columns, rows


def _inverse(known: dict[str, Array], x: str, moments: Array) -> Array:
    if x not in known:
        known[x] = np.linalg.inv(damped(moments))
    return known[x]


def each(graph: Graph, units: Units) -> Iterator[Mapping[str, Mask]]:
    """What goes with each unit of a group."""
    shape = graph.tensors[units.value].shape
    for at in range(units.size):
        yield closure(graph, {units.value: slab(shape, units.axis, [at])})
