"""The node tests of the onnx package as cases: which run, at which opset, and why any other does not."""

from __future__ import annotations

import dataclasses
import functools
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from edgekit.backends.c import SUPPORTED
from edgekit.errors import EdgekitError
from edgekit.frontends.emitter import Array
from edgekit.frontends.onnx.importing import Import
from edgekit.frontends.onnx.original import OnnxOriginal
from edgekit.frontends.onnx.reading import OPSETS
from edgekit.frontends.onnx.table import ROWS
from edgekit.ir import SCALAR_OPS, Entry, Graph, Tensor, verify
from edgekit.passes.legalize import legalize
from edgekit.passes.pipelines import LOWER, OPTIMISE, run_passes
from edgekit.passes.rewrite import sweep
from edgekit.passes.unit_axis import strip_unit_axis

REFUSED = {
    "antialias": "resizes with antialias",
    "crop": "resizes a region of interest (tf_crop_and_resize)",
    "diagonal": "takes a diagonal, or an ellipsis, by Einsum",
    "indices": "gives the indices of the largest elements too",
    "rank": "has more axes than the 6 of a graph",
    "reduction": "adds, multiplies or compares what it scatters",
}
"""What the importer refuses in claimed operators, and by which word of its message that is told."""
_REFUSED_BY = {
    "antialias": "antialias",
    "crop": "crops and resizes",
    "diagonal": "...ii->...i",
    "indices": "gives the indices",
    "rank": "at most 6 of them",
    "reduction": "combines what it writes",
}

COMPOSITES = "composites"
"""Stands for the operator where a test is the expansion of one without a row into several that have one."""

RTOL, ATOL = 1e-3, 1e-7  # onnx's own, of every node test
"""Tolerances of the node tests."""

SHAPES = frozenset({"Constant", "ConstantOfShape", "If", "Range", "Shape", "Size"})
"""Operators whose work is done at import: their tests have no input at run time, or only its shape is read."""

CONSTANT = {
    "CastLike": (1,),
    "Compress": (1,),
    "ConvTranspose": (1, 2),
    "Dropout": (1, 2),
    "If": (0,),
    "OneHot": (1, 2),
    "Pad": (2,),
    "Range": (0, 1, 2),
    "Resize": (1, 2, 3),
}
"""Inputs that must be constant in a model, so that their tests store what they would feed."""

RETYPED = frozenset(
    {
        *("Add", "Clip", "CumSum", "Equal", "GatherND", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"),
        *("Max", "MaxPool", "Min", "Mul", "Pad", "Sub", "Trilu"),
    }
)
"""Operators whose tests on integers run on the same numbers in float32: exact, and some have no other test."""

TAMED = frozenset({"Cast", "CastLike"})
"""Operators that work on each element alone, whose tests feed NaN and Inf beside numbers: these are fed as 0."""

FLOAT16 = frozenset({"test_attention_4d_gqa_with_past_and_present_fp16_expanded"})
"""Tests whose expected values are rounded to float16 on the way: 1 of 576 differs from float32 by 1.01e-3."""

CHANGES = {
    "opset": "at opset 20 or 13 in place of a newer or older one in which the operator has the same form",
    "stored": "with inputs that a model has as constants (shapes, axes, indices, zero points …) stored in it",
    "retyped": "with the same numbers in float32 in place of integers",
    "tamed": "with 0 in place of NaN and Inf",
}

REASONS = {
    "integers": "computes with integers at run time; a step has float32 and truth values",
    "opset": "comes at no opset from 13 to 20: a form of the operator, or a dtype, that is newer",
    "dtype": "has a dtype that numpy lacks (bfloat16, float8, float4, int4, int2) or strings",
    "sequence": "takes or gives a sequence or an optional value",
    "not finite": "feeds NaN or Inf, which a step refuses in its inputs, or expects them",
    "float16": "expects values that were rounded to float16 on the way",
    "empty": "has a value without elements",
    "training": "trains: batch statistics or random masks",
    "expansion": "is the expansion of an operator into others, some of which are not claimed",
    **REFUSED,
}


@dataclass(frozen=True, eq=False)
class Case:
    """A node test that runs: the model with integers as constants, inputs and expected outputs."""

    name: str
    op: str
    opset: int
    model: Any
    inputs: dict[str, Array]
    outputs: dict[str, Array]
    changes: frozenset[str]
    """What differs from the test as it comes: keys of CHANGES."""


@dataclass(frozen=True)
class Excluded:
    """A node test of a claimed operator that does not run, and why."""

    name: str
    op: str
    reason: str


@functools.cache
def node_tests() -> tuple[Case | Excluded, ...]:
    """Every node test of the claimed operators, in order."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # onnx makes its expected values with casts and divisions that numpy warns of
        from onnx.backend.test.loader import load_model_tests

        loaded = load_model_tests(kind="node")
    return tuple(found for case in loaded if (found := _case(case)) is not None)


def _case(case: Any) -> Case | Excluded | None:
    ops = [n.op_type for n in case.model.graph.node]
    if any(n.domain not in ("", "ai.onnx") for n in case.model.graph.node):
        return None
    op = ops[0] if len(ops) == 1 else next((o for o in sorted(ROWS, key=len, reverse=True) if _named(case.name, o)), "")
    if len(ops) == 1 and op not in ROWS:
        return None
    if len(ops) > 1 and not op and not set(ops) <= set(ROWS):
        return None
    try:
        made = _made(case, op or COMPOSITES)
        _refused(made)
    except _Out as out:
        return Excluded(case.name, op or COMPOSITES, str(out))
    return made


def _refused(case: Case) -> None:
    """Leave a case out where the importer refuses a known form of the operator."""
    try:
        lowered(case)
    except EdgekitError as error:
        known = next((key for key, words in _REFUSED_BY.items() if words in str(error)), None)
        if known is None:
            raise
        raise _Out(known) from error


def _named(name: str, op: str) -> bool:
    return name.replace("_", "").startswith(f"test{op.lower()}")


class _Out(Exception):  # noqa: N818
    """A case does not run; the text is a key of REASONS."""


def _made(case: Any, op: str) -> Case:
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    kinds = [v.type.WhichOneof("value") for v in (*model.graph.input, *model.graph.output)]
    if any(kind != "tensor_type" for kind in kinds):
        raise _Out("sequence")
    elems = {v.type.tensor_type.elem_type for v in (*model.graph.input, *model.graph.output)}
    known = (1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13)  # of TensorProto.DataType: what numpy has, without strings
    if not elems <= set(known):
        raise _Out("dtype")
    if any(n.op_type not in ROWS for n in model.graph.node):
        raise _Out("expansion")
    changes = {"opset"} if _at_known_opset(model) else set()
    (inputs, outputs), *_ = case.data_sets
    given = {v.name: _array(x) for v, x in zip(model.graph.input, inputs, strict=True)}
    wanted = {v.name: _array(x) for v, x in zip(model.graph.output, outputs, strict=True)}
    if _trains(model, given):
        raise _Out("training")
    count = len(given)
    _freeze(model, given)
    changes |= {"stored"} if len(given) < count else set()
    if any(0 in x.shape for x in (*given.values(), *wanted.values())):
        raise _Out("empty")
    if not given and not _shape_work(case.model):
        if op not in RETYPED or not set(model_ops(model)) <= RETYPED:
            raise _Out("integers")
        model, given, wanted = _retyped(case, model)
        changes.add("retyped")
    if set(model_ops(model)) <= TAMED:
        given, wanted = ({n: _tamed(x) for n, x in side.items()} for side in (given, wanted))
        changes.add("tamed")
    if not all(np.isfinite(x).all() for x in (*given.values(), *wanted.values()) if x.dtype.kind == "f"):
        raise _Out("not finite")
    if case.name in FLOAT16:
        raise _Out("float16")
    version = next(o.version for o in model.opset_import if o.domain == "")
    return Case(case.name, op, version, model, given, wanted, frozenset(changes))


def _at_known_opset(model: Any) -> bool:
    """Newer and older operators at opset 20 or 13, where their form is the same there; whether that was needed."""
    changed = False
    for imported in model.opset_import:
        if imported.domain == "" and imported.version not in OPSETS:
            changed = True
            imported.version = OPSETS[-1] if imported.version > OPSETS[-1] else OPSETS[0]
            try:
                onnx.checker.check_model(model, full_check=True)
            except Exception as error:  # whatever the checker says of a newer form
                raise _Out("opset") from error
    return changed


def _trains(model: Any, given: dict[str, Array]) -> bool:
    for node in model.graph.node:
        if node.op_type == "BatchNormalization" and any(a.name == "training_mode" and a.i for a in node.attribute):
            return True
        if node.op_type == "Dropout" and len(node.input) > 2 and node.input[2] in given and given[node.input[2]].any():
            return True
    return False


def _array(value: Any) -> Array:
    return numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else np.asarray(value)


def _freeze(model: Any, given: dict[str, Array]) -> None:
    """Integers (shapes, axes, indices, zero points) become constants, and the inputs of CONSTANT."""
    places = [(name, at in CONSTANT.get(n.op_type, ())) for n in model.graph.node for at, name in enumerate(n.input)]
    fixed = {name for name, _ in places} - {name for name, constant in places if not constant}
    for value in list(model.graph.input):
        if given[value.name].dtype.kind in "iu" or value.name in fixed:
            model.graph.initializer.append(numpy_helper.from_array(given.pop(value.name), value.name))
            model.graph.input.remove(value)
    if model.ir_version < 4:
        model.ir_version = 8


def model_ops(model: Any) -> list[str]:
    """The operators of a model."""
    return [n.op_type for n in model.graph.node]


def _retyped(case: Any, frozen: Any) -> tuple[Any, dict[str, Array], dict[str, Array]]:
    """The same numbers as float32: the data, not what tells shapes, axes or places."""
    model = onnx.ModelProto()
    model.CopyFrom(frozen)
    (inputs, outputs), *_ = case.data_sets
    data = {n.input[0] for n in model.graph.node} | {
        name for n in model.graph.node if n.op_type not in ("CumSum", "GatherND", "Pad", "Trilu") for name in n.input
    }
    data |= {n.input[2] for n in model.graph.node if n.op_type == "Pad" and len(n.input) > 2}
    given = {}
    for value, array in zip(case.model.graph.input, map(_array, inputs), strict=True):
        if value.name in data:
            for stored in [t for t in model.graph.initializer if t.name == value.name]:
                model.graph.initializer.remove(stored)
            place = model.graph.input.add()
            place.CopyFrom(value)
            place.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
            given[value.name] = array.astype(np.float32)
    wanted = {}
    for value, array in zip(model.graph.output, map(_array, outputs), strict=True):
        if array.dtype.kind in "iu":
            value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
        wanted[value.name] = array
    onnx.checker.check_model(model, full_check=True)
    return model, given, wanted


def _tamed(array: Array) -> Array:
    return np.where(np.isfinite(array), array, 0).astype(array.dtype) if array.dtype.kind == "f" else array


def _shape_work(model: Any) -> bool:
    return any(n.op_type in SHAPES for n in model.graph.node)


# --- running ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Lowered:
    """A case as a graph ready for a backend, and the model's ports."""

    case: Case
    graph: Graph
    original: OnnxOriginal

    def fed(self) -> dict[str, Array]:
        """Inputs in the shapes of the graph, [1, ...] each."""
        entry = self.graph.entries["step"]
        pairs = zip(entry.inputs, self.original.inputs, strict=True)
        return {name: _stored(self.case.inputs[p.name]).reshape(1, *p.step_shape) for name, p in pairs}

    def check(self, outputs: dict[str, Array]) -> None:
        """AssertionError unless outputs [1, ...] are the expected ones, within the tolerances of onnx."""
        entry = self.graph.entries["step"]
        for name, port in zip(entry.outputs, self.original.outputs, strict=True):
            wanted = self.case.outputs[port.name]
            got = outputs[name].reshape(port.shape)
            assert got.shape == wanted.shape, f"{self.case.name}: {got.shape} is not {wanted.shape}"
            wide = wanted.astype(np.float64)
            np.testing.assert_allclose(got.astype(np.float64), wide, rtol=RTOL, atol=ATOL, err_msg=self.case.name)


def _stored(array: Array) -> Array:
    return array if array.dtype == np.bool_ else array.astype(np.float32)


@functools.cache
def lowered(case: Case) -> Lowered:
    """A case through the importer's lowering and the passes of a conversion, but not the replay: onnx gives values."""
    graph, original = Import(case.model, case.name, states=[]).lowered("model")
    graph = strip_unit_axis(sweep(graph))
    return Lowered(case, graph, original)


def program(cases: Sequence[Lowered]) -> Graph:
    """Cases as one graph, as a conversion hands it to the C backend: an entry for each, in the order of `entries`."""
    graphs = [legalize(run_passes(c.graph, OPTIMISE), SUPPORTED | SCALAR_OPS.keys(), "C") for c in cases]
    return run_passes(merged(graphs), LOWER)


def merged(graphs: list[Graph]) -> Graph:
    """Many graphs as the entries step, case1, case2, … of one."""
    tensors: dict[str, Tensor] = {}
    entries: list[Entry] = []
    for at, graph in enumerate(graphs):
        entries.append(_prefixed(graph, f"c{at}.", f"case{at}" if at else "step", tensors))
    return verify(Graph("nodes", tensors, (), {e.name: e for e in entries}))


def _prefixed(graph: Graph, prefix: str, name: str, tensors: dict[str, Tensor]) -> Entry:
    def new(names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(prefix + n for n in names)

    for tensor in graph.tensors.values():
        tensors[prefix + tensor.name] = dataclasses.replace(tensor, name=prefix + tensor.name)
    entry = graph.entries["step"]
    ops = tuple(dataclasses.replace(o, inputs=new(o.inputs), outputs=new(o.outputs)) for o in entry.ops)
    return Entry(name, new(entry.inputs), new(entry.outputs), ops, {})


def running() -> tuple[Case, ...]:
    """The cases that run."""
    return tuple(c for c in node_tests() if isinstance(c, Case))


def table() -> str:
    """What runs and what does not, by operator and by reason, in Markdown."""
    ran, out = Counter(c.op for c in running()), [c for c in node_tests() if isinstance(c, Excluded)]
    left = Counter(c.op for c in out)
    by_op: dict[str, set[int]] = {}
    for case in running():
        by_op.setdefault(case.op, set()).add(case.opset)
    lines = [
        f"{sum(ran.values())} node tests of onnx {onnx.__version__} run, through importer, numpy reference and C "
        f"backend (the {ran[COMPOSITES]} composites in C by `make test-all`), within rtol {RTOL:g} and atol {ATOL:g}; "
        f"{len(out)} do not.",
        "",
        "| operator | tests that run | at opset | not run |",
        "|---|---:|---|---:|",
    ]
    for op in sorted({*ran, *left}):
        opsets = ", ".join(map(str, sorted(by_op.get(op, ()))))
        lines.append(f"| {op} | {ran[op]} | {opsets} | {left[op] or ''} |")
    lines += ["", "| run | tests |", "|---|---:|", f"| as they come | {sum(not c.changes for c in running())} |"]
    lines += [f"| {text} | {sum(key in c.changes for c in running())} |" for key, text in CHANGES.items()]
    lines += ["", "| not run | tests | operators |", "|---|---:|---|"]
    for reason, count in sorted(Counter(c.reason for c in out).items()):
        ops = ", ".join(sorted({c.op for c in out if c.reason == reason}))
        lines.append(f"| {REASONS[reason]} | {count} | {ops} |")
    return "\n".join(lines) + "\n"
