"""The border of an integer program: raw values to stored integers and back, by the program's own entries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.errors import ArtifactError
from edgekit.ir import Entry, Graph
from edgekit.reference import Interpreter, stored_integers

Array = npt.NDArray[Any]


class Codec:
    """The entries `quantize` and `dequantize` over arrays with any number of leading axes.

    They run in numpy, many steps at once; the program's own machine code gives the same bytes.
    """

    def __init__(self, graph: Graph) -> None:
        self._graph, self._interpreter = graph, Interpreter(graph)
        step = graph.entries["step"]
        self._quantize = self._entry("quantize", (), step.inputs)
        self._dequantize = self._entry("dequantize", step.outputs, ())

    def _entry(self, name: str, inputs: Sequence[str], outputs: Sequence[str]) -> Entry:
        """An entry whose inputs (or outputs) are of the shapes and dtypes of these values of the step."""
        entry = self._graph.entries.get(name)
        if entry is None:
            raise ArtifactError("integer program", f"has no entry {name!r}")
        if (inputs and not self._alike(entry.inputs, inputs)) or (outputs and not self._alike(entry.outputs, outputs)):
            raise ArtifactError(f"entry {name!r}", "does not fit the inputs and outputs of the step")
        return entry

    def _alike(self, some: Sequence[str], others: Sequence[str]) -> bool:
        tensors = self._graph.tensors
        typed = [[(tensors[n].shape, tensors[n].dtype) for n in names] for names in (some, others)]
        return typed[0] == typed[1]

    def quantize(self, raw: Sequence[Array]) -> list[Array]:
        """Stored integers of raw inputs, in the order of the step's inputs: NaN gives 0, ±Inf the end of the range."""
        return self._convert(self._quantize, raw)

    def dequantize(self, stored: Sequence[Array]) -> list[Array]:
        """float32 values of stored outputs, spikes as 0.0 and 1.0."""
        return self._convert(self._dequantize, stored)

    def raw_of(self, stored: Sequence[Array]) -> list[Array]:
        """float32 inputs in raw units that `quantize` makes these stored integers of: x = stored / gain + offset."""
        made = {op.outputs[0]: op for op in self._quantize.ops if op.kind == "quantize"}
        consts = self._graph.consts
        raw = []
        for name, array in zip(self._quantize.outputs, stored, strict=True):
            real = array.astype(np.float32)
            if name in made:  # spikes are what they are
                offset, gain = (np.asarray(consts[n].data) for n in made[name].inputs[1:])
                real = np.asarray(real / gain + offset, np.float32)
            raw.append(real)
        return raw

    def check_stored(self, name: str, array: Array) -> Array:
        """The array in the dtype that a step takes for the input `name`; DataError unless all of it fits."""
        tensor = self._graph.tensors[name]
        if tensor.dtype.is_integer:
            return stored_integers(f"input {name!r}", array, tensor.dtype)
        return np.asarray(array != 0, np.int8)

    def _convert(self, entry: Entry, arrays: Sequence[Array]) -> list[Array]:
        tensors, given, leading = self._graph.tensors, {}, ()
        for name, array in zip(entry.inputs, arrays, strict=True):
            shape = tensors[name].shape
            leading = array.shape[: array.ndim - len(shape)]
            given[name] = array.reshape(prod(leading), *shape)
        outputs, _ = self._interpreter.execute(given, self._interpreter.initial_state(), entry.name)
        return [
            outputs[n].reshape(*leading, *tensors[n].shape).astype(self._graph.port_dtype(n)) for n in entry.outputs
        ]


def real_outputs(graph: Graph, raw: Mapping[str, Array]) -> list[Array]:
    """Outputs [N, T, *shape] of the reference over raw inputs [N, T, *shape], in the order of the step's outputs.

    An integer program is fed and read by its own entries `quantize` and `dequantize`.
    """
    step, given = graph.entries["step"], [raw[n] for n in graph.entries["step"].inputs]
    codec = Codec(graph) if graph.is_integer else None
    if codec is not None:
        given = codec.quantize(given)
    found, _ = Interpreter(graph).run(dict(zip(step.inputs, given, strict=True)))
    outputs = [found[n] for n in step.outputs]
    return outputs if codec is None else codec.dequantize(outputs)
