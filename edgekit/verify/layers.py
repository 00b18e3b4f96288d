"""Layer by layer and step by step: where the artifact's graph first leaves the original's, and how far it goes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.ir import SPIKE, Graph
from edgekit.reference import Interpreter, Values

Array = npt.NDArray[Any]

# A float counts as diverged beyond this, relative to the larger of 1 and the original's value; a spike when it differs.
DIVERGED = 1e-4


@dataclass
class LayerReport:
    """One layer of the artifact against the original.

    `worst` is the largest error along the artifact's own trajectory, `isolated` the largest when every step starts from
    the original's states (what this layer and those before it in the same step add); both relative to the larger of 1
    and the original's value. `step` and `window` say where the layer first diverged; None if it never did. `windows` is
    the largest number of windows beyond the tolerance in one step, `by_step` the largest error of each step.
    """

    name: str
    source: str
    kind: str
    worst: float = 0.0
    isolated: float = 0.0
    step: int | None = None
    window: int | None = None
    windows: int = 0
    by_step: list[float] = field(default_factory=list)


def layer_names(original: Graph, program: Graph) -> dict[str, str]:
    """Values that both graphs have, in the program's order, with the module path they come from."""
    names: dict[str, str] = {}
    for op in program.entries["step"].ops:
        for name in op.outputs:
            known = original.tensors.get(name)
            if known is not None and known.size == program.tensors[name].size:
                names[name] = op.source
    return names


def as_state(graph: Graph, state: Mapping[str, Array]) -> Values:
    """Another graph's states in the dtypes of this one (a spike state may have been a float before)."""
    return {
        s.tensor: (state[s.tensor] != 0 if graph.tensors[s.tensor].dtype is SPIKE else state[s.tensor])
        for s in graph.states
    }


def _errors(original: Array, got: Array) -> Array:
    """Relative error per window, [N]."""
    a = np.asarray(original, np.float64).reshape(original.shape[0], -1)
    b = np.asarray(got, np.float64).reshape(got.shape[0], -1)
    return np.asarray(np.max(np.abs(a - b) / np.maximum(1.0, np.abs(a)), axis=1))


def compare_layers(original: Graph, program: Graph, inputs: Array) -> list[LayerReport]:
    """Run both graphs over inputs [N, T, *shape], in raw units of the program, and report every layer they share.

    `original` must take the same input (its normalisation included).
    """
    a, b = Interpreter(original), Interpreter(program)
    ours, theirs = program.entries["step"], original.entries["step"]
    layers = {
        n: LayerReport(n, source, str(program.tensors[n].dtype)) for n, source in layer_names(original, program).items()
    }
    shared_states = [s.tensor for s in program.states if s.tensor in original.state_names]
    for name in shared_states:
        layers[f"state {name}"] = LayerReport(f"state {name}", "", str(program.tensors[name].dtype))
    complete = set(shared_states) == program.state_names
    batch, steps = inputs.shape[:2]
    state_a, state_b = a.initial_state(batch), b.initial_state(batch)
    name_a, name_b = theirs.inputs[0], ours.inputs[0]
    for t in range(steps):
        x = inputs[:, t]
        values_a, values_b = a.trace({name_a: x}, state_a), b.trace({name_b: x}, state_b)
        alone = b.trace({name_b: x}, as_state(program, state_a)) if complete else None
        for key, layer in layers.items():
            value = key.removeprefix("state ")  # of a state, its next value
            left, right = theirs.updates.get(value, value), ours.updates.get(value, value)
            errors = _errors(values_a[left], values_b[right])
            layer.by_step.append(float(errors.max()))
            layer.worst = max(layer.worst, layer.by_step[-1])
            if alone is not None:
                layer.isolated = max(layer.isolated, float(_errors(values_a[left], alone[right]).max()))
            beyond = errors > DIVERGED
            if layer.step is None and beyond.any():
                layer.step, layer.window = t, int(np.argmax(beyond))
            layer.windows = max(layer.windows, int(beyond.sum()))
        state_a = {s.tensor: values_a[theirs.updates.get(s.tensor, s.tensor)] for s in original.states}
        state_b = {s.tensor: values_b[ours.updates.get(s.tensor, s.tensor)] for s in program.states}
    return list(layers.values())
