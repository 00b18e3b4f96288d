"""Every op of a float graph in torch: what it computes, and the gradient that stands in where it has none."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor as Values
from torch.nn import functional

from edgekit.ir import SPIKE, Op, Tensor
from edgekit.ir.ops.spatial import window_indices

ALPHA = 2.0  # of the surrogate gradient
SMALLEST_NORMAL = float(torch.finfo(torch.float32).tiny)

Evaluate = Callable[[Sequence[Values], Op, Sequence[Tensor]], Values]
"""Operands [N, *shape] (constants [1, *shape]), the op, and its operands as the graph has them."""


class _Step(torch.autograd.Function):
    """Forward [x > 0] or [x ≥ 0]; backward as if it were arctan(π/2 α x) / π + 1/2."""

    @staticmethod
    def forward(ctx: Any, x: Values, strict: bool) -> Values:
        ctx.save_for_backward(x)
        return (x > 0 if strict else x >= 0).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Values) -> tuple[Values, None]:
        (x,) = ctx.saved_tensors
        return grads[0] * (ALPHA / 2) / (1 + (math.pi / 2 * ALPHA * x) ** 2), None


class _Straight(torch.autograd.Function):
    """Forward a function without a useful gradient; backward as if it were not there."""

    @staticmethod
    def forward(_ctx: Any, x: Values, function: Callable[[Values], Values]) -> Values:
        return function(x)

    @staticmethod
    def backward(_ctx: Any, *grads: Values) -> tuple[Values, None]:
        return grads[0], None


class _Rounded(torch.autograd.Function):
    """unit · clip(floor(x / unit + 1/2), low, high) in one pass; backward as if only the clip were there."""

    @staticmethod
    def forward(ctx: Any, x: Values, unit: Values, low: float, high: float) -> Values:
        whole = x / unit
        ctx.save_for_backward((whole >= low) & (whole <= high))
        return whole.clamp_(low, high).add_(0.5).floor_().mul_(unit)

    @staticmethod
    def backward(ctx: Any, *grads: Values) -> tuple[Values, None, None, None]:
        (inside,) = ctx.saved_tensors
        return grads[0] * inside, None, None, None


def step(x: Values, *, strict: bool = True) -> Values:
    """1 where x > 0 (x ≥ 0 if not `strict`), else 0; surrogate gradient atan with alpha = 2 (Fang et al., 2021)."""
    fired: Values = _Step.apply(x, strict)  # type: ignore[no-untyped-call]
    return fired


def straight(x: Values, function: Callable[[Values], Values]) -> Values:
    """function(x), with the gradient of x itself (Bengio et al., 2013)."""
    passed: Values = _Straight.apply(x, function)  # type: ignore[no-untyped-call]
    return passed


def rounded(x: Values, unit: Values, low: float, high: float) -> Values:
    """Multiples of `unit`, from `low` to `high` of them, half up; the gradient is that of x inside, and 0 outside."""
    whole: Values = _Rounded.apply(x, unit, low, high)  # type: ignore[no-untyped-call]
    return whole


UNARY: Mapping[str, Callable[[Values], Values]] = {
    "neg": torch.neg,
    "abs": torch.abs,
    "sign": lambda x: straight(x, torch.sign),
    "exp": torch.exp,
    "log": torch.log,
    "sqrt": torch.sqrt,
    "reciprocal": torch.reciprocal,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "erf": torch.erf,
    "sin": torch.sin,
    "cos": torch.cos,
    "floor": lambda x: straight(x, torch.floor),
    "round": lambda x: straight(x, torch.round),
    "relu": torch.relu,
    "flush": lambda x: torch.where(x.abs() < SMALLEST_NORMAL, torch.zeros_like(x), x),
    "logical_not": lambda s: 1 - s,
}
BINARY: Mapping[str, Callable[[Values, Values], Values]] = {
    "add": torch.add,
    "sub": torch.sub,
    "mul": torch.mul,
    "div": torch.div,
    "minimum": torch.minimum,
    "maximum": torch.maximum,
    "gt": lambda x, y: step(x - y),
    "ge": lambda x, y: step(x - y, strict=False),
    "lt": lambda x, y: step(y - x),
    "le": lambda x, y: step(y - x, strict=False),
    "eq": lambda x, y: (x == y).to(x.dtype),
    "ne": lambda x, y: (x != y).to(x.dtype),
    "logical_and": torch.mul,
    "logical_or": torch.maximum,
}


def _elementwise(args: Sequence[Values], op: Op, tensors: Sequence[Tensor]) -> Values:
    rank = max(len(t.shape) for t in tensors)
    args = [aligned(a, t.shape, rank) for a, t in zip(args, tensors, strict=True)]
    if op.kind == "where":
        fired, on, off = args
        return fired * on + (1 - fired) * off
    return UNARY[op.kind](args[0]) if len(args) == 1 else BINARY[op.kind](*args)


def aligned(x: Values, shape: tuple[int, ...], rank: int) -> Values:
    """A value [N, *shape] with axes of length one before those of its shape, so that it has `rank` of them."""
    missing = rank - len(shape)
    return x.reshape(x.shape[0], *(1,) * missing, *shape) if missing else x


def _cast(args: Sequence[Values], op: Op, tensors: Sequence[Tensor]) -> Values:
    if op.attrs["to"] == "spike" and tensors[0].dtype is not SPIKE:
        return straight(args[0], lambda x: (x != 0).to(x.dtype))
    return args[0]


def _linear(args: Sequence[Values], _op: Op, tensors: Sequence[Tensor]) -> Values:
    y = args[0] @ args[1][0].mT
    return y if len(args) == 2 else y + aligned(args[2], tensors[2].shape, len(tensors[0].shape))


def _memory_update(args: Sequence[Values], _op: Op, _tensors: Sequence[Tensor]) -> Values:
    m, a, u, b = args
    return m @ a[0].mT + u @ b[0].mT


def _conv(args: Sequence[Values], op: Op, _tensors: Sequence[Tensor]) -> Values:
    x, w = args[0], args[1][0]
    convolve = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}[w.dim() - 2]
    bias = args[2].reshape(-1) if len(args) > 2 else None
    return convolve(x, w, bias, op.attrs["stride"], 0, op.attrs["dilation"], op.attrs.get("groups", 1))


def _cumsum(args: Sequence[Values], op: Op, _tensors: Sequence[Tensor]) -> Values:
    x, axis = args[0], op.attrs["axis"] + 1
    x = x.flip(axis) if op.attrs.get("reverse", False) else x
    y = x.cumsum(axis)
    if op.attrs.get("exclusive", False):
        y = y - x
    return y.flip(axis) if op.attrs.get("reverse", False) else y


def _concat(args: Sequence[Values], op: Op, _tensors: Sequence[Tensor]) -> Values:
    batch = max(len(x) for x in args)
    return torch.cat([x.expand(batch, *x.shape[1:]) for x in args], op.attrs["axis"] + 1)


def _slice(args: Sequence[Values], op: Op, _tensors: Sequence[Tensor]) -> Values:
    where = slice(op.attrs["start"], op.attrs["stop"], op.attrs.get("step", 1))
    return args[0][(slice(None),) * (op.attrs["axis"] + 1) + (where,)]


def _pad(args: Sequence[Values], op: Op, _tensors: Sequence[Tensor]) -> Values:
    both = zip(op.attrs["before"], op.attrs["after"], strict=True)
    widths = [n for pair in reversed(list(both)) for n in pair]
    return functional.pad(args[0], widths, value=op.attrs.get("value", 0.0))


def _windows(args: Sequence[Values], op: Op, tensors: Sequence[Tensor]) -> Values:
    shape = tensors[0].shape
    lead = len(shape) - len(op.attrs["size"])
    indices = torch.from_numpy(window_indices(shape[lead:], op.attrs))
    return args[0].flatten(lead + 1)[..., indices]


FUNCTIONS: Mapping[str, Evaluate] = {
    **dict.fromkeys((*UNARY, *BINARY, "where"), _elementwise),
    "cast": _cast,
    "linear": _linear,
    "memory_update": _memory_update,
    "conv": _conv,
    "sum": lambda args, op, _: args[0].sum(op.attrs["axis"] + 1, keepdim=op.attrs.get("keepdims", False)),
    "amax": lambda args, op, _: args[0].amax(op.attrs["axis"] + 1, keepdim=op.attrs.get("keepdims", False)),
    "cumsum": _cumsum,
    "reshape": lambda args, op, _: args[0].reshape(len(args[0]), *op.attrs["shape"]),
    "transpose": lambda args, op, _: args[0].permute(0, *(axis + 1 for axis in op.attrs["perm"])),
    "expand": lambda args, op, tensors: aligned(args[0], tensors[0].shape, len(op.attrs["shape"])).expand(
        len(args[0]), *op.attrs["shape"]
    ),
    "slice": _slice,
    "concat": _concat,
    "gather": lambda args, op, _: args[0].index_select(
        op.attrs["axis"] + 1, torch.tensor(op.attrs["indices"], dtype=torch.int64, device=args[0].device)
    ),
    "pad": _pad,
    "windows": _windows,
}
