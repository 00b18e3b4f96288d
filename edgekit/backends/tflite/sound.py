"""Whether an operator fits the values it takes and gives: what kernels assume, and some of them do not check."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from edgekit.backends.tflite.parts import Operator, Subgraph, Value, need
from edgekit.backends.tflite.schema import ABSENT
from edgekit.ir.ops.spatial import placements

NUMBERS = ("FLOAT32", "INT8", "INT16")
VALID = 1  # the padding that is none
MAX_INDICES = 2**22
MAX_STRIDE = 2**15
MAX_FACTOR = 2.0**15
ROOM = {"INT8": 2.0**20, "INT16": 2.0**15}  # by which kernels of ADD and SUB widen their operands
BIASES = {"FLOAT32": ("FLOAT32",), "INT8": ("INT32",), "INT16": ("INT64", "INT32")}
CONVERSIONS = {
    "CAST": {*(("BOOL", to) for to in NUMBERS), ("INT8", "INT32"), ("INT16", "INT32")},
    "DEQUANTIZE": {("INT8", "FLOAT32"), ("INT16", "FLOAT32")},
    "QUANTIZE": {(source, to) for source in NUMBERS for to in ("INT8", "INT16")},
}


@dataclass(frozen=True, eq=False)
class Case:
    """An operator with its values: inputs x, outputs y."""

    name: str
    x: Sequence[Value]
    y: Sequence[Value]
    options: Mapping[str, Any]

    def fit(self, condition: bool) -> None:
        """ArtifactError unless the condition holds."""
        shown = ", ".join(f"{v.type}{list(v.shape)}" for v in (*self.x, *self.y))
        need(condition, f"{self.name} does not fit its values {shown}"[:400])

    def ints(self, at: int) -> tuple[int, ...]:
        """The elements of an input that says where or how much: a constant."""
        value = self.x[at]
        self.fit(value.data is not None and value.type == "INT32" and prod(value.shape) <= MAX_INDICES)
        return tuple(map(int, np.asarray(value.data).reshape(-1)))

    def alike(self, values: Sequence[Value], known: tuple[str, ...] = NUMBERS) -> None:
        """Values have one type, one that is known."""
        self.fit(all(v.type == values[0].type for v in values) and values[0].type in known)

    def moves(self) -> tuple[int, ...]:
        """The indices or sizes by which the first input is moved; it has the type and scale of the output."""
        self.alike([self.x[0], self.y[0]], (*NUMBERS, "BOOL"))
        self.same_scale([self.x[0], self.y[0]])
        return self.ints(1)

    def scale(self, value: Value) -> float:
        """The one scale of an integer value, the largest where it has more; 1 of a float."""
        self.fit(value.quant is not None or value.type not in ("INT8", "INT16"))
        return 1.0 if value.quant is None else float(value.quant[0].max())

    def same_scale(self, values: Sequence[Value]) -> None:
        """Integer values have one scale and zero point, all the same."""
        found = {(float(s[0]), int(z[0])) if s.size == 1 else None for s, z, _ in (v.quant for v in values if v.quant)}
        self.fit(len(found) <= 1 and None not in found and len({v.quant is None for v in values}) == 1)

    def rescales(self, factor: float) -> None:
        """A product of scales over that of the result: kernels stop the process where it is too large."""
        self.fit(factor < MAX_FACTOR)

    def broadcasts(self, values: Sequence[Value]) -> None:
        """Values broadcast to the shape of the output."""
        try:
            shape: tuple[int, ...] = np.broadcast_shapes(*(v.shape for v in values))
        except ValueError:
            shape = (0,)
        self.fit(shape == self.y[0].shape and len(shape) <= 6)


def check_operator(operator: Operator, graph: Subgraph, at: int) -> None:
    """ArtifactError unless an operator of subgraph number `at` is sound."""
    absent = [i for i, index in enumerate(operator.inputs) if index == ABSENT]
    need(not absent or (operator.builtin, absent) == ("FULLY_CONNECTED", [2]), f"{operator.builtin} lacks an input")
    inputs = [graph.values[i] for i in operator.inputs if i != ABSENT]
    outputs = [graph.values[i] for i in operator.outputs]
    low, high, gives, rule = _RULES[operator.builtin]
    need(low <= len(inputs) <= high, f"{operator.builtin} has {len(inputs)} inputs")
    need(len(outputs) == gives, f"{operator.builtin} has {len(outputs)} outputs")
    need(operator.builtin != "CALL_ONCE" or at == 0, "CALL_ONCE is not in the step")
    rule(Case(operator.builtin, inputs, outputs, operator.options))


def _unary(case: Case) -> None:
    case.alike([*case.x, *case.y])
    case.fit(case.x[0].shape == case.y[0].shape)
    case.rescales(case.scale(case.x[0]) / case.scale(case.y[0]))


def _binary(case: Case) -> None:
    case.alike([*case.x, *case.y])
    case.broadcasts(case.x)
    (a, b), y = (case.scale(v) for v in case.x), case.scale(case.y[0])
    if case.name in ("MAXIMUM", "MINIMUM"):
        case.same_scale([*case.x, *case.y])
    elif case.name in ("ADD", "SUB") and case.x[0].type in ROOM:
        case.fit(2 * max(a, b) < ROOM[case.x[0].type] * y)
    else:
        case.rescales(a * b / y)


def _compare(case: Case) -> None:
    case.alike(case.x, (*NUMBERS, "INT32"))
    case.fit(case.y[0].type == "BOOL")
    case.broadcasts(case.x)


def _logic(case: Case) -> None:
    case.alike([*case.x, *case.y], ("BOOL",))
    case.broadcasts(case.x)


def _select(case: Case) -> None:
    case.fit(case.x[0].type == "BOOL")
    case.alike([*case.x[1:], *case.y])
    case.same_scale([*case.x[1:], *case.y])
    case.broadcasts(case.x)


def _convert(case: Case) -> None:
    x, y = case.x[0], case.y[0]
    case.fit((x.type, y.type) in CONVERSIONS[case.name] and x.shape == y.shape)
    scaled = [v.quant is not None and v.quant[0].size == 1 for v in (x, y) if v.type in ("INT8", "INT16")]
    case.fit(case.name == "CAST" or all(scaled))
    if case.name == "QUANTIZE":
        case.rescales(case.scale(x) / case.scale(y) if x.type != "FLOAT32" else 1.0)


def _reshape(case: Case) -> None:
    to = case.moves()
    same = to == case.y[0].shape == tuple(map(int, case.options["shape"]))
    case.fit(same and prod(to) == prod(case.x[0].shape))


def _transpose(case: Case) -> None:
    perm, shape = case.moves(), case.x[0].shape
    case.fit(sorted(perm) == list(range(len(shape))) and len(shape) <= 6)
    case.fit(tuple(shape[p] for p in perm) == case.y[0].shape)


def _broadcast_to(case: Case) -> None:
    case.fit(case.moves() == case.y[0].shape)
    case.broadcasts([case.x[0], case.y[0]])


def _strided_slice(case: Case) -> None:
    begin, shape = case.moves(), case.x[0].shape
    end, step = case.ints(2), case.ints(3)
    case.fit(len(begin) == len(end) == len(step) == len(shape) <= 5)
    rows = list(zip(begin, end, step, shape, strict=True))
    case.fit(all(0 <= a < b <= n and s >= 1 for a, b, s, n in rows))
    case.fit(tuple(len(range(a, b, s)) for a, b, s, _ in rows) == case.y[0].shape)


def _concatenation(case: Case) -> None:
    case.alike([*case.x, *case.y])
    case.same_scale([*case.x, *case.y])
    axis, shape = case.options["axis"], case.x[0].shape
    case.fit(0 <= axis < len(shape) and all(len(v.shape) == len(shape) for v in case.x))
    rest = [(*v.shape[:axis], *v.shape[axis + 1 :]) for v in case.x]
    case.fit(all(r == rest[0] for r in rest))
    case.fit((*shape[:axis], sum(v.shape[axis] for v in case.x), *shape[axis + 1 :]) == case.y[0].shape)


def _gather(case: Case) -> None:
    at, axis, shape = case.moves(), case.options["axis"], case.x[0].shape
    case.fit(0 <= axis < len(shape) and len(case.x[1].shape) == 1)
    case.fit(all(0 <= i < shape[axis] for i in at))
    case.fit((*shape[:axis], len(at), *shape[axis + 1 :]) == case.y[0].shape)


def _pad(case: Case) -> None:
    widths, shape = case.moves(), case.x[0].shape
    case.fit(case.x[1].shape == (len(shape), 2) and len(shape) <= 5 and min(widths, default=0) >= 0)
    case.fit(tuple(n + widths[2 * i] + widths[2 * i + 1] for i, n in enumerate(shape)) == case.y[0].shape)
    case.fit(all(v.type == case.x[0].type and prod(v.shape) == 1 for v in case.x[2:]))


def _sums(case: Case, outputs: int) -> None:
    """Weights and bias of a sum: float32 all, or constant int8 weights with int32 or int64 biases."""
    x, weights = case.x[0], case.x[1]
    case.alike([x, case.y[0]])
    case.fit(all(v.type in BIASES[x.type] and v.shape == (outputs,) for v in case.x[2:]))
    if x.type == "FLOAT32":
        case.fit(weights.type == "FLOAT32")
        return
    case.fit(weights.type == "INT8" and weights.data is not None and weights.quant is not None)
    case.fit(all(v.quant is not None and v.quant[0].size == 1 for v in (x, case.y[0])))
    case.fit(all(v.data is not None for v in case.x[2:]))
    case.rescales(case.scale(x) * case.scale(weights) / case.scale(case.y[0]))


def _fully_connected(case: Case) -> None:
    x, w = case.x[0].shape, case.x[1].shape
    case.fit(len(w) == 2 and x[-1:] == w[1:] and bool(case.options["keep_dims"]))
    case.fit((*x[:-1], w[0]) == case.y[0].shape)
    _sums(case, w[0])


def _conv(case: Case) -> None:
    x, w, options = case.x[0].shape, case.x[1].shape, case.options
    case.fit(len(x) == len(w) == 4 and options["padding"] == VALID)
    outputs = w[0] if case.name == "CONV_2D" else w[3]
    joined = w[3] == x[3] if case.name == "CONV_2D" else w[0] == 1 and options["multiplier"] * x[3] == outputs
    stride, dilation = ([options[f"{what}_{axis}"] for axis in "hw"] for what in ("stride", "dilation"))
    case.fit(joined and all(1 <= n <= MAX_STRIDE for n in (*stride, *dilation)))
    case.fit(all(n > (k - 1) * d for n, k, d in zip(x[1:3], w[1:3], dilation, strict=True)))
    case.fit((x[0], *placements(case.name, x[1:3], w[1:3], stride, dilation), outputs) == case.y[0].shape)
    _sums(case, outputs)


def _reduce(case: Case) -> None:
    axes, shape = case.moves(), case.x[0].shape
    case.fit(case.x[0].type == "FLOAT32")
    case.fit(len(axes) == 1 and 0 <= axes[0] < len(shape) and bool(case.options["keep_dims"]))
    case.fit((*shape[: axes[0]], 1, *shape[axes[0] + 1 :]) == case.y[0].shape)


def _cumsum(case: Case) -> None:
    case.alike([case.x[0], case.y[0]], ("FLOAT32",))
    axis = case.ints(1)
    case.fit(case.x[1].shape == () and 0 <= axis[0] < len(case.x[0].shape) and case.x[0].shape == case.y[0].shape)


def _handle(case: Case) -> None:
    case.fit(case.y[0].type == "RESOURCE" and case.y[0].shape == ())


def _variable(case: Case) -> None:
    value = (*case.x[1:], *case.y)[0]
    case.fit(case.x[0].type == "RESOURCE" and value.type in NUMBERS)


def _nothing(case: Case) -> None:
    """CALL_ONCE has no values; what it calls is checked with the variables."""


Rule = tuple[int, int, int, Callable[[Case], None]]


def _each(names: str, low: int, high: int, rule: Callable[[Case], None]) -> dict[str, Rule]:
    return dict.fromkeys(names.split(), (low, high, 1, rule))


# builtin -> least and most inputs, outputs, and what else has to hold
_RULES: Mapping[str, Rule] = {
    **_each("ABS COS EXP FLOOR LOG LOGISTIC NEG RELU SIN SQRT TANH", 1, 1, _unary),
    **_each("ADD DIV MAXIMUM MINIMUM MUL SUB", 2, 2, _binary),
    **_each("EQUAL GREATER GREATER_EQUAL LESS LESS_EQUAL NOT_EQUAL", 2, 2, _compare),
    **_each("LOGICAL_AND LOGICAL_OR", 2, 2, _logic),
    **_each("LOGICAL_NOT", 1, 1, _logic),
    **_each("SELECT_V2", 3, 3, _select),
    **_each("CAST DEQUANTIZE QUANTIZE", 1, 1, _convert),
    **_each("RESHAPE", 2, 2, _reshape),
    **_each("TRANSPOSE", 2, 2, _transpose),
    **_each("BROADCAST_TO", 2, 2, _broadcast_to),
    **_each("STRIDED_SLICE", 4, 4, _strided_slice),
    **_each("CONCATENATION", 1, 64, _concatenation),
    **_each("GATHER", 2, 2, _gather),
    **_each("PAD", 2, 2, _pad),
    **_each("PADV2", 3, 3, _pad),
    **_each("FULLY_CONNECTED", 2, 3, _fully_connected),
    **_each("CONV_2D DEPTHWISE_CONV_2D", 3, 3, _conv),
    **_each("SUM REDUCE_MAX", 2, 2, _reduce),
    **_each("CUMSUM", 2, 2, _cumsum),
    **_each("VAR_HANDLE", 0, 0, _handle),
    **_each("READ_VARIABLE", 1, 1, _variable),
    "ASSIGN_VARIABLE": (2, 2, 0, _variable),
    "CALL_ONCE": (0, 0, 0, _nothing),
}
