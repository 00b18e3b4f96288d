"""Nodes and constants as ONNX protobufs: the only place that builds them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit._version import __version__
from edgekit.backends.onnx.body import Node
from edgekit.backends.onnx.packages import require
from edgekit.errors import UnsupportedError

Array = npt.NDArray[Any]
Axes = Sequence[int | str]

OPSET = 17  # what the parser of TensorRT 8.5 (JetPack 5) reads
IR_VERSION = 8  # what ONNX Runtime 1.12 and later read, the oldest with opset 17
DOMAIN = "ai.edgekit"
LARGEST = 2**31 - 2**20  # bytes: a protobuf ends at 2 GiB


@dataclass(frozen=True)
class PortType:
    """An input or output of a graph: its name, its axes (a name for one that is only known at run time), its dtype."""

    name: str
    axes: tuple[int | str, ...]
    dtype: Any = np.float32


def graph_proto(
    name: str,
    nodes: Sequence[Node],
    constants: Mapping[str, Array],
    *,
    inputs: Sequence[PortType],
    outputs: Sequence[PortType],
    doc: str = "",
) -> Any:
    """A GraphProto; an attribute that is a numpy type becomes the number of that type.

    UnsupportedError when the constants are more than a file holds.
    """
    onnx, size = require("onnx"), sum(array.nbytes for array in constants.values())
    if size > LARGEST:
        raise UnsupportedError(
            f"graph {name!r}", f"has {size:,} bytes of constants, an ONNX file holds {LARGEST:,}", "w8 takes a quarter"
        )
    return onnx.helper.make_graph(
        [_node(onnx, node) for node in nodes],
        name,
        [_port(onnx, port) for port in inputs],
        [_port(onnx, port) for port in outputs],
        initializer=[onnx.numpy_helper.from_array(array, key) for key, array in constants.items()],
        doc_string=doc,
    )


def _node(onnx: Any, node: Node) -> Any:
    attrs = {
        key: onnx.helper.np_dtype_to_tensor_dtype(np.dtype(value)) if isinstance(value, type) else value
        for key, value in node.attrs.items()
    }
    outputs = list(node.outputs)
    return onnx.helper.make_node(
        node.kind, list(node.inputs), outputs, name=f"{outputs[0]}/{node.kind}", doc_string=node.source, **attrs
    )


def _port(onnx: Any, port: PortType) -> Any:
    kind = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(port.dtype))
    return onnx.helper.make_tensor_value_info(port.name, kind, list(port.axes))


def model_bytes(graph: Any, *, properties: Mapping[str, str], doc: str) -> bytes:
    """A model of a graph, after onnx.checker with its shape inference has passed it."""
    onnx = require("onnx")
    model = onnx.helper.make_model(
        graph,
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="edgekit",
        producer_version=__version__,
        domain=DOMAIN,
        model_version=1,
        doc_string=doc,
    )
    onnx.helper.set_model_props(model, dict(properties))
    onnx.checker.check_model(model, full_check=True)
    data: bytes = model.SerializeToString(deterministic=True)
    return data
