"""Ops that move values, as ONNX nodes. A spike moves as a float32 of 0 or 1."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from edgekit.backends.onnx.body import Body
from edgekit.backends.onnx.elementwise import Row
from edgekit.ir import Op


def _reshape(body: Body, op: Op) -> None:
    body.result(op, "Reshape", body.value(op.inputs[0]), body.integers(0, *op.attrs["shape"]))  # 0: N as it is


def _transpose(body: Body, op: Op) -> None:
    body.result(op, "Transpose", body.value(op.inputs[0]), perm=(0, *(p + 1 for p in op.attrs["perm"])))


def _expand(body: Body, op: Op) -> None:
    shape, name = op.attrs["shape"], op.inputs[0]
    if shape == body.tensor(name).shape:
        body.alias(op)
        return
    value = body.beside(name, len(shape), whole=True)
    body.result(op, "Expand", value, body.integers(1, *shape))  # 1: N as it is


def _slice(body: Body, op: Op) -> None:
    ends = (op.attrs[key] for key in ("start", "stop", "axis"))
    start, stop, axis = (body.integers(n) for n in np.add(tuple(ends), (0, 0, 1)).tolist())
    body.result(op, "Slice", body.value(op.inputs[0]), start, stop, axis, body.integers(op.attrs.get("step", 1)))


def _concat(body: Body, op: Op) -> None:
    mixed = len({body.is_single(n) for n in op.inputs}) > 1
    parts = (body.streams(n) if mixed else body.value(n) for n in op.inputs)
    body.result(op, "Concat", *parts, axis=op.attrs["axis"] + 1)


def _gather(body: Body, op: Op) -> None:
    indices = body.integers(*op.attrs["indices"])
    body.result(op, "Gather", body.value(op.inputs[0]), indices, axis=op.attrs["axis"] + 1)


def _pad(body: Body, op: Op) -> None:
    widths = body.integers(0, *op.attrs["before"], 0, *op.attrs["after"])
    fill = body.constant(f"{op.outputs[0]}/fill", np.asarray(op.attrs.get("value", 0.0), np.float32))
    body.result(op, "Pad", body.value(op.inputs[0]), widths, fill, mode="constant")


MOVEMENT: Mapping[str, Row] = MappingProxyType(
    {
        "reshape": _reshape,
        "transpose": _transpose,
        "expand": _expand,
        "slice": _slice,
        "concat": _concat,
        "gather": _gather,
        "pad": _pad,
    }
)
