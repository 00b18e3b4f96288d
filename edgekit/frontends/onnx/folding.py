"""Nodes whose inputs are all constant, evaluated at import with onnx's own reference implementation in numpy."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from edgekit.frontends.emitter import Array, Refuse
from edgekit.frontends.onnx.ports import MAX_ELEMENTS
from edgekit.frontends.onnx.reading import onnx_module

_NEVER = frozenset(
    {
        "If",
        "Loop",
        "Scan",
        "SequenceMap",
        "RandomNormal",
        "RandomNormalLike",
        "RandomUniform",
        "RandomUniformLike",
        "Multinomial",
        "Bernoulli",
        "ImageDecoder",
        "Optional",
        "SequenceEmpty",
        "SequenceConstruct",
        "SplitToSequence",
    }
)


def can_fold(op: str) -> bool:
    """Whether an operator always gives the same for the same constants, and gives tensors."""
    return op not in _NEVER


def fold(proto: Any, opset: int, arrays: Mapping[str, Array]) -> list[Array]:
    """The results of a node on constants; Refuse where they would be too large or onnx cannot evaluate the node."""
    onnx = onnx_module()
    inputs = [arrays.get(name) for name in proto.input]
    largest = _elements(proto, inputs)
    if largest > MAX_ELEMENTS:
        raise Refuse(f"makes a constant of {largest:,} elements, more than {MAX_ELEMENTS:,}")
    from onnx.reference import ReferenceEvaluator

    try:
        run = ReferenceEvaluator(proto, opsets={"": opset, "ai.onnx": opset})
        results = run.run(None, dict(arrays))
    except (NotImplementedError, RuntimeError, onnx.onnx_cpp2py_export.checker.ValidationError) as error:
        raise Refuse(f"cannot be evaluated on constants ({type(error).__name__}: {str(error)[:120]})") from error
    if not all(isinstance(r, (np.ndarray, np.generic)) for r in results):
        raise Refuse("gives a sequence or an optional value", "use tensors of fixed shape")
    return [np.asarray(r) for r in results]


def _elements(proto: Any, inputs: Sequence[Array | None]) -> int:
    """How many elements a result may have: what a small, hostile constant can blow up is computed beforehand."""
    shapes = [a.shape for a in inputs if a is not None]
    if proto.op_type in _GROWS and inputs and inputs[0] is not None:
        return int(_GROWS[proto.op_type](inputs))
    if proto.op_type in ("MatMul", "Gemm") and len(shapes) >= 2 and min(map(len, shapes[:2])) >= 1:
        return int(math.prod(shapes[0]) * shapes[1][-1])
    try:
        return math.prod(np.broadcast_shapes(*shapes))
    except ValueError:  # no elementwise op: the result is at most a view, a choice, or a sum of the inputs
        return sum(math.prod(s) for s in shapes)


def _product(array: Array | None) -> int:
    return math.prod(max(int(n), 1) for n in (array.reshape(-1) if array is not None else ()))


def _range(inputs: Sequence[Array | None]) -> int:
    start, limit, delta = (float(a.reshape(())) if a is not None else 1.0 for a in inputs)
    return max(math.ceil((limit - start) / delta), 0) if delta and math.isfinite(limit - start) else MAX_ELEMENTS + 1


def _resize(inputs: Sequence[Array | None]) -> int:
    given = [a for a in inputs[2:] if a is not None and a.size]
    scales = inputs[2] if len(inputs) > 2 else None
    if scales is not None and scales.size:
        return math.ceil(inputs[0].size * float(np.prod(np.maximum(scales.astype(np.float64), 1))))  # type: ignore[union-attr]
    return _product(given[-1]) * inputs[0].size if given else inputs[0].size  # type: ignore[union-attr]


def _size(array: Array | None) -> int:
    return 1 if array is None else max(array.size, 1)


_GROWS: dict[str, Callable[[Sequence[Array | None]], float]] = {
    "ConstantOfShape": lambda i: _product(i[0]),
    "Expand": lambda i: _size(i[0]) * _product(i[1]),
    "Tile": lambda i: _size(i[0]) * _product(i[1]),
    "Range": _range,
    "Pad": lambda i: _size(i[0]) * _product(np.abs(i[1]) + 1 if i[1] is not None else None),
    "Resize": _resize,
    "OneHot": lambda i: _size(i[0]) * _product(i[1]),
    "EyeLike": lambda i: _size(i[0]),
    "CenterCropPad": lambda i: _size(i[0]) * _product(i[1]),
}
