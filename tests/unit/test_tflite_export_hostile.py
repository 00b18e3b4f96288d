"""TFLite files of unknown origin: whatever is wrong with one is an ArtifactError, before a runtime sees it."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from graph_samples import busy_graph
from tflite_cases import CASES, ports
from tflite_int8 import random_plan

from edgekit.artifact.exported import KEY
from edgekit.backends.tflite import TfliteStep, export_tflite, read_tflite
from edgekit.backends.tflite import flat as flat_module
from edgekit.backends.tflite import read as read_module
from edgekit.backends.tflite.schema import IDENTIFIER, schema
from edgekit.backends.tflite.writer import _aligned_builder
from edgekit.errors import ArtifactError, ToolchainError
from edgekit.passes.own_outputs import own_outputs

pytest.importorskip("ai_edge_litert")
Change = Callable[[Any], None]


def changed(data: bytes, change: Change) -> bytes:
    """A model written again after a change to its parts."""
    model = schema().ModelT.InitFromPackedBuf(bytearray(data))
    change(model)
    builder = _aligned_builder()
    builder.Finish(model.Pack(builder), IDENTIFIER)
    return bytes(builder.Output())


def operator(model: Any, number: int) -> Any:
    """The first operator with that code in the step."""
    codes = [c.builtinCode for c in model.operatorCodes]
    return next(op for op in model.subgraphs[0].operators if codes[op.opcodeIndex] == number)


def constant(model: Any, number: int, at: int, values: list[int]) -> None:
    """Other values in an int32 constant that an operator goes by."""
    graph = model.subgraphs[0]
    tensor = graph.tensors[operator(model, number).inputs[at]]
    model.buffers.append(schema().BufferT(np.array(values, np.int32).view(np.uint8)))
    tensor.buffer = len(model.buffers) - 1


@pytest.fixture(scope="module")
def plain() -> bytes:
    return export_tflite(busy_graph(), io={})


@pytest.fixture(scope="module")
def inside() -> bytes:
    return export_tflite(ports(), io={}, states="resource")


def test_a_model_written_again_is_still_sound(plain: bytes, inside: bytes) -> None:
    for data in (plain, inside):
        TfliteStep(changed(data, lambda model: None))


def _set(path: str, value: Any) -> Change:
    def change(model: Any) -> None:
        *parts, last = path.split(".")
        target = model
        for part in parts:
            target = target[int(part)] if part.lstrip("-").isdigit() else getattr(target, part)
        if last.lstrip("-").isdigit():
            target[int(last)] = value
        else:
            setattr(target, last, value)

    return change


GATHER, STRIDED_SLICE, TRANSPOSE, RESHAPE, BROADCAST, SUM = 36, 45, 39, 22, 130, 74
CHANGES: dict[str, tuple[Change, str]] = {
    "version": (_set("version", 2), "schema version 2"),
    "unknown operator": (_set("operatorCodes.0.builtinCode", 32), "operator code 32"),
    "custom operator": (_set("operatorCodes.0.customCode", "evil"), "OperatorCode has field 1"),
    "operator version": (_set("operatorCodes.0.version", 99), "of version 99"),
    "contradicting code": (_set("operatorCodes.0.deprecatedBuiltinCode", 5), "contradicts itself"),
    "no such code": (_set("subgraphs.0.operators.0.opcodeIndex", 77), "without a code"),
    "tensor beyond": (_set("subgraphs.0.operators.0.inputs", [4096, 0]), "not there"),
    "tensor below": (_set("subgraphs.0.operators.0.inputs", [-2, 0]), "not there"),
    "absent input": (_set("subgraphs.0.operators.0.inputs", [-1, 0]), "lacks an input"),
    "too few inputs": (_set("subgraphs.0.operators.0.inputs", [0]), "has 1 inputs"),
    "output beyond": (_set("subgraphs.0.operators.0.outputs", [4096]), "not there"),
    "result twice": (_set("subgraphs.0.operators.1.outputs", [0]), "a second time"),
    "port beyond": (_set("subgraphs.0.inputs", [0, 1, 4096]), "not there"),
    "port twice": (_set("subgraphs.0.inputs", [0, 1, 1]), "twice|other inputs"),
    "buffer beyond": (_set("subgraphs.0.tensors.3.buffer", 4096), "buffer that is not there"),
    "external buffer": (_set("subgraphs.0.tensors.3.externalBuffer", 1), "Tensor has field 10"),
    "buffer elsewhere": (_set("buffers.2.offset", 64), "Buffer has field 1"),
    "first buffer": (_set("buffers.0.data", np.zeros(4, np.uint8)), "first buffer is not empty"),
    "short constant": (_set("buffers.1.data", np.zeros(2, np.uint8)), "bytes, not"),
    "huge shape": (_set("subgraphs.0.tensors.0.shape", [1, 2**30]), "has shape"),
    "negative shape": (_set("subgraphs.0.tensors.0.shape", [1, -3]), "has shape"),
    "many axes": (_set("subgraphs.0.tensors.0.shape", [1] * 9), "has 9 axes"),
    "many inputs": (_set("subgraphs.0.operators.0.inputs", [0] * 5000), "takes 5,000 values"),
    "many ports": (_set("subgraphs.0.inputs", [0] * 5000), "a list of 5,000 values"),
    "unknown type": (_set("subgraphs.0.tensors.0.type", 5), "has type 5"),
    "dynamic shape": (_set("subgraphs.0.tensors.0.shapeSignature", [-1, 3]), "Tensor has field 7"),
    "is variable": (_set("subgraphs.0.tensors.0.isVariable", True), "Tensor has field 5"),
    "signature key": (_set("signatureDefs.0.signatureKey", "serve"), "has signatures"),
    "signature port": (_set("signatureDefs.0.inputs.0.name", "z"), "not those of its metadata"),
    "signature tensor": (_set("signatureDefs.0.inputs.0.tensorIndex", 9), "other inputs"),
    "signature subgraph": (_set("signatureDefs.0.subgraphIndex", 1), "not each signature"),
    "no metadata": (_set("metadata", []), "no metadata"),
    "other metadata": (_set("metadata.0.name", "tflite"), "no metadata"),
    "metadata beyond": (_set("metadata.0.buffer", 4096), "not there"),
    "metadata text": (lambda m: _set(f"buffers.{m.metadata[0].buffer}.data", np.zeros(9, np.uint8))(m), "strict JSON"),
    "options kind": (lambda m: setattr(operator(m, GATHER), "builtinOptionsType", 10), "do not fit|of kind|Options"),
    "gather axis": (lambda m: setattr(operator(m, GATHER).builtinOptions, "axis", 7), "GATHER does not fit"),
    "gather batch": (lambda m: setattr(operator(m, GATHER).builtinOptions, "batchDims", 1), "has field 1"),
    "gather indices": (lambda m: constant(m, GATHER, 1, [1, 0, 5]), "GATHER does not fit"),
    "slice bounds": (lambda m: constant(m, STRIDED_SLICE, 2, [1, 99, 2]), "STRIDED_SLICE does not fit"),
    "slice step": (lambda m: constant(m, STRIDED_SLICE, 3, [1, 0, 1]), "STRIDED_SLICE does not fit"),
    "slice mask": (lambda m: setattr(operator(m, STRIDED_SLICE).builtinOptions, "beginMask", 1), "has field 0"),
    "perm": (lambda m: constant(m, TRANSPOSE, 1, [0, 1, 1]), "TRANSPOSE does not fit"),
    "reshape": (lambda m: constant(m, RESHAPE, 1, [1, 2, 4]), "RESHAPE does not fit"),
    "broadcast": (lambda m: constant(m, BROADCAST, 1, [1, 3, 5]), "BROADCAST_TO does not fit"),
    "sum axis": (lambda m: constant(m, SUM, 1, [9]), "SUM does not fit"),
    "fused activation": (lambda m: setattr(operator(m, 9).builtinOptions, "fusedActivationFunction", 1), "field 0"),
    "scales of floats": (
        lambda m: setattr(
            m.subgraphs[0].tensors[0], "quantization", schema().QuantizationParametersT(scale=[1.0], zeroPoint=[0])
        ),
        "has scales",
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_refused(name: str, plain: bytes) -> None:
    change, message = CHANGES[name]
    with pytest.raises(ArtifactError, match=message):
        TfliteStep(changed(plain, change))


def other_state(graph: Any) -> None:
    """Assign the first value of one state to another."""
    first, second = [op for op in graph.operators if len(op.inputs) == 2][1:3]
    values = int(second.inputs[1]), int(first.inputs[1])
    first.inputs, second.inputs = [first.inputs[0], values[0]], [second.inputs[0], values[1]]


CALL_ONCE, HANDLE, READ, ASSIGN = 129, 142, 143, 144
INSIDE: dict[str, tuple[Change, str]] = {
    "init is the step": (lambda m: setattr(operator(m, CALL_ONCE).builtinOptions, "initSubgraphIndex", 0), "init"),
    "init beyond": (lambda m: setattr(operator(m, CALL_ONCE).builtinOptions, "initSubgraphIndex", 9), "init"),
    "no init": (lambda m: m.subgraphs[0].operators.pop(0), "init"),
    "unknown variable": (lambda m: setattr(operator(m, HANDLE).builtinOptions, "sharedName", "z"), "of no state"),
    "container": (lambda m: setattr(operator(m, HANDLE).builtinOptions, "container", "z"), "of no state"),
    "other shape": (lambda m: setattr(m.subgraphs[1].tensors[0], "shape", [1, 9]), "bytes, not"),
    "other state": (lambda m: other_state(m.subgraphs[1]), "does not fit its state"),
    "call in init": (lambda m: m.subgraphs[1].operators.insert(0, m.subgraphs[0].operators[0]), "CALL_ONCE"),
    "init of one": (lambda m: m.subgraphs[1].operators.pop(), "every state"),
}


@pytest.mark.parametrize("name", INSIDE)
def test_a_change_of_variables_is_refused(name: str, inside: bytes) -> None:
    change, message = INSIDE[name]
    with pytest.raises(ArtifactError, match=message):
        TfliteStep(changed(inside, change))


@pytest.mark.parametrize("field", ["strideH", "strideW", "dilationHFactor"])
@pytest.mark.parametrize("value", [0, -1, 2**20, 3])
def test_strides_of_a_convolution_are_checked(field: str, value: int) -> None:
    """A kernel divides by them."""
    data = export_tflite(CASES["conv2"], io={})
    with pytest.raises(ArtifactError, match="CONV_2D does not fit"):
        TfliteStep(changed(data, lambda m: setattr(operator(m, 3).builtinOptions, field, value)))


def test_every_prefix_is_refused(plain: bytes) -> None:
    for size in (*range(64), *range(64, len(plain), 37), len(plain) - 1):
        try:
            read_tflite(plain[:size])
        except ArtifactError:
            continue
        pytest.fail(f"{size} bytes of {len(plain)} were taken")


@pytest.mark.parametrize("seed", range(4))
def test_damaged_models_are_refused_or_run(seed: int, plain: bytes) -> None:
    """Random bytes and numbers: either an ArtifactError, or a model that a runtime loads and runs unharmed."""
    rng, taken = np.random.default_rng(seed), 0
    for _ in range(250):
        damaged = bytearray(plain)
        for _ in range(rng.integers(1, 4)):
            at = int(rng.integers(0, len(plain) - 4))
            if rng.random() < 0.5:
                damaged[at] = int(rng.integers(0, 256))
            else:
                value = int(rng.choice([0, 1, 2**31 - 1, 2**32 - 1, int(rng.integers(0, len(plain)))]))
                damaged[at : at + 4] = struct.pack("<I", value)
        try:
            read_tflite(bytes(damaged))
        except ArtifactError:
            continue
        taken += 1
        model = TfliteStep(bytes(damaged))
        inputs = {p.name: np.zeros((1, *p.shape), np.float32) for p in model.document.inputs}
        model.execute(inputs, model.initial_state())
    assert taken < 250


@pytest.mark.parametrize("seed", range(2))
def test_damaged_scales_are_refused_or_run(seed: int) -> None:
    """Kernels end the process where the scales of sums and products are too far apart."""
    graphs = [own_outputs(ports()), *(CASES[n] for n in ("mul", "conv2_depthwise", "where", "tanh", "pools"))]
    rng, taken, refused = np.random.default_rng(seed), 0, 0
    for graph in graphs:
        data = export_tflite(graph, io={}, precision="int8", plan=random_plan(graph))
        for _ in range(20):
            damaged = changed(data, lambda model: stretch(model, rng))
            try:
                model = TfliteStep(damaged)
                inputs = {p.name: np.full((1, *p.shape), 100, p.dtype.numpy) for p in model.document.inputs}
                model.execute(inputs, model.initial_state())
                taken += 1
            except (ArtifactError, ToolchainError):
                refused += 1
    assert taken > 0
    assert refused > 0


def stretch(model: Any, rng: np.random.Generator) -> None:
    """Other scales and zero points for a few values."""
    held = [t for t in model.subgraphs[0].tensors if t.quantization is not None]
    for tensor in rng.choice(held, size=min(len(held), 2), replace=False):
        scale = np.array(tensor.quantization.scale, np.float32)
        tensor.quantization.scale = scale * np.float32(10.0 ** rng.uniform(-12, 12))
        if rng.random() < 0.3:
            tensor.quantization.zeroPoint = np.full(scale.size, int(rng.choice([-128, 127, 1, -32768])), np.int64)


def test_caps(plain: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flat_module, "MAX_TABLES", 20)
    with pytest.raises(ArtifactError, match="more than 20 tables"):
        read_tflite(plain)
    monkeypatch.undo()
    monkeypatch.setattr(read_module, "MAX_MEMORY", 100)
    with pytest.raises(ArtifactError, match="more than the cap of 100"):
        read_tflite(plain)
    monkeypatch.setattr(read_module, "MAX_BYTES", 100)
    with pytest.raises(ArtifactError, match="bytes are more than the cap"):
        read_tflite(plain)
    assert KEY.encode() in plain
