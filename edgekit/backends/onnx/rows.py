"""All ops of this backend: a kind without a row is decomposed, or refused."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from edgekit.backends.onnx.contract import CONTRACT
from edgekit.backends.onnx.elementwise import ELEMENTWISE, NODES, Row
from edgekit.backends.onnx.movement import MOVEMENT

ROWS: Mapping[str, Row] = MappingProxyType({**ELEMENTWISE, **CONTRACT, **MOVEMENT})
SUPPORTED = frozenset(ROWS)

# the operators of the nodes that these rows, the borders of int8 values and the sequence form write
WRITTEN = NODES | {
    *("Cast", "Where", "Reshape", "Transpose", "Expand", "Slice", "Concat", "Gather", "Pad", "Shape", "Identity"),
    *("MatMul", "Gemm", "Conv", "Sum", "ReduceSum", "ReduceMax", "CumSum"),
    *("QuantizeLinear", "DequantizeLinear", "Scan"),
}
