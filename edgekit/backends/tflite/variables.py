"""States inside the model, as resource variables: read at the start of a step, assigned at its end.

Three signatures: `step` (no state among its ports), `reset` (first values for states that a reset concerns) and `init`
(first values for all). The first step after loading calls `init` by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edgekit.artifact.exported import StatePort, dump_step_document, read_step_document
from edgekit.backends.tflite.context import Context
from edgekit.backends.tflite.writer import RESOURCE, ModelWriter, Quant, SubgraphWriter, type_of

INIT, RESET = "init", "reset"


class Variables:
    """The states of a graph as variables of a model whose step is written to `context`."""

    def __init__(self, model: ModelWriter, context: Context, document: Mapping[str, Any]) -> None:
        self.model, self.context = model, context
        self.states = read_step_document(dump_step_document(document)).states
        self.values: dict[str, int] = {}
        self._handles: dict[str, int] = {}
        self.init = self._assigning(INIT, self.states)
        self.reset = self._assigning(RESET, [s for s in self.states if s.reset == "reset"])

    def read(self) -> None:
        """Begin the step: each state is the value of its variable."""
        context = self.context
        context.to.operator("CALL_ONCE", [], [], initSubgraphIndex=self.init.index)
        for state in self.states:
            self._handles[state.name] = _handle(context.to, state.name)
            shape, held = (1, *state.shape), state.dtype.name.upper()
            value = self.values[state.name] = context.port(state.name, shape, held, _quant(state))
            context.to.operator("READ_VARIABLE", [self._handles[state.name]], [value])

    def write(self, values: Mapping[str, int]) -> None:
        """End the step: states get their next values, after all were read."""
        for state, value in values.items():
            self.context.to.operator("ASSIGN_VARIABLE", [self._handles[state], value], [])

    def signatures(self) -> None:
        """Name the ways to first values."""
        for subgraph in (self.init, self.reset):
            self.model.signature(subgraph.name, subgraph, {}, {})

    def _assigning(self, name: str, states: Sequence[StatePort]) -> SubgraphWriter:
        made = self.model.subgraph(name)
        for state in states:
            data = state.init[None]
            value = made.tensor(f"{state.name}.init", data.shape, type_of(data), data=data, quant=_quant(state))
            made.operator("ASSIGN_VARIABLE", [_handle(made, state.name), value], [])
        return made


def _quant(state: StatePort) -> Quant | None:
    return None if state.quant is None else Quant((state.quant.scale,), (state.quant.zero_point,))


def _handle(to: SubgraphWriter, state: str) -> int:
    handle = to.tensor(f"{state}.variable", (), RESOURCE)
    to.operator("VAR_HANDLE", [], [handle], container="", sharedName=state)
    return handle
