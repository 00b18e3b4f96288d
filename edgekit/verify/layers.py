"""Layer by layer and step by step: where the artifact's graph first leaves the original's, and how far it goes.

Values of an integer program are compared as the reals that they stand for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.ir import Graph, Tensor
from edgekit.reference import Interpreter, Values
from edgekit.runtime.codec import Codec
from edgekit.verify.noise import OwnNoise, reals, remedies, stored

Array = npt.NDArray[Any]

# A float counts as diverged beyond this, relative to the larger of 1 and the original's value; a spike when it differs.
DIVERGED = 1e-4
BORDER = float(np.finfo(np.float32).min)  # what a padded pool is padded with: as low as a float can be


@dataclass
class LayerReport:
    """One layer of the artifact against the original; of a state, its next value.

    `worst` is the largest error along the artifact's own trajectory, `isolated` the largest when every step starts from
    the original's states (what this layer and those before it in the same step add), None when the artifact has a state
    that the original has not; both relative to the larger of 1 and the original's value, and infinite where a value is
    not finite. Of an integer program `noise` is what the layer adds on its own in one step as a share of its root mean
    square (see OwnNoise), and `widen` what can be held wider so that it adds less, as NAME=BITS.
    `step` and `window` say where the layer first diverged; None if it never did. `windows` is the largest
    number of windows beyond the tolerance in one step, `by_step` the largest error of each step.
    """

    name: str
    source: str
    kind: str
    worst: float = 0.0
    isolated: float | None = None
    noise: float | None = None
    widen: tuple[str, ...] = ()
    step: int | None = None
    window: int | None = None
    windows: int = 0
    by_step: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class _Pair:
    """A row of the comparison: what it is called, where it comes from, and the value in each of the two graphs.

    `stands_for` is the tensor of the program whose scale says which reals stored integers are: a state's own for its
    next value.
    """

    name: str
    source: str
    original: str
    program: str
    stands_for: Tensor


def _pairs(original: Graph, program: Graph) -> list[_Pair]:
    """What both graphs compute, in the program's order: values, the next states instead of theirs, and outputs."""
    theirs, ours = original.entries["step"], program.entries["step"]
    made_by = {name: op.source for op in theirs.ops for name in op.outputs}
    states: dict[str, list[str]] = {}
    for state, value in ours.updates.items():
        if state in theirs.updates:
            states.setdefault(value, []).append(state)
    outputs = dict(zip(ours.outputs, theirs.outputs, strict=True))
    next_states = {theirs.updates[s] for names in states.values() for s in names}
    shown = {*program.state_names, *ours.inputs, *next_states}

    def pair(name: str, value: str, ours: str, state: str | None = None) -> _Pair:
        return _Pair(name, made_by.get(value, ""), value, ours, program.tensors[state or ours])

    pairs: list[_Pair] = []
    for op in ours.ops:
        for name in op.outputs:
            pairs += [pair(f"state {s}", theirs.updates[s], name, s) for s in states.pop(name, [])]
            view = op.kind == "reshape" and op.inputs[0] in shown
            known = original.tensors.get(name)
            if name in outputs:
                pairs.append(pair(outputs[name], outputs[name], name))
            elif known is not None and known.size == program.tensors[name].size and name not in shown and not view:
                pairs.append(pair(name, name, name))
            if known is not None or view:
                shown.add(name)
    taken_as_is = [(s, value) for value, names in states.items() for s in names]
    pairs += [pair(f"state {s}", theirs.updates[s], value, s) for s, value in taken_as_is]
    return [p for p in pairs if _comparable(p.stands_for)]


def _comparable(tensor: Tensor) -> bool:
    """Whether it is known which reals a value stands for."""
    return not tensor.dtype.is_integer or tensor.quant is not None


def unmatched_states(original: Graph, program: Graph) -> list[str]:
    """States that change in the program's step and that the original has not: a pass has made them, say of a sum."""
    scratch = {s.tensor for s in program.states if s.reset == "scratch"}  # is read by other entries alone
    return [n for n in program.entries["step"].updates if n not in original.state_names and n not in scratch]


def _as_state(graph: Graph, original: Mapping[str, Array], own: Mapping[str, Array]) -> Values:
    """The original's states in this graph's dtypes (a spike state may have been a float); `own` what it has not."""

    def converted(name: str) -> Array:
        return own[name] if name not in original else stored(graph.tensors[name], original[name])

    return {s.tensor: converted(s.tensor) for s in graph.states}


def window_errors(original: Array, got: Array) -> Array:
    """The largest relative error of each of N windows, [N]; infinite where a value is not finite."""
    a = np.asarray(original, np.float64).reshape(original.shape[0], -1)
    b = np.asarray(got, np.float64).reshape(got.shape[0], -1)
    with np.errstate(invalid="ignore"):  # Inf - Inf
        errors = np.max(np.abs(a - b) / np.maximum(1.0, np.abs(a)), axis=1)
    return np.where(np.isnan(errors), np.inf, errors)


def _layer_errors(exact: Array, tensor: Tensor, stored_values: Array) -> Array:
    """The errors of a layer; of integers without the border of a padded pool, which is their lowest value."""
    got = reals(tensor, stored_values).reshape(exact.shape)
    return window_errors(exact, np.where(exact == BORDER, exact, got) if tensor.dtype.is_integer else got)


def compare_layers(original: Graph, program: Graph, inputs: Array) -> list[LayerReport]:
    """Run both graphs in the reference interpreter over inputs [N, T, *shape], in raw units of the program.

    Every layer they share is reported. `original` must take the same input (its normalisation included).
    """
    a, b = Interpreter(original), Interpreter(program)
    ours, theirs = program.entries["step"], original.entries["step"]
    pairs = _pairs(original, program)
    layers = [(p, LayerReport(p.name, p.source, str(program.tensors[p.program].dtype))) for p in pairs]
    complete = not unmatched_states(original, program)
    own = OwnNoise(program, {p.program: p.stands_for for p in pairs}) if complete and program.is_integer else None
    batch, steps = inputs.shape[:2]
    state_a, state_b = a.initial_state(batch), b.initial_state(batch)
    name_a, name_b = theirs.inputs[0], ours.inputs[0]
    taken = Codec(program).quantize([inputs])[0] if program.is_integer else inputs
    for t in range(steps):
        x = {name_b: taken[:, t]}
        values_a, values_b = a.trace({name_a: inputs[:, t]}, state_a), b.trace(x, state_b)
        exact_state = _as_state(program, state_a, state_b) if complete else {}
        alone = b.trace(x, exact_state) if complete else None
        if own is not None:
            own.see(x, exact_state, {p.program: values_a[p.original] for p in pairs})
        for pair, layer in layers:
            exact = values_a[pair.original]
            errors = _layer_errors(exact, pair.stands_for, values_b[pair.program])
            layer.by_step.append(float(errors.max()))
            layer.worst = max(layer.worst, layer.by_step[-1])
            if alone is not None:
                errors_alone = _layer_errors(exact, pair.stands_for, alone[pair.program])
                layer.isolated = max(layer.isolated or 0.0, float(errors_alone.max()))
            beyond = errors > DIVERGED
            if layer.step is None and beyond.any():
                layer.step, layer.window = t, int(np.argmax(beyond))
            layer.windows = max(layer.windows, int(beyond.sum()))
        state_a = {s.tensor: values_a[theirs.updates.get(s.tensor, s.tensor)] for s in original.states}
        state_b = {s.tensor: values_b[ours.updates.get(s.tensor, s.tensor)] for s in program.states}
    if own is not None:
        for pair, layer in layers:
            layer.noise = own.of(pair.program)
            layer.widen = remedies(program, pair.program, own.layers)
    return [layer for _, layer in layers]
