"""Ops that move values without computing: reshape, transpose, expand, slice, concat, gather."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgekit.ir.graph import Tensor
from edgekit.ir.ops.spec import Array, Attr, Attrs, OpSpec, Typed, axis_of, broadcast, need


def _infer_reshape(inputs: Sequence[Tensor], attrs: Attrs) -> Sequence[Typed]:
    shape = attrs["shape"]
    ok = all(n >= 0 for n in shape) and int(np.prod(shape, dtype=object)) == inputs[0].size
    need("reshape", ok, f"cannot view {inputs[0].shape} as {shape}")
    return [(shape, inputs[0].dtype)]


def _infer_transpose(inputs: Sequence[Tensor], attrs: Attrs) -> Sequence[Typed]:
    perm, shape = attrs["perm"], inputs[0].shape
    need("transpose", sorted(perm) == list(range(len(shape))), f"{perm} does not permute the axes of {shape}")
    return [(tuple(shape[p] for p in perm), inputs[0].dtype)]


def _infer_expand(inputs: Sequence[Tensor], attrs: Attrs) -> Sequence[Typed]:
    shape = attrs["shape"]
    need("expand", all(n >= 0 for n in shape), f"cannot expand to {shape}")
    need(
        "expand", broadcast("expand", [inputs[0].shape, shape]) == shape, f"cannot expand {inputs[0].shape} to {shape}"
    )
    return [(shape, inputs[0].dtype)]


def _infer_slice(inputs: Sequence[Tensor], attrs: Attrs) -> Sequence[Typed]:
    shape = inputs[0].shape
    axis = axis_of("slice", attrs, len(shape))
    start, stop, step = attrs["start"], attrs["stop"], attrs.get("step", 1)
    ok = 0 <= start <= stop <= shape[axis] and step >= 1
    need("slice", ok, f"[{start}:{stop}:{step}] is outside axis {axis} of {shape}")
    length = len(range(start, stop, step))
    return [((*shape[:axis], length, *shape[axis + 1 :]), inputs[0].dtype)]


def _infer_concat(inputs: Sequence[Tensor], attrs: Attrs) -> Sequence[Typed]:
    first = inputs[0]
    axis = axis_of("concat", attrs, len(first.shape))
    for t in inputs[1:]:
        same = t.dtype is first.dtype and len(t.shape) == len(first.shape)
        same = same and all(a == b for i, (a, b) in enumerate(zip(t.shape, first.shape, strict=True)) if i != axis)
        need("concat", same, f"{t.name} {t.dtype}{t.shape} does not fit {first.name} {first.dtype}{first.shape}")
    length = sum(t.shape[axis] for t in inputs)
    return [((*first.shape[:axis], length, *first.shape[axis + 1 :]), first.dtype)]


def _infer_gather(inputs: Sequence[Tensor], attrs: Attrs) -> Sequence[Typed]:
    shape = inputs[0].shape
    axis = axis_of("gather", attrs, len(shape))
    need("gather", all(0 <= i < shape[axis] for i in attrs["indices"]), f"an index is outside axis {axis} of {shape}")
    return [((*shape[:axis], len(attrs["indices"]), *shape[axis + 1 :]), inputs[0].dtype)]


def _evaluate_reshape(inputs: Sequence[Array], attrs: Attrs, tensors: Sequence[Tensor]) -> Sequence[Array]:
    return [inputs[0].reshape(inputs[0].shape[0], *attrs["shape"])]


def _evaluate_transpose(inputs: Sequence[Array], attrs: Attrs, tensors: Sequence[Tensor]) -> Sequence[Array]:
    return [inputs[0].transpose(0, *(p + 1 for p in attrs["perm"]))]


def _evaluate_expand(inputs: Sequence[Array], attrs: Attrs, tensors: Sequence[Tensor]) -> Sequence[Array]:
    x, shape = inputs[0], attrs["shape"]
    ones = (1,) * (len(shape) - len(tensors[0].shape))
    return [np.broadcast_to(x.reshape(x.shape[0], *ones, *tensors[0].shape), (x.shape[0], *shape))]


def _evaluate_slice(inputs: Sequence[Array], attrs: Attrs, tensors: Sequence[Tensor]) -> Sequence[Array]:
    index = [slice(None)] * inputs[0].ndim
    index[attrs["axis"] + 1] = slice(attrs["start"], attrs["stop"], attrs.get("step", 1))
    return [inputs[0][tuple(index)]]


def _evaluate_concat(inputs: Sequence[Array], attrs: Attrs, tensors: Sequence[Tensor]) -> Sequence[Array]:
    batch = max(x.shape[0] for x in inputs)
    return [np.concatenate([np.broadcast_to(x, (batch, *x.shape[1:])) for x in inputs], axis=attrs["axis"] + 1)]


def _evaluate_gather(inputs: Sequence[Array], attrs: Attrs, tensors: Sequence[Tensor]) -> Sequence[Array]:
    return [np.take(inputs[0], np.array(attrs["indices"], dtype=np.int64), axis=attrs["axis"] + 1)]


MOVEMENT: dict[str, OpSpec] = {
    "reshape": OpSpec(
        "reshape",
        "movement",
        "the same elements, row-major, in another shape",
        (1, 1),
        _infer_reshape,
        _evaluate_reshape,
        {"shape": Attr("ints")},
    ),
    "transpose": OpSpec(
        "transpose",
        "movement",
        "axes in another order",
        (1, 1),
        _infer_transpose,
        _evaluate_transpose,
        {"perm": Attr("ints")},
    ),
    "expand": OpSpec(
        "expand",
        "movement",
        "axes of length one repeated",
        (1, 1),
        _infer_expand,
        _evaluate_expand,
        {"shape": Attr("ints")},
    ),
    "slice": OpSpec(
        "slice",
        "movement",
        "elements start, start + step, … below stop along one axis",
        (1, 1),
        _infer_slice,
        _evaluate_slice,
        {"axis": Attr(int), "start": Attr(int), "stop": Attr(int), "step": Attr(int, 1, required=False)},
    ),
    "concat": OpSpec(
        "concat",
        "movement",
        "values side by side along one axis",
        (1, None),
        _infer_concat,
        _evaluate_concat,
        {"axis": Attr(int)},
    ),
    "gather": OpSpec(
        "gather",
        "movement",
        "elements at constant indices along one axis",
        (1, 1),
        _infer_gather,
        _evaluate_gather,
        {"axis": Attr(int), "indices": Attr("ints")},
    ),
}
