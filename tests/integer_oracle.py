"""A second opinion on integer programs: every op in plain Python integers, element by element, without numpy's rules.

Nothing here is shared with `edgekit/ir/ops`: values are flat tuples of unbounded integers and each op
is written from its sentence in the table. Floats, which `quantize` and `dequantize` need, are rounded to float32 by
`struct` after every operation.
"""

from __future__ import annotations

import itertools
import math
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

BITS = {"spike": 1, "int4": 4, "int8": 8, "int16": 16, "int32": 32}


@dataclass(frozen=True)
class Value:
    """A tensor: `data` row-major; spikes are 0 and 1; floats are Python floats that a float32 holds exactly."""

    shape: tuple[int, ...]
    dtype: str
    data: tuple[Any, ...]

    def at(self, index: Sequence[int], axes: Sequence[int] | None = None) -> Any:
        """The element at an index of a shape that this one broadcasts to."""
        tail = index[len(index) - len(self.shape) :]
        position = 0
        for n, i in zip(self.shape, tail, strict=True):
            position = position * n + (0 if n == 1 else i)
        return self.data[position]


def limits(dtype: str) -> tuple[int, int]:
    half = 2 ** (BITS[dtype] - 1)
    return -half, half - 1


def wrapped(n: int, dtype: str) -> int:
    """n modulo 2^bits, in the dtype's range."""
    low, _ = limits(dtype)
    return (n - low) % 2 ** BITS[dtype] + low


def saturated(n: int, dtype: str) -> int:
    low, high = limits(dtype)
    return min(max(n, low), high)


def rounded_shift(n: int, shift: int) -> int:
    """floor(n / 2^shift + 1/2), exactly."""
    return math.floor(n) if shift == 0 else (2 * n + 2**shift) // 2 ** (shift + 1)


def single(x: float) -> float:
    """A Python float rounded to float32, ties to even; what is too large becomes infinite."""
    try:
        return float(struct.unpack("<f", struct.pack("<f", x))[0])
    except OverflowError:
        return math.copysign(math.inf, x)


def indices(shape: Sequence[int]) -> Any:
    return itertools.product(*map(range, shape))


def joined(shapes: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """The shape that all shapes broadcast to."""
    rank = max(map(len, shapes))
    padded = [(1,) * (rank - len(s)) + tuple(s) for s in shapes]
    return tuple(max(column) for column in zip(*padded, strict=True))


SCALAR: dict[str, Callable[..., int]] = {
    "neg": lambda x: -x,
    "abs": abs,
    "relu": lambda x: max(x, 0),
    "add": lambda x, y: x + y,
    "sub": lambda x, y: x - y,
    "minimum": min,
    "maximum": max,
    "gt": lambda x, y: int(x > y),
    "ge": lambda x, y: int(x >= y),
    "lt": lambda x, y: int(x < y),
    "le": lambda x, y: int(x <= y),
    "eq": lambda x, y: int(x == y),
    "ne": lambda x, y: int(x != y),
    "logical_and": lambda x, y: x & y,
    "logical_or": lambda x, y: x | y,
    "logical_not": lambda x: 1 - x,
    "where": lambda c, x, y: x if c else y,
}
TO_SPIKE = ("gt", "ge", "lt", "le", "eq", "ne", "logical_and", "logical_or", "logical_not")


def _scalar(kind: str, attrs: Mapping[str, Any], dtypes: Sequence[str]) -> tuple[str, Callable[..., Any]]:
    """Result dtype and function of one elementwise op."""
    if kind == "cast":
        to = attrs["to"]
        if to == "float32":
            return to, float
        return to, lambda x: saturated(x, to)
    if kind == "rescale":
        to, shift = attrs["to"], attrs["shift"]
        return to, lambda x, m: saturated(rounded_shift(x * m, shift), to)
    if kind in TO_SPIKE:
        return "spike", SCALAR[kind]
    dtype = dtypes[-1]
    fit = saturated if attrs.get("saturate", False) else wrapped
    return dtype, lambda *args: fit(SCALAR[kind](*args), dtype)


def _elementwise(kind: str, attrs: Mapping[str, Any], inputs: Sequence[Value]) -> Value:
    shape = joined([v.shape for v in inputs])
    dtype, function = _scalar(kind, attrs, [v.dtype for v in inputs])
    return Value(shape, dtype, tuple(function(*(v.at(i) for v in inputs)) for i in indices(shape)))


def _fused(attrs: Mapping[str, Any], inputs: Sequence[Value]) -> list[Value]:
    values = list(inputs)
    for kind, operands, pairs in attrs["body"]:
        values.append(_elementwise(kind, dict(pairs), [values[o] for o in operands]))
    return [values[r] for r in attrs["results"]]


def _products(x: Value, w: Value) -> list[int]:
    """The exact sums x Wᵀ over the last axis."""
    out, features = w.shape
    rows = [x.data[at : at + features] for at in range(0, len(x.data), features)]
    columns = [w.data[at : at + features] for at in range(0, out * features, features)]
    return [sum(a * b for a, b in zip(row, column, strict=True)) for row in rows for column in columns]


def _linear(attrs: Mapping[str, Any], inputs: Sequence[Value]) -> Value:
    x, w, dtype = inputs[0], inputs[1], attrs["accumulate"]
    shape = (*x.shape[:-1], w.shape[0])
    sums = _products(x, w)
    if len(inputs) == 3:
        sums = [s + inputs[2].at(i) for s, i in zip(sums, indices(shape), strict=True)]
    return Value(shape, dtype, tuple(wrapped(s, dtype) for s in sums))


def _memory(attrs: Mapping[str, Any], inputs: Sequence[Value]) -> Value:
    m, a, u, b = inputs
    pairs = zip(_products(m, a), _products(u, b), strict=True)
    return Value(m.shape, attrs["accumulate"], tuple(wrapped(p + q, attrs["accumulate"]) for p, q in pairs))


def _narrowed(attrs: Mapping[str, Any], sums: Sequence[int], shape: tuple[int, ...]) -> Value:
    """Exact sums rounded to what is left of them after a shift, at most what the dtype holds."""
    dtype = attrs["to"]
    return Value(shape, dtype, tuple(saturated(rounded_shift(s, attrs.get("shift", 0)), dtype) for s in sums))


def _matvec(attrs: Mapping[str, Any], inputs: Sequence[Value]) -> Value:
    x, w, shape = inputs[0], inputs[1], (*inputs[0].shape[:-1], inputs[1].shape[0])
    sums = _products(x, w)
    if len(inputs) == 3:
        sums = [s + inputs[2].data[at % w.shape[0]] for at, s in enumerate(sums)]
    return _narrowed(attrs, sums, shape)


def _matvec_t(attrs: Mapping[str, Any], x: Value, w: Value) -> Value:
    height, width = w.shape
    turned = Value((width, height), w.dtype, tuple(w.data[i * width + k] for k in range(width) for i in range(height)))
    return _narrowed(attrs, _products(x, turned), (*x.shape[:-1], width))


def _distance(x: Value, w: Value) -> Value:
    height, width = w.shape
    starts = range(0, len(x.data), width)
    rows = [[abs(x.data[at + k] - w.data[i * width + k]) for k in range(width)] for at in starts for i in range(height)]
    return Value((*x.shape[:-1], height), "int32", tuple(map(sum, rows)))


def _outer_add(attrs: Mapping[str, Any], w: Value, a: Value, b: Value) -> Value:
    height, width = w.shape
    rows, shift, moved = len(a.data) // height, attrs.get("shift", 0), list[int]()
    for i in range(height):
        running = done = 0
        for k in range(width):
            running += sum(a.data[r * height + i] * b.data[r * width + k] for r in range(rows))
            change, done = rounded_shift(running, shift) - done, rounded_shift(running, shift)
            moved.append(saturated(w.data[i * width + k] + saturated(change, "int16"), "int16"))
    return Value(w.shape, "int16", tuple(moved))


def _lines(x: Value, axis: int) -> list[tuple[tuple[int, ...], list[int]]]:
    """Each line of a value along an axis, with the index of its first element."""
    others = tuple(1 if at == axis else n for at, n in enumerate(x.shape))
    return [(i, [x.at((*i[:axis], k, *i[axis + 1 :])) for k in range(x.shape[axis])]) for i in indices(others)]


def _reduce(kind: str, attrs: Mapping[str, Any], x: Value) -> Value:
    axis = attrs["axis"]
    kept = (1,) if attrs.get("keepdims", False) else ()
    shape = (*x.shape[:axis], *kept, *x.shape[axis + 1 :])
    if kind == "sum":
        return Value(shape, "int32", tuple(wrapped(sum(line), "int32") for _, line in _lines(x, axis)))
    return Value(shape, x.dtype, tuple(max(line) for _, line in _lines(x, axis)))


def _cumsum(attrs: Mapping[str, Any], x: Value) -> Value:
    axis, out = attrs["axis"], {}
    for first, line in _lines(x, axis):
        for k in range(len(line)):
            before = range(k + 1, len(line)) if attrs.get("reverse", False) else range(k)
            total = sum(line[j] for j in before) + (0 if attrs.get("exclusive", False) else line[k])
            out[(*first[:axis], k, *first[axis + 1 :])] = wrapped(total, "int32")
    return Value(x.shape, "int32", tuple(out[i] for i in indices(x.shape)))


def _lookup(x: Value, table: Value) -> Value:
    if x.dtype == "int8":
        return Value(x.shape, table.dtype, tuple(table.data[n + 128] for n in x.data))
    width = 2**16 // (len(table.data) - 1)

    def between(n: int) -> int:
        at, rest = divmod(n + 2**15, width)
        left, right = table.data[at], table.data[at + 1]
        return int(left) + (2 * (right - left) * rest + width) // (2 * width)  # half up

    return Value(x.shape, table.dtype, tuple(between(n) for n in x.data))


def _quantize(attrs: Mapping[str, Any], x: Value, offset: Value, gain: Value) -> Value:
    low, high = limits(attrs["to"])

    def stored(i: Sequence[int]) -> int:
        difference = single(x.at(i) - offset.at(i))  # both are float32: the double result rounds to the float one
        scaled = single(difference * gain.at(i))
        if math.isnan(scaled):
            return 0
        return math.floor(single(min(max(scaled, low), high) + 0.5))

    return Value(x.shape, attrs["to"], tuple(stored(i) for i in indices(x.shape)))


def _dequantize(x: Value, scale: Value) -> Value:
    return Value(x.shape, "float32", tuple(single(single(x.at(i)) * scale.at(i)) for i in indices(x.shape)))


def _move(kind: str, attrs: Mapping[str, Any], inputs: Sequence[Value]) -> Value:
    x = inputs[0]
    if kind == "reshape":
        return Value(tuple(attrs["shape"]), x.dtype, x.data)
    if kind == "expand":
        return Value(tuple(attrs["shape"]), x.dtype, tuple(x.at(i) for i in indices(attrs["shape"])))
    if kind == "transpose":
        perm = attrs["perm"]
        shape = tuple(x.shape[p] for p in perm)
        back = [perm.index(at) for at in range(len(perm))]
        return Value(shape, x.dtype, tuple(x.at([i[b] for b in back]) for i in indices(shape)))
    axis = attrs["axis"]
    if kind == "concat":
        source = [(v, k) for v in inputs for k in range(v.shape[axis])]
    elif kind == "slice":
        source = [(x, k) for k in range(attrs["start"], attrs["stop"], attrs.get("step", 1))]
    else:
        source = [(x, k) for k in attrs["indices"]]
    shape = (*x.shape[:axis], len(source), *x.shape[axis + 1 :])
    picked = [(source[i[axis]], i) for i in indices(shape)]
    return Value(shape, x.dtype, tuple(v.at((*i[:axis], k, *i[axis + 1 :])) for (v, k), i in picked))


def _pad(attrs: Mapping[str, Any], x: Value) -> Value:
    shape = tuple(b + n + a for b, n, a in zip(attrs["before"], x.shape, attrs["after"], strict=True))

    def element(i: Sequence[int]) -> Any:
        inside = [k - b for k, b in zip(i, attrs["before"], strict=True)]
        there = all(0 <= k < n for k, n in zip(inside, x.shape, strict=True))
        return x.at(inside) if there else int(attrs.get("value", 0))

    return Value(shape, x.dtype, tuple(element(i) for i in indices(shape)))


def _windows(attrs: Mapping[str, Any], x: Value) -> Value:
    size, stride, dilation = attrs["size"], attrs["stride"], attrs["dilation"]
    lead = len(x.shape) - len(size)
    places = [
        len(range(0, n - (k - 1) * d, s)) for n, k, s, d in zip(x.shape[lead:], size, stride, dilation, strict=True)
    ]
    data = []
    for i in indices((*x.shape[:lead], *places)):
        for k in indices(size):
            at = [p * s + j * d for p, s, j, d in zip(i[lead:], stride, k, dilation, strict=True)]
            data.append(x.at((*i[:lead], *at)))
    return Value((*x.shape[:lead], *places, prod(size)), x.dtype, tuple(data))


def evaluate(kind: str, attrs: Mapping[str, Any], inputs: Sequence[Value]) -> list[Value]:
    """The results of one op."""
    if kind == "fused":
        return _fused(attrs, inputs)
    if kind in ("reshape", "expand", "transpose", "concat", "slice", "gather"):
        return [_move(kind, attrs, inputs)]
    table: dict[str, Callable[[], Value]] = {
        "linear": lambda: _linear(attrs, inputs),
        "memory_update": lambda: _memory(attrs, inputs),
        "matvec": lambda: _matvec(attrs, inputs),
        "matvec_t": lambda: _matvec_t(attrs, *inputs),
        "distance": lambda: _distance(*inputs),
        "outer_add": lambda: _outer_add(attrs, *inputs),
        "sum": lambda: _reduce(kind, attrs, inputs[0]),
        "amax": lambda: _reduce(kind, attrs, inputs[0]),
        "cumsum": lambda: _cumsum(attrs, inputs[0]),
        "pad": lambda: _pad(attrs, inputs[0]),
        "windows": lambda: _windows(attrs, inputs[0]),
        "lookup": lambda: _lookup(*inputs),
        "quantize": lambda: _quantize(attrs, *inputs),
        "dequantize": lambda: _dequantize(*inputs),
    }
    return [table[kind]() if kind in table else _elementwise(kind, attrs, inputs)]


class PlainProgram:
    """An integer program run in plain Python, one stream, port arrays in and lists out; `states` are lists too."""

    def __init__(self, graph: Any) -> None:
        self.graph = graph
        self.consts = {n: self._value(n, t.data) for n, t in graph.tensors.items() if t.data is not None}
        self.states = {s.tensor: self._value(s.tensor, s.init) for s in graph.states}

    def _value(self, name: str, array: Any) -> Value:
        tensor = self.graph.tensors[name]
        kind = float if tensor.dtype.name == "float32" else int
        flat = tuple(kind(v) for v in array.reshape(-1).tolist())
        assert len(flat) == prod(tensor.shape)
        return Value(tensor.shape, tensor.dtype.name, flat)

    def call(self, entry: str, inputs: Sequence[Any]) -> list[Value]:
        """Run an entry once."""
        program = self.graph.entries[entry]
        values = {**self.consts, **self.states}
        values |= {n: self._value(n, a) for n, a in zip(program.inputs, inputs, strict=True)}
        for op in program.ops:
            values |= zip(op.outputs, evaluate(op.kind, op.attrs, [values[n] for n in op.inputs]), strict=True)
        self.states = {**self.states, **{s: values[v] for s, v in program.updates.items()}}
        return [values[n] for n in program.outputs]
