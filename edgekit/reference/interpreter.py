"""Run a graph in numpy, many independent streams at once, op by op from the table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.errors import DataError, UsageError
from edgekit.ir.dtypes import DType
from edgekit.ir.graph import Entry, Graph
from edgekit.ir.ops import OPS

Array = npt.NDArray[Any]
Values = dict[str, Array]


def stored_integers(thing: str, array: Array, dtype: DType) -> Array:
    """An array as an integer dtype; DataError unless each element is a whole number within its range."""
    low, high = dtype.limits
    whole = array.dtype.kind in "iub" or (array.dtype.kind == "f" and bool((np.trunc(array) == array).all()))
    if not whole or (array.size and not low <= array.min() <= array.max() <= high):
        raise DataError(
            thing, f"takes stored integers, {dtype} from {low} to {high}", "quantise raw values first: leave --raw out"
        )
    return array.astype(dtype.numpy, copy=False)


class Interpreter:
    """The oracle: every value is an array [N, *shape] of N independent streams.

    A NaN or Inf in a float input is refused (DataError) before any state changes, as every backend does. With
    `dtype=float64` the same graph runs in double precision: that tells how close a value was to its threshold.
    """

    def __init__(self, graph: Graph, dtype: npt.DTypeLike = np.float32) -> None:
        self.graph = graph
        self._real = np.dtype(dtype)
        self._consts = {n: self._widened(t.data)[None] for n, t in graph.tensors.items() if t.data is not None}

    def _widened(self, array: Array) -> Array:
        return array.astype(self._real, copy=False) if array.dtype.kind == "f" else array

    def entry(self, name: str) -> Entry:
        """The entry of that name; UsageError lists the entries there are."""
        if name not in self.graph.entries:
            raise UsageError(f"entry {name!r}", "not in this program", f"it has {', '.join(self.graph.entries)}")
        return self.graph.entries[name]

    def initial_state(self, batch: int = 1) -> Values:
        """First values of all states, [N, *shape] each."""
        return {s.tensor: np.repeat(self._widened(s.init)[None], batch, axis=0) for s in self.graph.states}

    def reset(self, state: Mapping[str, Array]) -> Values:
        """The state after a reset: first values again, except for states with the policy `keep`."""
        fresh = self.initial_state(next(iter(state.values())).shape[0] if state else 1)
        return {s.tensor: state[s.tensor] if s.reset == "keep" else fresh[s.tensor] for s in self.graph.states}

    def _checked_inputs(self, entry: Entry, inputs: Mapping[str, Array]) -> Values:
        if set(inputs) != set(entry.inputs):
            raise DataError(f"entry {entry.name!r}", f"takes inputs {list(entry.inputs)}, got {list(inputs)}")
        checked: Values = {}
        tolerant = {op.inputs[0] for op in entry.ops if op.kind == "quantize"}  # NaN and Inf become integers there
        tolerant -= {n for op in entry.ops for n in (op.inputs if op.kind != "quantize" else op.inputs[1:])}
        for name in entry.inputs:
            tensor = self.graph.tensors[name]
            array = np.asarray(inputs[name])
            if array.shape[1:] != tensor.shape:
                raise DataError(
                    f"input {name!r}", f"has step shape {array.shape[1:]}, the program takes {tensor.shape}"
                )
            if tensor.dtype.is_integer:
                checked[name] = stored_integers(f"input {name!r}", array, tensor.dtype)
                continue
            array = array.astype(tensor.dtype.numpy, copy=False)
            if tensor.dtype.is_float and name not in tolerant and not np.isfinite(array).all():
                raise DataError(f"input {name!r}", "holds NaN or Inf", "the step is refused and the state is untouched")
            checked[name] = self._widened(array)
        return checked

    def trace(self, inputs: Mapping[str, Array], state: Mapping[str, Array], entry: str = "step") -> Values:
        """Every value of one execution, by name: inputs, states before it, constants and all results."""
        program = self.entry(entry)
        values: Values = {**self._consts, **state, **self._checked_inputs(program, inputs)}
        tensors = self.graph.tensors
        for op in program.ops:
            args = [values[name] for name in op.inputs]
            results = OPS[op.kind].evaluate(args, op.attrs, [tensors[name] for name in op.inputs])
            values.update(zip(op.outputs, results, strict=True))
        return values

    def execute(
        self, inputs: Mapping[str, Array], state: Mapping[str, Array], entry: str = "step"
    ) -> tuple[Values, Values]:
        """Run one entry once: outputs and next state, each [N, *shape]. The state given is not changed."""
        program = self.entry(entry)
        values = self.trace(inputs, state, entry)
        batch = max([a.shape[0] for a in inputs.values()] or [1])

        def streams(name: str) -> Array:
            array = values[name]
            return np.broadcast_to(array, (batch, *array.shape[1:])) if array.shape[0] != batch else array

        outputs = {name: streams(name) for name in program.outputs}
        updated = {s: np.ascontiguousarray(streams(v)) for s, v in program.updates.items()}
        return outputs, {s.tensor: updated.get(s.tensor, state[s.tensor]) for s in self.graph.states}

    def run(
        self, inputs: Mapping[str, Array], state: Mapping[str, Array] | None = None, entry: str = "step"
    ) -> tuple[Values, Values]:
        """Run the step (or another entry) over sequences [N, T, *shape]: outputs [N, T, *shape] and the last state."""
        first = np.asarray(next(iter(inputs.values())))
        batch, steps = first.shape[:2]
        state = dict(state) if state is not None else self.initial_state(batch)
        if steps == 0:
            raise DataError("input", "has no time steps")
        collected: dict[str, list[Array]] = {}
        for t in range(steps):
            outputs, state = self.execute({n: np.asarray(a)[:, t] for n, a in inputs.items()}, state, entry)
            for name, value in outputs.items():
                collected.setdefault(name, []).append(value)
        return {name: np.stack(values, axis=1) for name, values in collected.items()}, state
