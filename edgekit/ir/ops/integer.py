"""Ops at the border between reals and integers, and functions of integers by table."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgekit.ir.dtypes import DTYPES, FLOAT32, INT8, INT16, INT32
from edgekit.ir.graph import Tensor
from edgekit.ir.ops.spec import Array, Attr, Attrs, Cost, OpSpec, Typed, batched, broadcast, need

MIN_TABLE_BITS, MAX_TABLE_BITS = 2, 12  # segments of a table over int16: 4 (so that int32 holds a rise) to 4096


def _infer_quantize(inputs: Sequence[Tensor], attrs: Attrs) -> Sequence[Typed]:
    x, offset, gain = inputs
    for tensor in inputs:
        need("quantize", tensor.dtype is FLOAT32, f"wants float32, got {tensor.dtype} ({tensor.name})")
    need("quantize", offset.is_const and gain.is_const, "offset and gain must be constant")
    fits = broadcast("quantize", [x.shape, offset.shape, gain.shape]) == x.shape
    need("quantize", fits, f"offset {offset.shape} and gain {gain.shape} do not fit {x.shape}")
    return [(x.shape, DTYPES[attrs["to"]])]


def _evaluate_quantize(inputs: Sequence[Array], attrs: Attrs, tensors: Sequence[Tensor]) -> Sequence[Array]:
    rank = len(tensors[0].shape)
    x, offset, gain = (batched(a, t.shape, rank).astype(np.float32) for a, t in zip(inputs, tensors, strict=True))
    to = DTYPES[attrs["to"]]
    low, high = to.limits
    with np.errstate(all="ignore"):  # every step in float32, so that each engine gives the same integer
        scaled = (x - offset) * gain
        limited = np.where(np.isnan(scaled), np.float32(0), np.clip(scaled, np.float32(low), np.float32(high)))
        stored = np.floor(limited + np.float32(0.5)).astype(np.int64)
    return [stored.astype(to.numpy)]


def _infer_dequantize(inputs: Sequence[Tensor], attrs: Attrs) -> Sequence[Typed]:
    x, scale = inputs
    need("dequantize", x.dtype in (INT8, INT16, INT32), f"wants integers, got {x.dtype} ({x.name})")
    need("dequantize", scale.dtype is FLOAT32 and scale.is_const, "the scale must be constant float32")
    fits = broadcast("dequantize", [x.shape, scale.shape]) == x.shape
    need("dequantize", fits, f"scale {scale.shape} does not fit {x.shape}")
    return [(x.shape, FLOAT32)]


def _evaluate_dequantize(inputs: Sequence[Array], attrs: Attrs, tensors: Sequence[Tensor]) -> Sequence[Array]:
    scale = batched(inputs[1], tensors[1].shape, len(tensors[0].shape))
    return [np.asarray(inputs[0].astype(np.float32) * scale.astype(np.float32))]


def _infer_lookup(inputs: Sequence[Tensor], attrs: Attrs) -> Sequence[Typed]:
    x, table = inputs
    need("lookup", x.dtype in (INT8, INT16), f"wants int8 or int16, got {x.dtype} ({x.name})")
    known = table.is_const and len(table.shape) == 1 and table.dtype in (INT8, INT16)
    need("lookup", known, f"table {table.name} must be a constant vector of int8 or int16")
    if x.dtype is INT8:
        need("lookup", table.size == 256, f"a table over int8 has 256 entries, {table.name} has {table.size}")
    else:
        sizes = [2**bits + 1 for bits in range(MIN_TABLE_BITS, MAX_TABLE_BITS + 1)]
        need("lookup", table.size in sizes, f"a table over int16 has 2^k + 1 entries, {table.name} has {table.size}")
        need("lookup", table.dtype is INT16, f"a table over int16 holds int16, {table.name} {table.dtype}")
    return [(x.shape, table.dtype)]


def _evaluate_lookup(inputs: Sequence[Array], attrs: Attrs, tensors: Sequence[Tensor]) -> Sequence[Array]:
    x, table = inputs[0].astype(np.int64), inputs[1][0].astype(np.int64)
    to = tensors[1].dtype.numpy
    if tensors[0].dtype is INT8:
        return [table[x + 128].astype(to)]
    fraction = 16 - (table.size - 1).bit_length() + 1
    position = x + 2**15
    at, rest = position >> fraction, position & ((1 << fraction) - 1)
    rise = (table[at + 1] - table[at]) * rest
    return [(table[at] + ((rise + (1 << (fraction - 1))) >> fraction)).astype(to)]


def _cost(inputs: Sequence[Tensor], outputs: Sequence[Tensor], attrs: Attrs) -> Cost:
    return Cost(acs=outputs[0].size, bytes=sum(t.stored_bytes for t in inputs))


INTEGER: dict[str, OpSpec] = {
    "quantize": OpSpec(
        "quantize",
        "integer",
        "saturate(floor((x - offset) · gain + 1/2)) in float32; NaN gives 0, ±Inf the ends of the range",
        (3, 3),
        _infer_quantize,
        _evaluate_quantize,
        {"to": Attr(str, choices=("int8", "int16"))},
        cost=_cost,
    ),
    "dequantize": OpSpec(
        "dequantize", "integer", "x · scale in float32", (2, 2), _infer_dequantize, _evaluate_dequantize, cost=_cost
    ),
    "lookup": OpSpec(
        "lookup",
        "integer",
        "f(x) by table: an entry for each int8, or for int16 2^k segments with linear interpolation, rounded half up",
        (2, 2),
        _infer_lookup,
        _evaluate_lookup,
        cost=_cost,
    ),
}
