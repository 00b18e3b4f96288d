"""What a step computes, in the terms of NeuroBench (Yik et al., 2025, "The neurobench framework for benchmarking
neuromorphic computing algorithms and systems", Nature Communications 16, 1545), and which neurons fire.

The program is run by the numpy reference, which every engine equals. Connections are the weights of products: `linear`,
`conv`, `matvec` and the two matrices of `memory_update`. Of an operation on inputs x with weights W, sizes per step:

dense = products with every weight · effective = products in which neither x nor the weight is zero; these are
accumulates (ACs) where all of x is in {-1, 0, 1}, else multiply-accumulates (MACs).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from edgekit.artifact import Artifact
from edgekit.ir import OPS, SPIKE, Entry, Graph, Op
from edgekit.profile.grades import DERIVED
from edgekit.profile.stimulus import Array, Stimulus
from edgekit.reference import Interpreter

NONLINEAR = frozenset({"relu", "tanh", "sigmoid", "erf", "lookup"})  # whose results are activations
_PASSED = frozenset({"flush", "cast", "rescale"})  # what changes the form of a value, not what it says
MOST_SPIKES = 20_000  # of the raster


@dataclass(frozen=True)
class Operations:
    """Mean figures of one step over `steps` steps; a window has `window` times as many.

    `footprint_bytes` are weights, other constants and states as the program computes with them, `parameters` the
    numbers that are constant. `original_bytes` is NeuroBench's footprint of the PyTorch module that it was made from,
    with its buffers, and `original_parameters` what that module trains; None where it was made from something else.
    `connection_sparsity` is the share of weights that are zero, `activation_sparsity` that of activations: spikes, and
    results of relu, tanh and sigmoid; None without any. `membrane_updates` counts membranes (states that a threshold
    is compared with) that a step changed, all of them in the first step after a reset.
    """

    steps: int
    window: int | None
    footprint_bytes: int
    parameters: int
    original_bytes: int | None
    original_parameters: int | None
    connection_sparsity: float
    activation_sparsity: float | None
    dense: float
    effective_macs: float
    effective_acs: float
    membrane_updates: float
    grade: str = DERIVED

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; `a_window` has the figures of a whole window, where the stimulus has windows."""
        counted = ("dense", "effective_macs", "effective_acs", "membrane_updates")
        a_window = {name: getattr(self, name) * self.window for name in counted} if self.window else None
        return {**asdict(self), "a_window": a_window}


@dataclass(frozen=True)
class Population:
    """Neurons that fire together by one comparison; `rate` is the mean share of them that fire in a step."""

    name: str
    size: int
    rate: float


@dataclass(frozen=True)
class Activity:
    """`spikes` are (step, population, neuron) of the first stream, at most MOST_SPIKES of them; `steps` its length."""

    steps: int
    populations: tuple[Population, ...]
    spikes: tuple[tuple[int, int, int], ...]
    grade: str = DERIVED

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def observe(artifact: Artifact, stimulus: Stimulus) -> tuple[Operations, Activity]:
    """Run the step over a stimulus in the numpy reference, and count; each of its streams starts from a reset."""
    graph, step = artifact.graph, artifact.graph.entries["step"]
    fired = spikes_of(graph, step)
    active = [*fired, *activations_of(step)]
    membranes = membranes_of(graph, step)
    tally = _Tally(graph, step)
    zeros = values = updates = 0
    rates, events = np.zeros(len(fired)), list[tuple[int, int, int]]()
    for first, batch in _batches(stimulus):
        interpreter = Interpreter(graph)
        state = interpreter.initial_state(len(batch[0]))
        for t in range(batch[0].shape[1]):
            given = {n: a[:, t] for n, a in zip(step.inputs, batch, strict=True)}
            seen = interpreter.trace(given, state)
            tally.add(seen, len(batch[0]))
            for name in active:
                zeros += int(np.count_nonzero(seen[name] == 0))
                values += seen[name].size
            for at, name in enumerate(fired):
                rates[at] += np.count_nonzero(seen[name]) / graph.tensors[name].size
                if first and len(events) < MOST_SPIKES:
                    events += [(t, at, int(n)) for n in np.flatnonzero(seen[name][0])]
            following = {s.tensor: seen[step.updates.get(s.tensor, s.tensor)] for s in graph.states}
            for name in membranes:
                changed = following[name] != state[name]
                updates += changed.size if t == 0 else int(np.count_nonzero(changed))
            state = following
    steps = stimulus.steps
    weights = {n: w for op in step.ops for _, n in connections(op) if (w := graph.tensors[n].data) is not None}
    constants = [t for t in graph.tensors.values() if t.is_const]
    size = sum(w.size for w in weights.values())
    operations = Operations(
        steps=steps,
        window=stimulus.window,
        footprint_bytes=sum(_bytes(graph, t.name) for t in constants)
        + sum(_bytes(graph, n) for n in graph.state_names),
        parameters=sum(t.size for t in constants),
        original_bytes=artifact.manifest["provenance"].get("footprint_bytes"),
        original_parameters=artifact.manifest["provenance"].get("parameters"),
        connection_sparsity=sum(int(np.count_nonzero(w == 0)) for w in weights.values()) / size if size else 0.0,
        activation_sparsity=zeros / values if values else None,
        dense=tally.dense / steps,
        effective_macs=tally.macs / steps,
        effective_acs=tally.acs / steps,
        membrane_updates=updates / steps,
    )
    names = _names(step, fired)
    populations = tuple(
        Population(names[name], graph.tensors[name].size, float(rate / steps))
        for name, rate in zip(fired, rates, strict=True)
    )
    return operations, Activity(len(stimulus.streams[0][0]), populations, tuple(events[:MOST_SPIKES]))


def _names(step: Entry, fired: Sequence[str]) -> dict[str, str]:
    """What people call neurons: the layer that they came from, or a state that is updated with them, or their value."""
    updates = {value: state for state, value in step.updates.items()}
    names = {}
    for op in step.ops:
        for name in op.outputs:
            beside = next((updates[n] for n in op.outputs if n in updates), name)
            names[name] = op.source or updates.get(name, beside)
    return {name: names[name] for name in fired}


def connections(op: Op) -> list[tuple[str, str]]:
    """The pairs (input, weights) that an op multiplies."""
    if op.kind in ("linear", "conv", "matvec"):
        return [(op.inputs[0], op.inputs[1])]
    if op.kind == "memory_update":
        memory, a, signal, b = op.inputs
        return [(memory, a), (signal, b)]
    return []


def spikes_of(graph: Graph, step: Entry) -> list[str]:
    """The spikes that a step makes, in order: results of comparisons that leave their op."""
    made = [n for op in step.ops if op.kind not in ("reshape", "slice", "concat", "gather") for n in op.outputs]
    return [name for name in made if graph.tensors[name].dtype is SPIKE]


def activations_of(step: Entry) -> list[str]:
    """The results of nonlinearities that are not spikes."""
    found = list[str]()
    for op in step.ops:
        if op.kind in NONLINEAR:
            found += op.outputs
        elif op.kind == "fused":
            body = _Body(op)
            found += [
                n for n, at in zip(op.outputs, body.results, strict=True) if body.kind(body.behind(at)) in NONLINEAR
            ]
    return found


def membranes_of(graph: Graph, step: Entry) -> list[str]:
    """The states whose next value is compared with a threshold, so that a spike is made."""
    updates = {value: state for state, value in step.updates.items()}
    compared = set[str]()
    for op in step.ops:
        if op.kind == "fused":
            body = _Body(op)
            operands = {body.behind(i) for at in body.results if body.kind(at) in ("gt", "ge") for i in body.inputs(at)}
            compared |= {n for n, at in zip(op.outputs, body.results, strict=True) if body.behind(at) in operands}
        elif op.kind in ("gt", "ge"):
            compared |= set(op.inputs)
    return [updates[name] for name in updates if name in compared and graph.tensors[name].dtype is not SPIKE]


class _Body:
    """The scalar lines of a fused op; values are numbered inputs first."""

    def __init__(self, op: Op) -> None:
        self._inputs, self._lines = len(op.inputs), op.attrs["body"]
        self.results: Sequence[int] = op.attrs["results"]

    def kind(self, at: int) -> str:
        """What makes a value; '' of an input."""
        return str(self._lines[at - self._inputs][0]) if at >= self._inputs else ""

    def inputs(self, at: int) -> Sequence[int]:
        """The values that a line reads."""
        return tuple(self._lines[at - self._inputs][1]) if at >= self._inputs else ()

    def behind(self, at: int) -> int:
        """The value before changes of its form."""
        while self.kind(at) in _PASSED:
            at = self.inputs(at)[0]
        return at


class _Tally:
    """Sums of operations over steps and streams."""

    def __init__(self, graph: Graph, step: Entry) -> None:
        self._graph = graph
        self._ops = [op for op in step.ops if connections(op)]
        self._padded = {op.outputs[0]: op for op in step.ops if op.kind == "pad"}
        self.dense = self.macs = self.acs = 0

    def add(self, seen: Mapping[str, Array], streams: int) -> None:
        for op in self._ops:
            for x, w in connections(op):
                array, weights = seen[x], seen[w]
                full = self._count(op, self._full(x), np.ones_like(weights))
                self.dense += full * streams
                for one, matrix in zip(array, _each(weights, len(array)), strict=True):
                    effective = self._count(op, (one != 0)[None], (matrix != 0)[None])
                    if self._spiking(x, one):
                        self.acs += effective
                    else:
                        self.macs += effective

    def _full(self, name: str) -> Array:
        """Ones in place of a value; what was padded around it stays zero."""
        pad = self._padded.get(name)
        if pad is None:
            return np.ones((1, *self._graph.tensors[name].shape), np.float32)
        inner = np.ones((1, *self._graph.tensors[pad.inputs[0]].shape), np.float32)
        return np.asarray(OPS["pad"].evaluate([inner], {**pad.attrs}, [self._graph.tensors[pad.inputs[0]]])[0])

    def _spiking(self, name: str, array: Array) -> bool:
        quant = self._graph.tensors[name].quant
        real = array if quant is None or self._graph.tensors[name].dtype is SPIKE else quant.dequantize(array)
        return bool(np.isin(real, (-1, 0, 1)).all())

    def _count(self, op: Op, x: Array, w: Array) -> int:
        """Products of ones in x with ones in w."""
        x, w = x.astype(np.float64), w.astype(np.float64)
        if op.kind == "conv":
            tensors = [self._graph.tensors[n] for n in op.inputs[:2]]
            return round(float(np.asarray(OPS["conv"].evaluate([x, w], op.attrs, tensors)[0]).sum()))
        return round(float(x.reshape(-1, x.shape[-1]).sum(axis=0) @ w[0].sum(axis=0)))


def _each(weights: Array, streams: int) -> Iterator[Array]:
    """The weights of every stream: constants are the same for all."""
    return iter(np.broadcast_to(weights, (streams, *weights.shape[1:])))


def _bytes(graph: Graph, name: str) -> int:
    tensor = graph.tensors[name]
    return -(-tensor.size * tensor.dtype.bits // 8)


def _batches(stimulus: Stimulus) -> Iterator[tuple[bool, list[Array]]]:
    """Streams of equal length together, as [N, T, *shape] for each input; true for those with the first stream."""
    lengths: dict[int, list[int]] = {}
    for at, stream in enumerate(stimulus.streams):
        lengths.setdefault(len(stream[0]), []).append(at)
    for rows in lengths.values():
        inputs = range(len(stimulus.streams[0]))
        yield 0 in rows, [np.stack([stimulus.streams[at][i] for at in rows]) for i in inputs]
