"""Writing integer ops: constants, requantisation, and conversions between ways of holding a value."""

from __future__ import annotations

from math import floor, log2
from typing import Any

import numpy as np

from edgekit.compress.stored import Array, Rounded, Spec, Stored, quant_params, tidy
from edgekit.ir import INT8, INT16, INT32, SPIKE, DType, Graph, GraphBuilder, verify
from edgekit.ir.quant import QuantParams, integer_multiplier

MOST_DECAY_Q15 = 1 - 2.0**-6  # a decay closer to 1 needs more than 15 bits: its distance from 1 is what counts
NORMAL_SHIFT = 31


def multiplier(ratio: Array) -> tuple[Array, int]:
    """Ratios as int32 multipliers at one shift: 31, or less where a ratio is 1 or more."""
    largest = float(np.abs(ratio).max(initial=0.0))
    if largest == 0:
        return np.zeros(ratio.shape, np.int64), NORMAL_SHIFT
    shift = max(0, min(NORMAL_SHIFT, integer_multiplier(largest)[1]))
    scaled = np.floor(np.asarray(ratio, np.float64) * 2.0**shift + 0.5)
    return np.clip(scaled, *INT32.limits).astype(np.int64), shift  # in this order: int64 would wrap around


class Writer:
    """A graph under construction whose values are `Stored`; equal constants are kept once.

    `rounded` tells how the matrices of the float graph came out, by their names there, `notes` what went otherwise than
    was asked for.
    """

    def __init__(self, graph: Graph) -> None:
        self.rounded: dict[str, Rounded] = {}
        self.notes: list[str] = []
        self.builder = GraphBuilder(graph.name, graph.dt)
        self._taken: set[str] = set()
        self._stored: dict[str, Stored] = {}
        self._constants: dict[tuple[str, tuple[int, ...], bytes], str] = {}

    def fresh(self, root: str, what: str) -> str:
        """A name for a value on the way to `root`, which no value of the float graph has."""
        stem = f"{root}/{what}"
        at, name = 1, stem
        while name in self._taken:
            at, name = at + 1, f"{stem}{at + 1}"
        self._taken.add(name)
        return name

    def keep(self, stored: Stored) -> Stored:
        """Remember which reals a value stands for."""
        self._stored[stored.name] = stored
        return stored

    def const(self, name: str, data: Array, dtype: DType, quant: QuantParams | None = None) -> str:
        """A constant under a name like this one."""
        array = np.asarray(data, dtype.numpy)
        key = (dtype.name, array.shape, array.tobytes())
        if key not in self._constants or quant is not None:
            self._constants[key] = self.builder.const(self.builder.fresh(name), array, dtype, quant)
        return self._constants[key]

    def number(self, root: str, what: str, real: Array, dtype: DType, scale: Array) -> str:
        """A real constant on a scale, rounded half up."""
        whole = np.floor(np.asarray(real, np.float64) / scale + 0.5)
        return self.const(f"{root}/{what}", np.clip(whole, *dtype.limits), dtype)

    def op(self, kind: str, *inputs: str, out: str, **attrs: Any) -> str:
        return self.builder.op(kind, *inputs, out=out, **attrs)

    def dtype(self, name: str) -> DType:
        return self.builder.tensor(name).dtype

    def rescale(self, x: str, ratio: Array, to: DType, out: str, *, decay: bool = False) -> str:
        """ratio · x in another dtype, rounded half up once; a power of two from 1 up is a plain product."""
        ratio = tidy(ratio)
        source = self.dtype(x)
        if ratio.ndim == 0 and ratio >= 1 and log2(float(ratio)) == floor(log2(float(ratio))):
            if ratio == 1:
                return self.op("cast", x, out=out, to=to.name)
            factor = int(ratio)
            width = INT16 if factor < 2**15 else INT32
            return self.op(
                "rescale", x, self.const(f"{out}/times", np.asarray(factor), width), out=out, shift=0, to=to.name
            )
        if decay and source is INT16 and to is INT16 and np.abs(ratio).max() < MOST_DECAY_Q15:
            fifteen = np.floor(ratio * 2.0**15 + 0.5)
            return self.op("rescale", x, self.const(f"{out}/times", fifteen, INT16), out=out, shift=15, to=to.name)
        times, shift = multiplier(ratio)
        return self.op("rescale", x, self.const(f"{out}/times", times, INT32), out=out, shift=shift, to=to.name)

    def convert(self, x: Stored, spec: Spec, out: str) -> Stored:
        """The same reals held in another way."""
        if x.dtype is spec.dtype and x.zero == spec.zero and np.array_equal(tidy(x.scale), tidy(spec.scale)):
            return x
        name, ratio = x.name, tidy(x.scale / spec.scale)
        if x.zero:
            name = self.op("cast", name, out=self.fresh(out, "wide"), to="int32")
            zero = self.const(f"{out}/zero", np.asarray(x.zero), INT32)
            name = self.op("sub", name, zero, out=self.fresh(out, "centred"))
        if spec.zero == 0:
            name = self.rescale(name, ratio, spec.dtype, out)
        else:
            wide = INT16 if spec.dtype is INT8 else INT32
            name = self.rescale(name, ratio, wide, self.fresh(out, "scaled"))
            zero = self.const(f"{out}/zero", np.asarray(spec.zero), wide)
            name = self.op("add", name, zero, out=self.fresh(out, "moved"), saturate=True)
            name = self.op("cast", name, out=out, to=spec.dtype.name)
        return self.keep(Stored(name, spec.dtype, tidy(spec.scale), spec.zero))

    def build(self) -> Graph:
        """The finished graph, each value with the scale that it is known to have."""
        graph = self.builder.build()
        tensors = dict(graph.tensors)
        for name, stored in self._stored.items():
            tensor = tensors.get(name)
            if tensor is None or tensor.quant is not None or stored.dtype is SPIKE:
                continue
            quant = quant_params(stored.dtype, stored.scale, stored.zero, tensor.shape)
            tensors[name] = type(tensor)(name, tensor.shape, tensor.dtype, quant, tensor.data)
        return verify(graph.replace(tensors=tensors))
