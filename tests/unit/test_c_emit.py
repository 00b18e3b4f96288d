"""The emitter: kernel selection, struct layout, refusals, and the text that users read."""

from __future__ import annotations

import numpy as np
import pytest
from c_nets import int8_weights

from edgekit.backends.c import SUPPORTED, Program, emit
from edgekit.backends.c.layout import make_layout
from edgekit.backends.c.program import kernel_files
from edgekit.backends.c.select import MAX_EVENTS, kernel_of, linear_kernel
from edgekit.errors import GraphError, UnsupportedError
from edgekit.ir import OPS, SPIKE, Graph, GraphBuilder
from edgekit.passes.pipelines import LOWER, run_passes
from edgekit.passes.plan_memory import plan_memory


def emitted(graph: Graph) -> Program:
    return emit(graph, plan_memory(graph))


def spiking(n: int = 40, **attrs: str) -> Graph:
    b = GraphBuilder("spiking")
    x, w = b.input("x", (n,)), b.const("w", np.ones((3, n)))
    b.output(b.op("linear", b.op("gt", x, b.const("zero", 0.0)), w, **attrs))
    return run_passes(b.build(), LOWER)


def test_every_supported_op_is_in_the_op_table() -> None:
    assert set(OPS) >= SUPPORTED


def test_kernels_are_listed_with_their_symbols() -> None:
    program = emitted(spiking())
    assert [(k.op, k.kind, k.kernel) for k in program.kernels] == [
        (0, "fused", "map_spike"),
        (1, "linear", "linear_event_f32"),
    ]
    assert program.kernels[1].symbol == "ek_spiking_step_op1_linear_event_f32"


def test_the_form_and_the_length_choose_the_kernel() -> None:
    assert emitted(spiking(form="dense")).kernels[1].kernel == "linear_masked_f32"
    graph = spiking(MAX_EVENTS + 1)
    op = graph.entries["step"].ops[1]
    assert linear_kernel(graph, *op.inputs[:2], form="event") == "linear_masked_f32", "a list cannot index so many"


def test_a_memory_update_of_small_order_has_its_own_kernels() -> None:
    def kernel(order: int, dtype: bool) -> str:
        b = GraphBuilder("memory")
        m, u = (b.input(n, (5, k), *([SPIKE] if dtype else [])) for n, k in (("m", order), ("u", 1)))
        b.output(b.op("memory_update", m, b.const("a", np.eye(order)), u, b.const("b", np.ones((order, 1)))))
        graph = b.build()
        return kernel_of(graph, graph.entries["step"].ops[0])

    assert kernel(7, True) == "memory_table_f32"
    assert kernel(8, True) == "memory_event_f32"
    assert kernel(16, False) == "memory_small_f32"
    assert kernel(17, False) == "memory_dense_f32"
    assert kernel(64, False) == "memory_dense_f32"
    assert kernel(65, False) == "memory_compensated_f32", "what rounding does to a long sum would stay in the memory"


@pytest.mark.parametrize(
    ("size", "between", "kernel"),
    [
        (65, (), "linear_compensated_f32"),
        (65, ("neg",), "linear_dense_f32"),
        (65, ("tanh",), "linear_dense_f32"),
        (64, (), "linear_dense_f32"),
    ],
)
def test_a_long_linear_recurrence_is_compensated(size: int, between: tuple[str, ...], kernel: str) -> None:
    """s' = W s + x, as long as nothing but sums and views lie between the product and the new state."""
    b = GraphBuilder("recurrence")
    s, x = b.state("s", np.zeros((1, size))), b.input("x", (size,))
    product = b.op("linear", b.op("reshape", s, shape=(size,)), b.const("w", np.eye(size)))
    for kind in between:
        product = b.op(kind, product)
    b.update("s", b.op("reshape", b.op("add", product, x), shape=(1, size)))
    b.output(product)
    kernels = [k.kernel for k in emitted(run_passes(b.build(), LOWER)).kernels]
    assert kernel in kernels


def test_only_the_state_that_is_updated_counts() -> None:
    b = GraphBuilder("exchange")
    left, right = b.state("left", np.zeros(65)), b.state("right", np.zeros(65))
    y = b.op("linear", left, b.const("w", np.eye(65)))
    b.update("right", y)
    b.update("left", b.op("neg", right))
    b.output(y)
    assert "linear_dense_f32" in [k.kernel for k in emitted(run_passes(b.build(), LOWER)).kernels]


def test_int8_weights_are_packed_for_dot_products_from_so_many_inputs_on() -> None:
    b = GraphBuilder("dots")
    x = b.input("x", (40,))
    weights = int8_weights(b, "w", np.ones((3, 40)))
    b.output(b.op("linear", x, weights))
    graph = b.build()
    for dot, kernel in ((0, "dense"), (1, "dot"), (40, "dot"), (41, "dense")):
        (use,) = emit(graph, plan_memory(graph), dot=dot).kernels
        assert use.kernel == f"linear_{kernel}_i8"


def test_the_struct_is_whole_cache_lines() -> None:
    graph = spiking()
    layout = make_layout(graph, plan_memory(graph))
    assert all(f.nbytes % 64 == 0 for f in layout.fields)
    assert emitted(graph).struct_bytes == layout.struct_bytes


def test_everything_without_a_kernel_is_listed_at_once() -> None:
    b = GraphBuilder("raw")
    x = b.input("x", (4,))
    b.output(b.op("exp", b.op("neg", x, source="a.b"), source="a.c"))
    b.entry("reset")
    b.output(b.input("y", (2,)))
    with pytest.raises(UnsupportedError) as caught:
        emitted(b.build())
    text = str(caught.value)
    assert "neg in entry step (from a.b)" in text
    assert "exp in entry step (from a.c)" in text
    assert "entry reset" in text


def test_padding_is_eight_or_sixteen() -> None:
    graph = spiking()
    with pytest.raises(GraphError, match="padding 12"):
        emit(graph, plan_memory(graph), pad=12)


def test_a_state_that_takes_another_as_it_is_must_be_lowered_first() -> None:
    b = GraphBuilder("exchange")
    left, right = b.state("left", np.zeros(3)), b.state("right", np.ones(3))
    b.update("left", right)
    b.update("right", left)
    b.output(b.input("x", (3,)))
    with pytest.raises(UnsupportedError, match="update of left in entry step"):
        emitted(b.build())


def test_a_model_cannot_take_the_name_of_a_kernel() -> None:
    b = GraphBuilder("tanh")
    b.output(b.op("sum", b.input("x", (4,)), axis=0))
    with pytest.raises(GraphError, match="model name 'tanh'"):
        emitted(b.build())


def sparse_choice(weights: np.ndarray, *, spike: bool = False) -> str:
    b = GraphBuilder("sparse")
    x = b.input("x", (weights.shape[1],), *([SPIKE] if spike else []))
    b.output(b.op("linear", x, b.const("w", weights), form="sparse"))
    return emitted(b.build()).kernels[0].kernel


def test_a_sparse_form_is_by_input_unless_its_weights_lie_in_blocks() -> None:
    blocks = np.kron(np.eye(20), np.ones((1, 30)))
    assert sparse_choice(blocks) == "linear_runs_f32"
    assert sparse_choice(blocks, spike=True) == "linear_sparse_f32", "spikes are found with no work"
    scattered = blocks[:, np.random.default_rng(0).permutation(600)]
    assert sparse_choice(scattered) == "linear_sparse_f32"


def test_names_cannot_leave_their_comment() -> None:
    b = GraphBuilder("comment")
    b.output(b.op("sum", b.input("x", (4,)), axis=0, source="evil */ int x; /*\nline"))
    text = emitted(b.build()).files["ek_comment.c"]
    assert "evil * / int x; / * line" in text


def test_the_same_graph_gives_the_same_text() -> None:
    assert dict(emitted(spiking()).files) == dict(emitted(spiking()).files)


def test_the_program_brings_its_kernels() -> None:
    program = emitted(spiking())
    assert set(kernel_files()) <= set(program.files)
    sets = ("neon", "neon32", "neon_common", "avx2", "avx512", "portable")
    assert {"ek/simd.h", *(f"ek/simd/{s}.h" for s in sets)} <= set(program.files)
    assert program.main in program.files
