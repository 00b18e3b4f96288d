"""Random integer programs: no value of any run leaves its interval, and no op clips or wraps that is not listed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from integer_equality import batches, seeds
from integer_streams import random_stream, square_waves
from random_integer import FULL, describe, random_integer_graph

from edgekit.ir import OPS, SPIKE, Graph, Op
from edgekit.ir.ops.contract import integer_matvec
from edgekit.passes.pipelines import LOWER, run_passes
from edgekit.passes.ranges import Ranges, analyse
from edgekit.reference import Interpreter

STEPS, STREAMS = 24, 4


def wide(op: Op, graph: Graph, values: Mapping[str, np.ndarray]) -> np.ndarray | None:
    """The exact result of an op in int64, before it is made to fit; None where it always fits."""
    tensors = [graph.tensors[n] for n in op.inputs]
    args = [values[n].astype(np.int64) for n in op.inputs]
    if op.kind in ("linear", "memory_update"):
        pairs = [(0, 1), (2, 3)] if op.kind == "memory_update" else [(0, 1)]
        total = sum(integer_matvec(values[op.inputs[i]], values[op.inputs[j]]) for i, j in pairs)
        if op.kind == "linear" and len(args) == 3:
            total = total + args[2].reshape(len(args[2]), *(1,) * (total.ndim - args[2].ndim), *args[2].shape[1:])
        return total
    if op.kind in ("matvec", "matvec_t", "outer_add"):
        return narrowed(op, args)
    if op.kind == "distance":
        return OPS["distance"].evaluate([values[n] for n in op.inputs], op.attrs, tensors)[0].astype(np.int64)
    if op.kind == "sum":
        return args[0].sum(axis=op.attrs["axis"] + 1, keepdims=op.attrs.get("keepdims", False))
    if op.kind == "cumsum":  # never wraps in int64
        return OPS["cumsum"].evaluate(args, op.attrs, tensors)[0]
    if op.kind not in ("add", "sub", "neg", "abs", "rescale", "cast"):
        return None
    rank = max(len(t.shape) for t in tensors)
    x, *rest = (a.reshape(len(a), *(1,) * (rank - len(t.shape)), *t.shape) for a, t in zip(args, tensors, strict=True))
    half = (1 << op.attrs.get("shift", 0)) >> 1
    return {
        "add": lambda: x + rest[0],
        "sub": lambda: x - rest[0],
        "neg": lambda: -x,
        "abs": lambda: np.abs(x),
        "rescale": lambda: (x * rest[0] + half) >> op.attrs["shift"],
        "cast": lambda: x,
    }[op.kind]()


def narrowed(op: Op, args: Sequence[np.ndarray]) -> np.ndarray:
    """Exact sums with weights of the program, rounded; of an update, what it makes of the weights."""
    shift = op.attrs.get("shift", 0)
    if op.kind == "outer_add":
        w, a, b = args
        a, b = (v.reshape(len(v), -1, v.shape[-1]) for v in (a, b))
        running = (np.cumsum(np.einsum("nra,nrb->nab", a, b), axis=2) + (1 << shift >> 1)) >> shift
        return w + np.clip(np.diff(running, axis=2, prepend=0), -(2**15), 2**15 - 1)
    letters = "ab" if op.kind == "matvec" else "ba"
    sums = np.einsum(f"n...b,n{letters}->n...a", *(np.broadcast_to(v, (len(args[0]), *v.shape[1:])) for v in args[:2]))
    for c in args[2:]:
        sums = sums + c.reshape(len(c), *(1,) * (sums.ndim - 2), -1)
    return (sums + (1 << shift >> 1)) >> shift


def outside(op: Op, graph: Graph, values: Mapping[str, np.ndarray]) -> bool:
    dtype = graph.tensors[op.outputs[0]].dtype
    exact = None if dtype is SPIKE else wide(op, graph, values)
    return exact is not None and bool(((exact < dtype.limits[0]) | (exact > dtype.limits[1])).any())


def hold(graph: Graph, ranges: Ranges, seed: int, where: str) -> tuple[set[str], set[str]]:
    """Run streams of many kinds; every value lies in its interval. What the proof lists, and what really clips."""
    listed = {f.tensor for f in (*ranges.overflows, *ranges.saturations)}
    interpreter = Interpreter(graph)
    kinds = [random_stream(graph, seed + 1000 * i, STEPS) for i in range(STREAMS - 1)]
    columns = zip(*kinds, square_waves(graph, seed, STEPS), strict=True)
    inputs = dict(zip(graph.entries["step"].inputs, (np.stack(c) for c in columns), strict=True))
    state, clipped = interpreter.initial_state(STREAMS), set[str]()
    for t in range(STEPS):
        given = {n: a[:, t] for n, a in inputs.items()}
        values = interpreter.trace(given, state)
        for name, bounds in ranges.values.items():
            inside = (values[name] >= bounds.lo).all() and (values[name] <= bounds.hi).all()
            assert inside, f"{where}: {name} at step {t}"
        for op in graph.entries["step"].ops:
            if op.kind != "fused" and outside(op, graph, values):
                clipped.add(op.outputs[0])
                assert op.outputs[0] in listed, f"{where}: {op.kind} -> {op.outputs[0]} clips at step {t}, unlisted"
        _, state = interpreter.execute(given, state)
        for name, proof in ranges.states.items():
            inside = (state[name] >= proof.lo).all() and (state[name] <= proof.hi).all()
            assert inside, f"{where}: state {name} after step {t}, {proof.method}"
    return listed, clipped


def test_random_programs_keep_within_their_ranges(drawn_seed: int) -> None:
    listed, clipped = 0, 0
    for n in (n for batch in batches(seeds(drawn_seed)) for n in batch):
        graph = random_integer_graph(n)
        found = hold(graph, analyse(graph), n, describe(n, FULL))
        listed, clipped = listed + len(found[0]), clipped + len(found[1])
    assert clipped > 0.6 * listed, "the lists hold little that happens"


@pytest.mark.parametrize("first", [0, 10])
def test_a_lowered_program_has_the_ranges_of_the_program(first: int) -> None:
    """Fused lines are bounded like the ops that they were, and by their names."""
    for n in range(first, first + 10):
        graph = random_integer_graph(n)
        lowered = run_passes(graph, LOWER)
        before, after = analyse(graph), analyse(lowered)
        hold(lowered, after, n, f"{describe(n, FULL)}, lowered")
        assert [s.tensor for s in graph.states] == [s.tensor for s in lowered.states]
        for name, proof in before.states.items():
            same = after.states[name]
            assert np.array_equal(proof.lo, same.lo), f"{describe(n, FULL)}: {name}"
            assert np.array_equal(proof.hi, same.hi), f"{describe(n, FULL)}: {name}"
        assert len(before.overflows) == len(after.overflows)
