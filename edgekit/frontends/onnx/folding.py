"""Nodes whose inputs are all constant, evaluated at import with onnx's own reference implementation in numpy."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
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
        "MaxUnpool",
        "Optional",
        "SequenceEmpty",
        "SequenceConstruct",
        "SplitToSequence",
    }
)
MAX_TOLD = 64
"""Longest constant whose values can say how long a result is: no array has more axes."""


def can_fold(op: str) -> bool:
    """Whether an operator always gives the same for the same constants, and gives tensors."""
    return op not in _NEVER


def fold(proto: Any, opset: int, arrays: Mapping[str, Array]) -> list[Array]:
    """The results of a node on constants; Refuse where onnx cannot evaluate it. Their size is checked beforehand."""
    onnx = onnx_module()
    from onnx.reference import ReferenceEvaluator

    try:
        run = ReferenceEvaluator(proto, opsets={"": opset, "ai.onnx": opset})
        results = run.run(None, dict(arrays))
    except (NotImplementedError, RuntimeError, onnx.onnx_cpp2py_export.checker.ValidationError) as error:
        raise Refuse(f"cannot be evaluated on constants ({type(error).__name__}: {str(error)[:120]})") from error
    if not all(isinstance(r, (np.ndarray, np.generic)) for r in results):
        raise Refuse("gives a sequence or an optional value", "use tensors of fixed shape")
    return [np.asarray(r) for r in results]


def check_size(
    proto: Any, opset: int, given: Mapping[str, tuple[int, Sequence[int]]], arrays: Mapping[str, Array]
) -> None:
    """Refuse a node with a result of more than MAX_ELEMENTS elements, before anything is allocated for it.

    `given` are element types and shapes of its inputs, `arrays` those that are constant. What onnx's shape inference
    leaves open is no larger than the inputs: it depends on their values, as in Compress.
    """
    onnx = onnx_module()
    # onnx's own functions give Range lists of one number, which only its inference refuses
    scalars = proto.op_type == "Range"
    types = {n: onnx.helper.make_tensor_type_proto(kind, () if scalars else s) for n, (kind, s) in given.items()}
    short = {n: a.reshape(()) if scalars else a for n, a in arrays.items() if a.size <= MAX_TOLD}
    told = {n: onnx.numpy_helper.from_array(a, n) for n, a in short.items()}
    try:
        schema = onnx.defs.get_schema(proto.op_type, opset, "")
        if schema.deprecated:  # GroupNormalization, by mistake; its result has the shape of its input
            return
        imports = [onnx.helper.make_opsetid("", opset)]
        results = onnx.shape_inference.infer_node_outputs(schema, proto, types, told, opset_imports=imports)
    except (
        RuntimeError,
        onnx.shape_inference.InferenceError,
        onnx.checker.ValidationError,
        onnx.defs.SchemaError,
    ) as error:
        raise Refuse(f"is malformed ({str(error).strip()[:160]})", "export it again") from error
    for result in results.values():
        if result.HasField("tensor_type") and result.tensor_type.HasField("shape"):
            count = math.prod(d.dim_value if d.HasField("dim_value") else 1 for d in result.tensor_type.shape.dim)
            if count > MAX_ELEMENTS:
                raise Refuse(f"gives {count:,} elements, more than {MAX_ELEMENTS:,}")
