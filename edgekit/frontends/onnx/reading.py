"""From bytes to a checked model: sizes are capped, external data stays in the model's folder, opsets are known."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.errors import EdgekitError, ModelError, UnsupportedError, UsageError

MAX_BYTES = 2**27
"""Largest file, and largest total of external data, in bytes: an import takes about nine times as much memory."""
MAX_NODES = 50_000
OPSETS = range(13, 21)
STANDARD = ("", "ai.onnx")
RE_EXPORT = "export with opset_version=17, or use onnx.version_converter.convert_version(model, 17)"


def onnx_module() -> Any:
    """The `onnx` package; UsageError that names the extra where it is not installed."""
    try:
        import onnx
        import onnx.inliner
        import onnx.shape_inference
    except ImportError as error:
        raise UsageError("ONNX files", "need the onnx package", "pip install 'edgekit[onnx]'") from error
    return onnx


def load_model(source: Any) -> tuple[Any, str]:
    """(model, what to call it) of a path, bytes or ModelProto, checked and with its external data inside.

    Raises ModelError for what is no valid model, UnsupportedError for opsets and features that are not read.
    """
    onnx = onnx_module()
    folder: Path | None = None
    if isinstance(source, (str, os.PathLike)):
        path = Path(source)
        thing, folder, data = path.name, path.parent, _bytes(path)
    elif isinstance(source, bytes):
        thing, data = "ONNX model", source
    elif isinstance(source, onnx.ModelProto):
        thing, data = "ONNX model", b""
    else:
        raise UsageError("model", f"is a {type(source).__name__}", "give a path, bytes or an onnx.ModelProto")
    model = onnx.ModelProto()
    try:
        if data:
            model.ParseFromString(data)
        elif isinstance(source, onnx.ModelProto):
            model.CopyFrom(source)
    except Exception as error:  # protobuf's DecodeError is not of one class over its implementations
        raise ModelError(thing, "is not an ONNX model", "the file is damaged or of another format") from error
    if not model.graph.node and not model.graph.output:
        raise ModelError(thing, "is not an ONNX model", "it has no graph")
    _check_opset(model, thing)
    _load_external(onnx, model, folder, thing)
    try:
        onnx.checker.check_model(_checkable(onnx, model))
    except Exception as error:  # ValidationError, or what the checker's parser raises on damaged tensors
        raise ModelError(thing, f"is not valid ONNX ({line(error)})", "export it again") from error
    _check_names(onnx, model, thing)
    count = sum(1 for _ in all_nodes(model.graph))
    if count > MAX_NODES:
        raise UnsupportedError(thing, f"has {count:,} nodes, more than {MAX_NODES:,}", "export one step, not a loop")
    return model, thing


def stored_array(tensor: Any) -> npt.NDArray[Any]:
    """The numbers of a stored tensor; ModelError where they do not fit its shape and dtype."""
    try:
        return np.asarray(onnx_module().numpy_helper.to_array(tensor))
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise ModelError(f"tensor {tensor.name!r}", f"is damaged ({line(error)})", "export the model again") from error


def _check_names(onnx: Any, model: Any, thing: str) -> None:
    """What the checker lets pass: names that are no text, and element types that do not exist."""
    graph, kinds = model.graph, onnx.TensorProto.DataType.values()
    names = [graph.name, *(t.name for t in graph.initializer)]
    for node in all_nodes(graph):
        names += [node.name, node.op_type, node.domain, node.doc_string, *node.input, *node.output]
        names += [a.name for a in node.attribute]
    for value in (*graph.input, *graph.output):
        names.append(value.name)
        names += [d.dim_param for d in value.type.tensor_type.shape.dim]
        if value.type.tensor_type.elem_type not in kinds:
            raise ModelError(thing, f"has an unknown element type in {value.name!r}", "export it again")
    if not all(isinstance(n, str) for n in names):  # protobuf gives bytes where a text is no UTF-8
        raise ModelError(thing, "has names that are no text", "the file is damaged; export it again")


def _checkable(onnx: Any, model: Any) -> Any:
    """The model as the checker takes it: it calls GroupNormalization deprecated in the very opsets that have it."""
    if not any(n.op_type == "GroupNormalization" for n in all_nodes(model.graph)):
        return model
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for node in all_nodes(copy.graph):
        if node.op_type == "GroupNormalization":
            node.domain = "edgekit.unchecked"
    copy.opset_import.add(domain="edgekit.unchecked", version=1)
    return copy


def opset_of(model: Any) -> int:
    """The version of the standard operators that a model imports."""
    return next((int(o.version) for o in model.opset_import if o.domain in STANDARD), 0)


def all_nodes(graph: Any) -> Iterator[Any]:
    """Every node of a graph and of the graphs inside its nodes."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (*((attribute.g,) if attribute.HasField("g") else ()), *attribute.graphs):
                yield from all_nodes(inner)


def _bytes(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ModelError(path.name, f"is larger than {MAX_BYTES:,} bytes", "export a smaller model")
        return path.read_bytes()
    except OSError as error:
        raise ModelError(str(path), f"cannot be read ({error.strerror})") from error


def _check_opset(model: Any, thing: str) -> None:
    version = opset_of(model)
    if version not in OPSETS:
        raise UnsupportedError(
            thing,
            f"has opset {version or 'unknown'}; opsets {OPSETS[0]} to {OPSETS[-1]} are read",
            RE_EXPORT,
        )
    if model.graph.sparse_initializer:
        raise UnsupportedError(thing, "has sparse initializers", "store them as dense tensors")


def all_graphs(model: Any) -> Iterator[Any]:
    """The graph of a model and the graphs inside its nodes."""
    yield model.graph
    for node in all_nodes(model.graph):
        yield from (a.g for a in node.attribute if a.HasField("g"))


def _tensors(model: Any) -> Iterator[Any]:
    for graph in all_graphs(model):
        yield from graph.initializer
    for node in all_nodes(model.graph):
        for attribute in node.attribute:
            yield from ((attribute.t,) if attribute.HasField("t") else ())
            yield from attribute.tensors


def _load_external(onnx: Any, model: Any, folder: Path | None, thing: str) -> None:
    """Put external data into the model: only from files below the model's own folder, and only so much."""
    external = [t for t in _tensors(model) if t.data_location == onnx.TensorProto.EXTERNAL]
    if not external:
        return
    if folder is None:
        raise ModelError(
            thing,
            "keeps tensors in other files",
            "give the path of the file, or load them with onnx.load",
            sorted({t.name for t in external})[:12],
        )
    faults, total = [], 0
    for tensor in external:
        try:
            total += _fill(tensor, folder, MAX_BYTES - total)
        except EdgekitError as error:
            faults.append(f"{tensor.name}: {error.cause}")
    if faults:
        raise ModelError(thing, "keeps tensors in files that cannot be read", "keep them beside the model", faults[:12])


def _fill(tensor: Any, folder: Path, budget: int) -> int:
    entries = {e.key: e.value for e in tensor.external_data}
    location = entries.get("location", "")
    inside, root = (folder / location).resolve(), folder.resolve()
    if not location or Path(location).is_absolute() or ".." in Path(location).parts or root not in inside.parents:
        raise ModelError(location, f"{location!r} is not inside the model's folder")
    try:
        offset, size = int(entries.get("offset", 0)), inside.stat().st_size
        length = int(entries.get("length", size - offset))
        if not 0 <= offset <= offset + length <= size or length > budget:
            raise ModelError(location, f"{location!r} has {size:,} bytes, {length:,} at {offset:,} are wanted")
        with inside.open("rb") as file:
            file.seek(offset)
            tensor.raw_data = file.read(length)
    except (OSError, ValueError) as error:
        raise ModelError(location, f"{location!r} cannot be read ({line(error)})") from error
    tensor.ClearField("data_location")
    del tensor.external_data[:]
    return length


def line(error: BaseException) -> str:
    """A foreign exception in one line."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
