"""Ops that sum over an axis, as ONNX nodes; int8 operands come through QuantizeLinear and DequantizeLinear."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.backends.onnx.body import Body
from edgekit.backends.onnx.elementwise import Row
from edgekit.ir import Op

Array = npt.NDArray[Any]


def _linear(body: Body, op: Op) -> None:
    x, w = op.inputs[:2]
    form = _live if not body.tensor(w).is_const else _exact_int8 if _rounds_weights_alone(body, x, w) else _dense
    kind, *operands = (product := form(body, op))[0]
    if len(op.inputs) == 2:
        body.result(op, kind, *operands, **product[1])
        return
    addend = body.beside(op.inputs[2], len(body.tensor(op.outputs[0]).shape))
    if kind == "Gemm":
        body.result(op, kind, *operands, addend, **product[1])
        return
    total = body.made(kind, *operands, stem=f"{op.outputs[0]}/product", **product[1])
    # of a MatMul and an Add behind it ONNX Runtime makes one float Gemm, of a Sum it does not
    body.result(op, "Sum" if body.is_quantised(x, w) else "Add", total, addend)


_Product = tuple[tuple[str, ...], dict[str, Any]]


def _dense(body: Body, op: Op) -> _Product:
    """x[N, …, in] times columns[in, out]."""
    return ("MatMul", body.read(*op.inputs[:2]), weights(body, op, lambda data: data.T, 1)), {}


def _rounds_weights_alone(body: Body, x: str, w: str) -> bool:
    return body.tensor(w).quant is not None and not body.is_quantised(x, w)


def _exact_int8(body: Body, op: Op) -> _Product:
    """Rows [·, in] times int8 weights [out, in], as Gemm: behind a MatMul ONNX Runtime would round x to int8 too."""
    x, w = op.inputs[:2]
    shape, (out, fan_in) = body.tensor(x).shape, body.tensor(w).shape
    rows, stored = body.value(x), weights(body, op, lambda data: data, 0)
    if len(shape) > 1:
        rows = body.made("Reshape", rows, body.integers(-1, fan_in), stem=f"{x}/rows")
    product: _Product = ("Gemm", rows, stored), {"transB": 1}
    if len(shape) == 1:
        return product
    made = body.made(*product[0], stem=f"{x}/products", **product[1])
    return ("Reshape", made, body.integers(-1, *shape[:-1], out)), {}


def _live(body: Body, op: Op) -> _Product:
    """Each stream with weights of its own: x as [N, rows, in] times columns [N, in, out]."""
    x, w = op.inputs[:2]
    shape, (out, fan_in) = body.tensor(x).shape, body.tensor(w).shape
    columns = body.made("Transpose", body.value(w), stem=f"{w}/columns", perm=(0, 2, 1))
    rows = body.value(x)
    if len(shape) == 2:
        return ("MatMul", rows, columns), {}
    rows = body.made("Reshape", rows, body.integers(0, -1, fan_in), stem=f"{x}/rows")
    product = body.made("MatMul", rows, columns, stem=f"{x}/products")
    return ("Reshape", product, body.integers(0, *shape[:-1], out)), {}


def weights(body: Body, op: Op, view: Any, axis: int) -> str:
    """Constant weights as an initialiser; int8 ones with a DequantizeLinear behind them, and for this op alone.

    ONNX Runtime may rewrite an int8 constant for each of its readers under one new name, which fails for the second.
    """
    tensor, name = body.tensor(op.inputs[1]), op.outputs[0]
    data: Array = view(np.asarray(tensor.data))
    if tensor.quant is None:
        return body.constant(f"{tensor.name}/weights{data.ndim}", data.astype(np.float32))
    scale, zero = tensor.quant.scale, tensor.quant.zero_point.astype(np.int8)
    per_tensor = tensor.quant.axis is None
    ends = (
        body.constant(f"{name}/int8", data, own=True),
        body.constant(f"{tensor.name}/scale", scale.reshape(()) if per_tensor else scale),
        body.constant(f"{name}/zero", zero.reshape(()) if per_tensor else zero, own=True),
    )
    attrs = {} if per_tensor else {"axis": axis}
    return body.made("DequantizeLinear", *ends, stem=f"{name}/weights", **attrs)


def _conv(body: Body, op: Op) -> None:
    size = body.tensor(op.inputs[1]).shape[2:]
    body.result(
        op,
        "Conv",
        body.read(*op.inputs[:2]),
        weights(body, op, lambda data: data, 0),
        *(body.constant(f"{b}/bias", np.asarray(body.tensor(b).data)) for b in op.inputs[2:]),
        kernel_shape=size,
        strides=op.attrs["stride"],
        dilations=op.attrs["dilation"],
        group=op.attrs.get("groups", 1),
        pads=(0,) * (2 * len(size)),
    )


def _sum(body: Body, op: Op) -> None:
    axis, keep = body.integers(op.attrs["axis"] + 1), int(op.attrs.get("keepdims", False))
    body.result(op, "ReduceSum", body.value(op.inputs[0]), axis, keepdims=keep)


def _amax(body: Body, op: Op) -> None:
    keep = int(op.attrs.get("keepdims", False))
    body.result(op, "ReduceMax", body.value(op.inputs[0]), axes=(op.attrs["axis"] + 1,), keepdims=keep)


def _cumsum(body: Body, op: Op) -> None:
    axis = body.constant("axis", np.asarray(op.attrs["axis"] + 1, np.int64))
    ends: dict[str, Any] = {key: int(op.attrs.get(key, False)) for key in ("reverse", "exclusive")}
    body.result(op, "CumSum", body.value(op.inputs[0]), axis, **ends)


CONTRACT: Mapping[str, Row] = MappingProxyType(
    {"linear": _linear, "conv": _conv, "sum": _sum, "amax": _amax, "cumsum": _cumsum}
)
