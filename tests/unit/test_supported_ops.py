"""`supported-ops` says what the backends do: every cell of the table is tried on a graph with that op."""

from __future__ import annotations

import json

import numpy as np
import pytest
from c_nets import random_weights
from converted import edgekit_main
from tflite_cases import CASES, conv

from edgekit.backends.c import SUPPORTED as C_SUPPORTED
from edgekit.backends.c import emit
from edgekit.backends.onnx import calibrate_onnx, export_onnx
from edgekit.backends.tflite import export_tflite, plan_of
from edgekit.compress.calibrate import calibrate
from edgekit.compress.integer import quantise_program
from edgekit.compress.quantize import quantize_weights_int8
from edgekit.compress.recipes import RECIPES
from edgekit.convert.support import (
    BY_A_CONSTANT,
    INTERNAL,
    LOOP,
    MADE,
    MEANING,
    NONE,
    PARTLY,
    REWRITTEN,
    columns,
    read_by,
    support_table,
)
from edgekit.errors import UnsupportedError
from edgekit.ir import OPS, SCALAR_OPS, SPIKE, Graph, GraphBuilder
from edgekit.passes.legalize import legalize
from edgekit.passes.pipelines import FOR_INTEGERS, LOWER, run_passes
from edgekit.passes.plan_memory import plan_memory

TABLE = {row["op"]: row["backends"] for row in support_table()}
KINDS = [kind for kind in OPS if kind not in MADE]


def kinds_of(graph: Graph) -> set[str]:
    return {op.kind for _, op in graph.ops()}


def case_of(kind: str) -> Graph:
    """The smallest graph of the backends' own cases that holds an op."""
    holding = [graph for graph in CASES.values() if kind in kinds_of(graph)]
    found = min(holding, key=lambda graph: (len(kinds_of(graph)), len(list(graph.ops()))))
    return found.replace(name=f"case_{found.name}")  # of its own: kernels of C are called like ops


def windows(graph: Graph) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    drawn = {n: rng.standard_normal((8, 4, *graph.tensors[n].shape)) for n in graph.entries["step"].inputs}
    return {n: (a > 0.5 if graph.tensors[n].dtype is SPIKE else a).astype(np.float32) for n, a in drawn.items()}


def to_c(graph: Graph) -> None:
    lowered = run_passes(legalize(graph, C_SUPPORTED | SCALAR_OPS.keys(), "C"), LOWER)
    assert emit(lowered, plan_memory(lowered)).files


def to_c_integers(graph: Graph) -> None:
    graph = run_passes(graph, FOR_INTEGERS)
    to_c(quantise_program(graph, calibrate(graph, windows(graph)), RECIPES["int8"]).graph)


def to_onnx(graph: Graph) -> None:
    for precision in ("fp32", "w8"):
        assert export_onnx(graph, precision=precision)
    assert export_onnx(graph, precision="int8", calibration=calibrate_onnx(graph, windows(graph)))


def to_tflite(graph: Graph) -> None:
    assert export_tflite(graph, io={})
    assert export_tflite(quantize_weights_int8(graph), io={}, precision="w8")


def to_tflite_int8(graph: Graph) -> None:
    assert export_tflite(graph, io={}, precision="int8", plan=plan_of(graph, windows(graph)))


WAYS = {
    ("c", "fp32"): to_c,
    ("c", "int8"): to_c_integers,
    ("onnx", "fp32"): to_onnx,
    ("tflite", "fp32"): to_tflite,
    ("tflite", "int8"): to_tflite_int8,
}


def accepts(way: tuple[str, str], graph: Graph) -> bool:
    try:
        WAYS[way](graph)
    except UnsupportedError:
        return False
    return True


def test_every_column_is_tried():
    assert {(backend, precisions[0]) for backend, precisions, _ in columns()} == WAYS.keys()


@pytest.mark.drawn(2)
@pytest.mark.parametrize(  # what is partly there has tests of its own, for both parts
    ("kind", "way"), [(kind, way) for kind in KINDS for way in WAYS if TABLE[kind][way[0]][way[1]] != PARTLY], ids=str
)
def test_a_cell_is_what_the_backend_accepts(kind, way):
    backend, precision = way
    cells = {k: TABLE[k][backend][precision] for k in kinds_of(case_of(kind))}
    assert accepts(way, case_of(kind)) == (NONE not in cells.values()), cells


def built(kind: str, operand: str) -> Graph:
    b = GraphBuilder(f"{kind}_{operand}")
    x, y = b.input("x", (4, 4)), b.input("y", (4, 4))
    live = b.op("add", b.op("abs", y), b.const("half", 0.5))
    other = live if operand == "live" else b.const("w", random_weights(np.random.default_rng(0), 4, 4) + 2)
    b.output(b.op(kind, x, other))
    return b.build()


def convolved(*size: int) -> Graph:
    b = GraphBuilder("convolved")
    shape = (2, *(5 for _ in size))
    x, y = b.input("x", shape), b.input("y", shape)
    b.output(conv(*size)(b, x, y))
    return b.build()


@pytest.mark.parametrize("way", [w for w in WAYS if w[1] == "int8"], ids="-".join)
@pytest.mark.parametrize("kind", BY_A_CONSTANT)
def test_what_integers_do_by_a_constant_alone(kind, way):
    assert TABLE[kind][way[0]][way[1]] == PARTLY
    assert accepts(way, built(kind, "constant"))
    assert not accepts(way, built(kind, "live"))


def test_convolutions_of_int8_tflite_have_one_axis_or_two():
    assert TABLE["conv"]["tflite"]["int8"] == PARTLY
    assert [accepts(("tflite", "int8"), convolved(*size)) for size in ((3,), (2, 3), (2, 2, 2))] == [True, True, False]


def test_rewritten_ops_are_decomposed_and_loops_are_elementwise():
    for kind, backends in TABLE.items():
        for cells in backends.values():
            for cell in cells.values():
                assert cell in MEANING
                assert cell != REWRITTEN or OPS[kind].decompose
                assert cell != LOOP or OPS[kind].group == "elementwise"
                assert (cell == INTERNAL) == (kind in MADE)


def test_precisions_are_those_of_the_backends():
    from edgekit.backends import onnx
    from edgekit.convert.exports import EXCHANGED
    from edgekit.convert.options import PRECISIONS

    cells = TABLE["add"]
    assert tuple(cells["c"]) == PRECISIONS
    assert tuple(cells["onnx"]) == onnx.PRECISIONS == EXCHANGED["onnx"]
    assert tuple(cells["tflite"]) == EXCHANGED["tflite"]


def test_the_table_is_readable_at_a_hundred_columns():
    answer = edgekit_main("supported-ops")
    assert answer.returncode == 0
    assert max(map(len, answer.stdout.splitlines())) <= 100
    for front_end in ("torch", "onnx", "nir"):
        lines = edgekit_main("supported-ops", "--from", front_end).stdout.splitlines()
        assert max(map(len, lines)) <= 100


@pytest.mark.parametrize(
    ("front_end", "some"),
    [("torch", "aten::addmm"), ("torch", "aten::convolution"), ("onnx", "LSTM"), ("nir", "CubaLIF")],
)
def test_what_a_front_end_reads(front_end, some):
    names = json.loads(edgekit_main("supported-ops", "--from", front_end, "--json").stdout)["operators"]
    assert names == read_by(front_end)
    assert some in names
    assert names == sorted(set(names))


def test_an_unknown_front_end():
    answer = edgekit_main("supported-ops", "--from", "keras")
    assert answer.returncode == 2
    assert "torch, onnx, nir" in answer.stderr
