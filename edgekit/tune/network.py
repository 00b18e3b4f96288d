"""A graph as a torch module: its step over time, its constants as parameters."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor as Values
from torch import nn

from edgekit.errors import UnsupportedError
from edgekit.ir import Graph, Tensor
from edgekit.tune.functions import FUNCTIONS

Change = Callable[[Values], Values]


class GraphNetwork(nn.Module):
    """The step of a float graph over windows, with gradients.

    y_t, s_t = step(x_t, s_{t-1}) from the initial states. Constants named in `trained` are parameters, the others
    buffers; None trains all weights that linears multiply and add. `weights` and `values` say what becomes of single
    constants and results of ops before they are used: masks, rounding; `taken` what becomes of the first input of
    the op that makes a value. UnsupportedError lists ops without a form here.
    """

    def __init__(self, graph: Graph, trained: Collection[str] | None = None) -> None:
        super().__init__()
        step = graph.entries["step"]
        missing = sorted({op.kind for op in step.ops} - FUNCTIONS.keys())
        if missing:
            raise UnsupportedError("training", "these ops have no gradient", "convert without fine-tuning", missing)
        self.graph = graph
        self.weights: dict[str, Change] = {}
        self.values: dict[str, Change] = {}
        self.taken: dict[str, Change] = {}
        used = {name for op in step.ops for name in op.inputs}
        names = weights_of(graph) if trained is None else tuple(trained)
        self._attribute: dict[str, str] = {}  # numbered: a module has attributes called graph and weights itself
        for name, tensor in graph.consts.items():
            if name not in used:
                continue
            data = torch.from_numpy(np.array(tensor.data, np.float32))
            attribute = self._attribute[name] = f"constant{len(self._attribute)}"
            if name in names:
                self.register_parameter(attribute, nn.Parameter(data))
            else:
                self.register_buffer(attribute, data)
        self._initial = {state.tensor: f"initial{at}" for at, state in enumerate(graph.states)}
        for state in graph.states:
            self.register_buffer(self._initial[state.tensor], torch.from_numpy(np.array(state.init, np.float32)))

    def constant(self, name: str) -> Values:
        """A constant as the step uses it, [*shape]."""
        data: Values = getattr(self, self._attribute[name])
        return self.weights[name](data) if name in self.weights else data

    def forward(
        self, x: Values, watch: Sequence[str] = (), start: Mapping[str, Values] | None = None
    ) -> tuple[Values, dict[str, Values]]:
        """Windows [N, T, *shape] to the first output of every step [N, T, *shape], and the values named in `watch`.

        States begin as `start` has them, [N, *shape], by default at their initial values.
        """
        step, tensors = self.graph.entries["step"], self.graph.tensors
        constants = {name: self.constant(name)[None] for name in self._attribute}
        states = {
            s.tensor: getattr(self, self._initial[s.tensor])[None].expand(len(x), *s.init.shape)
            for s in self.graph.states
        } | dict(start or {})
        plan = [(op, FUNCTIONS[op.kind], [tensors[n] for n in op.inputs]) for op in step.ops]
        outputs: list[Values] = []
        seen: dict[str, list[Values]] = {name: [] for name in watch}
        for t in range(x.shape[1]):
            found = {**constants, **states, step.inputs[0]: self._changed(step.inputs[0], x[:, t])}
            for op, function, types in plan:
                (name,) = op.outputs
                inputs = [found[n] for n in op.inputs]
                if name in self.taken:
                    inputs[0] = self.taken[name](inputs[0])
                found[name] = self._changed(name, function(inputs, op, types))
            outputs.append(found[step.outputs[0]])
            for name, kept in seen.items():
                kept.append(found[name])
            states = {state: self._changed(state, found[step.updates.get(state, state)]) for state in states}
        return torch.stack(outputs, 1), {name: torch.stack(kept, 1) for name, kept in seen.items()}

    def _changed(self, name: str, value: Values) -> Values:
        return self.values[name](value) if name in self.values else value

    def tuned(self) -> Graph:
        """The graph with its constants as they are used now."""
        tensors: dict[str, Tensor] = dict(self.graph.tensors)
        with torch.no_grad():
            for name in self._attribute:
                data = self.constant(name).cpu().numpy().astype(np.float32)
                tensors[name] = dataclasses.replace(tensors[name], data=data)
        return self.graph.replace(tensors=tensors)


def weights_of(graph: Graph) -> tuple[str, ...]:
    """The constants that linears and convolutions of the step multiply with or add, without what a memory shares."""
    found = [n for op in graph.entries["step"].ops if op.kind in ("linear", "conv") for n in op.inputs[1:]]
    return tuple(dict.fromkeys(n for n in found if graph.tensors[n].is_const))
