"""The row of Resize: neighbours by a gather, linear and cubic interpolation by a constant matrix along each axis."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from edgekit.frontends.emitter import Array, Emitter, Known, Live, Operand, Refuse
from edgekit.frontends.onnx.lowering import CONSTANT_REMEDY, Lowering, Node, Row, within
from edgekit.frontends.onnx.rows_movement import take


def _resize(lowering: Lowering, node: Node) -> Operand:
    mode = node.attr("mode", "nearest")
    if mode not in ("nearest", "linear", "cubic"):
        raise Refuse(f"interpolates with {mode}", "use mode='nearest', 'linear' or 'cubic'")
    if node.attr("antialias", 0):
        raise Refuse("resizes with antialias", "use antialias=0")
    x = lowering.operand(node, 0)
    shape = lowering.shape(x)
    axes = [within(int(a), len(shape)) for a in node.attr("axes") or range(len(shape))]
    scales, sizes = lowering.array(node, 2, "scales"), lowering.ints(node, 3, "sizes")
    if node.attr("coordinate_transformation_mode", "half_pixel") == "tf_crop_and_resize":
        raise Refuse("crops and resizes", "use Slice and a resize without roi")
    if sizes:
        factors, sizes = _policy(node, [shape[a] for a in axes], sizes)
    elif scales is not None and scales.size:
        factors = [float(s) for s in scales.reshape(-1)]
        sizes = tuple(math.floor(shape[a] * s) for a, s in zip(axes, factors, strict=True))
    else:
        raise Refuse("has neither scales nor sizes", CONSTANT_REMEDY)
    for axis, factor, size in zip(axes, factors, sizes, strict=True):
        if size == shape[axis] and factor == 1:
            continue
        places = _coordinates(node, size, shape[axis], factor)
        if mode == "nearest":
            x = take(lowering.e, x, axis, np.clip(_nearest(node, places), 0, shape[axis] - 1).astype(int).tolist())
        else:
            x = _interpolated(lowering.e, x, axis, _weights(node, places, shape[axis]))
    return x


def _policy(node: Node, lengths: Sequence[int], sizes: Sequence[int]) -> tuple[list[float], tuple[int, ...]]:
    """(factors, sizes) after the attribute that keeps the aspect ratio."""
    factors = [size / n for size, n in zip(sizes, lengths, strict=True)]
    policy = node.attr("keep_aspect_ratio_policy", "stretch")
    if policy == "stretch":
        return factors, tuple(sizes)
    factor = min(factors) if policy == "not_larger" else max(factors)
    return [factor] * len(sizes), tuple(math.floor(factor * n + 0.5) for n in lengths)


def _coordinates(node: Node, size: int, length: int, factor: float) -> Array:
    """Where the elements of the result lie along an axis of the input."""
    mode = node.attr("coordinate_transformation_mode", "half_pixel")
    at = np.arange(size, dtype=np.float64)
    if mode == "align_corners":
        # by the length before it is rounded down, as the operator's own tests have it
        return at * ((length - 1) / (factor * length - 1)) if size > 1 else at * 0
    if mode == "asymmetric":
        return at / factor
    if mode == "pytorch_half_pixel":
        return (at + 0.5) / factor - 0.5 if size > 1 else at * 0
    if mode == "half_pixel_symmetric":
        adjustment = size / (factor * length)
        return length / 2 * (1 - adjustment) + (at + 0.5) / factor - 0.5
    if mode == "half_pixel":
        return (at + 0.5) / factor - 0.5
    raise Refuse(f"places pixels by {mode}", "use half_pixel, asymmetric or align_corners")


def _nearest(node: Node, places: Array) -> Array:
    mode = node.attr("nearest_mode", "round_prefer_floor")
    rules: dict[str, Callable[[Array], Array]] = {
        "round_prefer_floor": lambda p: np.ceil(p - 0.5),
        "round_prefer_ceil": lambda p: np.floor(p + 0.5),
        "floor": np.floor,
        "ceil": np.ceil,
    }
    if mode not in rules:
        raise Refuse(f"rounds by {mode}", f"use one of {', '.join(rules)}")
    return np.asarray(rules[mode](places))


def _weights(node: Node, places: Array, length: int) -> Array:
    """The matrix [places, length] of an interpolation: neighbours beyond the ends count as the ends."""
    a = float(node.attr("cubic_coeff_a", -0.75))

    def cubic(d: float) -> float:
        if d <= 1:
            return ((a + 2) * d - (a + 3)) * d * d + 1
        return ((a * d - 5 * a) * d + 8 * a) * d - 4 * a if d < 2 else 0.0

    curve, reach = (cubic, 2) if node.attr("mode") == "cubic" else (lambda d: max(1 - d, 0.0), 1)
    matrix = np.zeros((len(places), length), np.float64)
    for row, place in enumerate(places):
        first = math.floor(place) - reach + 1
        for at in range(first, first + 2 * reach):
            if 0 <= at < length or not node.attr("exclude_outside", 0):
                matrix[row, min(max(at, 0), length - 1)] += curve(abs(place - at))
    return np.asarray(matrix / matrix.sum(axis=1, keepdims=True))


def _interpolated(e: Emitter, x: Operand, axis: int, matrix: Array) -> Live:
    """A constant matrix from old to new places along an axis."""
    rank = len(e.shape(x))
    last = [*(a for a in range(rank) if a != axis), axis]
    y = e.emit("linear", e.live(e.transpose(e.real(x), last)), Known(matrix.astype(np.float32), "const.resize"))
    return e.live(e.transpose(y, [last.index(a) for a in range(rank)]))


ROWS: dict[str, Row] = {"Resize": _resize}
