"""The step of an int8 model as a subgraph: values as the integers that hold them, spikes as flags."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.backends.tflite.context import FLAG, Context
from edgekit.backends.tflite.scales import SPIKES, Held, Scales
from edgekit.backends.tflite.schema import schema
from edgekit.backends.tflite.writer import SubgraphWriter
from edgekit.errors import DataError
from edgekit.ir import Graph, Op

Array = npt.NDArray[Any]
MOST_FINER = 2.0**14  # kernels of QUANTIZE stop the process not far above
WIDE = 128  # an int8 above its zero point, times this, fits an int16 exactly


class Integers(Context):
    """A context whose values are integers: `real` gives a value as it is held."""

    def __init__(self, graph: Graph, to: SubgraphWriter, scales: Scales) -> None:
        super().__init__(graph, to)
        self.scales, self.feedback = scales, scales.feedback()
        self._spikes: dict[str, int] = {}

    def held_by(self, tensor: int) -> Held:
        """How a tensor is held."""
        quant, dtype = self._quants[tensor], self._types[tensor]
        assert quant is not None
        return Held(int(dtype.removeprefix("INT")), quant.scale[0], quant.zero_point[0])

    def real(self, name: str) -> int:
        """A value as it is held; a spike as an int16 of 0 or 1."""
        if name not in self._real:
            data = self.graph.tensors[name].data
            if data is not None:
                self._real[name] = self.fixed(data, fitting(data), name)
            else:
                self._real[name] = self._from_flag(self._flag[name], Held(16, 1.0))
        return self._real[name]

    def flag(self, name: str) -> int:
        """A spike as BOOL."""
        if name not in self._flag and self.graph.tensors[name].data is None:
            x = self._real[name]
            zero = self.const(
                np.zeros((1,), np.int8 if self._types[x] == "INT8" else np.int16), "zero", self._quants[x]
            )
            self._flag[name] = self.compare("NOT_EQUAL", x, zero)
        return super().flag(name)

    def spike(self, real: int) -> int:
        """A BOOL that is true where a stored integer is not that of 0."""
        held = self.held_by(real)
        zero = self.const(np.full((1,), held.zero, np.int32), "zero")
        return self.elementwise("NOT_EQUAL", [self.stored(real), zero], self._shapes[real], dtype=FLAG)

    def compare(self, builtin: str, x: int, y: int) -> int:
        """A comparison of stored integers, in int32."""
        shape = tuple(np.broadcast_shapes(self._shapes[x], self._shapes[y]))
        return self.elementwise(builtin, [self.stored(x), self.stored(y)], shape, dtype=FLAG)

    def stored(self, x: int) -> int:
        """The stored integers as int32."""
        if self._types[x] == "INT32":
            return x
        types = schema().TensorType
        source = getattr(types, self._types[x])
        return self.op("CAST", [x], self._shapes[x], dtype="INT32", inDataType=source, outDataType=types.INT32)

    def _from_flag(self, flag: int, held: Held) -> int:
        types = schema().TensorType
        options = {"inDataType": types.BOOL, "outDataType": getattr(types, held.dtype)}
        return self.op("CAST", [flag], self._shapes[flag], dtype=held.dtype, quant=held.quant, **options)

    def fixed(self, data: Array, held: Held, stem: str) -> int:
        """A constant as it is to be held."""
        stored = np.clip(np.floor(np.asarray(data, np.float64) / held.scale + 0.5) + held.zero, *held.limits)
        return self.const(stored.astype(f"i{held.bits // 8}")[None], stem, held.quant)

    def at(self, name: str, held: Held) -> int:
        """A value on another scale, or with other bits."""
        data = self.graph.tensors[name].data
        return self.moved(self.real(name), held) if data is None else self.fixed(data, held, name)

    def moved(self, x: int, held: Held) -> int:
        """A tensor on another scale, or with other bits."""
        source = self.held_by(x)
        if source == held:
            return x
        if source.scale >= MOST_FINER * held.scale:
            raise DataError(
                "calibration data",
                f"leave a value all but zero ({self._stem}): its steps would be {source.scale / held.scale:.3g} finer",
                "give windows in which every value moves",
            )
        return self.op("QUANTIZE", [x], self._shapes[x], dtype=held.dtype, quant=held.quant)

    def wide(self, name: str) -> int:
        """A value with 16 bits."""
        x = self.real(name)
        held = self.held_by(x)
        return x if held.bits == 16 else self.moved(x, Held(16, held.scale / WIDE))

    def output(self, name: str) -> int:
        """A value as its port holds it."""
        if self.scales.plan.sums.is_spike(name):
            flag = self.flag(self.scales.plan.sums.uncast(name))
            made = self._from_flag(flag, SPIKES)
            self._ends.add(made)
            return made
        return super().output(name)

    def ending(self, name: str, held: Held) -> int:
        """A value as a port of that scale holds it."""
        if held == SPIKES or (self.graph.tensors[name].data is None and self.held_by(self.real(name)) == held):
            return self.output(name)
        value = self.at(name, held)
        value = self.copy(value, self.shape(name)) if value in self._ends else value
        self._ends.add(value)
        return value

    def set(self, op: Op, tensor: int) -> None:
        """Say which tensor the result of an op is."""
        self.set_real(op.outputs[0], tensor)

    def result(self, op: Op) -> Held:
        """How the result of an op is held."""
        return self.scales.held(op.outputs[0])


def fitting(data: Array) -> Held:
    """How a constant is held whose scale is free."""
    largest = float(np.abs(data).max(initial=0.0))
    return Held(16, (largest or 1.0) / 32767)
