"""States inside the model, as resource variables: read at the start of a step, assigned at its end.

Three signatures: `step` (no state among its ports), `reset` (first values for states that a reset concerns) and `init`
(first values for all). The first step after loading calls `init` by itself.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edgekit.backends.tflite.context import Context
from edgekit.backends.tflite.writer import RESOURCE, ModelWriter, SubgraphWriter

INIT, RESET = "init", "reset"


class Variables:
    """The states of a graph as variables of a model whose step is written to `context`."""

    def __init__(self, model: ModelWriter, context: Context) -> None:
        self.model, self.context, self.states = model, context, context.graph.states
        self._handles: dict[str, int] = {}
        self.init = self._assigning(INIT, [s.tensor for s in self.states])
        self.reset = self._assigning(RESET, [s.tensor for s in self.states if s.reset == "reset"])

    def read(self) -> None:
        """Begin the step: each state is the value of its variable."""
        context = self.context
        context.to.operator("CALL_ONCE", [], [], initSubgraphIndex=self.init.index)
        for state in self.states:
            name = state.tensor
            self._handles[name] = _handle(context.to, name)
            value = context.port(name, context.shape(name))
            context.to.operator("READ_VARIABLE", [self._handles[name]], [value])
            context.set_real(name, value)

    def write(self, following: Mapping[str, str]) -> None:
        """End the step: each state gets its next value, after all were read."""
        values = {state: self.context.output(value) for state, value in following.items() if state != value}
        for state, value in values.items():
            self.context.to.operator("ASSIGN_VARIABLE", [self._handles[state], value], [])

    def signatures(self) -> None:
        """Name the ways to first values."""
        for subgraph in (self.init, self.reset):
            self.model.signature(subgraph.name, subgraph, {}, {})

    def _assigning(self, name: str, states: list[str]) -> SubgraphWriter:
        made = self.model.subgraph(name)
        first = {s.tensor: s.init for s in self.states}
        for state in states:
            data = np.asarray(first[state])[None].astype(np.float32)
            value = made.tensor(f"{state}.init", data.shape, "FLOAT32", data=data)
            made.operator("ASSIGN_VARIABLE", [_handle(made, state), value], [])
        return made


def _handle(to: SubgraphWriter, state: str) -> int:
    handle = to.tensor(f"{state}.variable", (), RESOURCE)
    to.operator("VAR_HANDLE", [], [handle], container="", sharedName=state)
    return handle
