"""Sums of weighted, gathered elements become linears with a constant matrix; before and expected, and what stays."""

from __future__ import annotations

import numpy as np
import pytest
from cases import check, read
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.ir import Graph, GraphBuilder, to_text
from edgekit.passes.gathered_sums import sums_as_linear
from edgekit.reference import Interpreter

BRANCHES = """
    graph g
    const %w float32[6]
    entry step
      in %x float32[3]
      %picked float32[6] = gather %x {"axis": 0, "indices": [2, 0, 0, 1, 1, 2]}  # elm
      %weighted float32[6] = mul %w %picked  # elm
      %rows float32[2,3] = reshape %weighted {"shape": [2, 3]}  # elm
      %b float32[2] = sum %rows {"axis": 1}  # elm
      %y float32[2] = neg %b
      out %y
"""


def the_weights(graph: Graph) -> np.ndarray:
    (linear,) = (op for op in graph.entries["step"].ops if op.kind == "linear")
    return np.asarray(graph.tensors[linear.inputs[1]].data)


def same(before: Graph, after: Graph) -> None:
    rng = np.random.default_rng(0)
    x = {n: rng.normal(size=(3, *before.tensors[n].shape)).astype(np.float32) for n in before.entries["step"].inputs}
    a, b = (Interpreter(g, np.float64).execute(x, {})[0].values() for g in (before, after))
    for left, right in zip(a, b, strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-5, atol=1e-5)


def test_a_branch_of_synapses_is_a_row_and_what_is_read_twice_adds_up():
    after = check(
        sums_as_linear,
        BRANCHES,
        """
        graph g
        const %b.weights float32[2,3]
        entry step
          in %x float32[3]
          %x.linear float32[2] = linear %x %b.weights  # elm
          %y float32[2] = neg %x.linear
          out %y
        """,
        {"w": [1, 2, 3, 4, 5, 6]},
    )
    np.testing.assert_array_equal(the_weights(after), [[5, 0, 1], [0, 9, 6]])


def test_weights_that_are_clipped_or_masked_to_zero_leave_no_trace():
    before = read(BRANCHES, {"w": [1, 0, 3, 0, 0, 6]})
    after = sums_as_linear(before)
    np.testing.assert_array_equal(the_weights(after), [[3, 0, 1], [0, 0, 6]])
    same(before, after)


def chains(seed: int) -> Graph:
    """A sum over a random chain of views, choices and constant factors of one input."""
    rng = np.random.default_rng(seed)
    b = GraphBuilder("g")
    value = b.input("x", tuple(rng.integers(1, 5, rng.integers(1, 3)).tolist()))
    for at in range(rng.integers(1, 7)):
        shape = b.tensor(value).shape
        axis = int(rng.integers(len(shape)))
        kind = rng.choice(["gather", "slice", "reshape", "transpose", "expand", "mul", "div", "neg"])
        if kind == "gather":
            picked = rng.integers(0, shape[axis], rng.integers(1, 6))
            value = b.op("gather", value, axis=axis, indices=tuple(picked.tolist()))
        elif kind == "slice":
            value = b.op("slice", value, axis=axis, start=int(rng.integers(shape[axis])), stop=shape[axis])
        elif kind == "reshape":
            value = b.op("reshape", value, shape=(int(np.prod(shape)),) if rng.random() < 0.5 else (1, *shape))
        elif kind == "transpose":
            value = b.op("transpose", value, perm=tuple(rng.permutation(len(shape)).tolist()))
        elif kind == "expand":
            value = b.op("expand", value, shape=(int(rng.integers(1, 3)), *shape))
        elif kind == "neg":
            value = b.op("neg", value)
        else:
            wide = (2, *shape) if rng.random() < 0.2 else shape if rng.random() < 0.7 else (1,) * len(shape)
            constant = b.const(f"c{at}", rng.normal(size=wide) + 3 * (kind == "div"))
            value = b.op(kind, *([value, constant] if kind == "div" or rng.random() < 0.5 else [constant, value]))
        if len(b.tensor(value).shape) > 4:
            value = b.op("reshape", value, shape=(b.tensor(value).size,))
    axis = int(rng.integers(len(b.tensor(value).shape)))
    b.output(b.op("sum", value, axis=axis, keepdims=bool(rng.random() < 0.3)))
    return b.build()


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32))
def test_whatever_the_chain_the_sum_is_the_same(seed):
    before = chains(seed)
    after = sums_as_linear(before)
    same(before, after)
    assert before.tensors[before.entries["step"].outputs[0]].shape == (
        after.tensors[after.entries["step"].outputs[0]].shape
    )


def test_neighbouring_inputs_need_no_choice_to_be_a_branch():
    b = GraphBuilder("g")
    x = b.input("x", (45 * 28,))
    weighted = b.op("mul", b.const("w", np.ones(45 * 28)), x)
    b.output(b.op("sum", b.op("reshape", weighted, shape=(45, 28)), axis=1))
    before = b.build()
    after = sums_as_linear(before)
    np.testing.assert_array_equal(the_weights(after), np.repeat(np.eye(45), 28, axis=1))
    same(before, after)


def test_a_quotient_of_constants_that_nobody_has_folded_keeps_its_value():
    before = read("""
        graph g
        const %c float32[2] = [1.0, 2.0]
        const %d float32[2] = [4.0, 5.0]
        entry step
          in %x float32[2]
          %q float32[2] = div %c %d
          %s float32[] = sum %q {"axis": 0}
          %y float32[2] = mul %x %s
          out %y
    """)
    same(before, sums_as_linear(before))


STAYS = {
    "a sum of the input itself": """
        graph g
        entry step
          in %x float32[2,3]
          %rows float32[3,2] = reshape %x {"shape": [3, 2]}
          %y float32[3] = sum %rows {"axis": 1}
          out %y
    """,
    "a product of two values": """
        graph g
        entry step
          in %x float32[2,3]
          %square float32[2,3] = mul %x %x
          %y float32[2] = sum %square {"axis": 1}
          out %y
    """,
    "a constant divided by a value": """
        graph g
        const %c float32[3] = [1.0, 2.0, 3.0]
        entry step
          in %x float32[3]
          %inverse float32[3] = div %c %x
          %y float32[] = sum %inverse {"axis": 0}
          out %y
    """,
    "the largest is no sum": BRANCHES.replace("sum %rows", "amax %rows"),
    "weights too large for float32": """
        graph g
        const %c float32[2] = [3e38, 3e38]
        entry step
          in %x float32[1]
          %picked float32[2] = gather %x {"axis": 0, "indices": [0, 0]}
          %large float32[2] = mul %c %picked
          %y float32[] = sum %large {"axis": 0}
          out %y
    """,
}


@pytest.mark.parametrize("text", STAYS.values(), ids=STAYS)
def test_a_sum_of_anything_else_stays(text):
    before = read(text, {"w": [1, 2, 3, 4, 5, 6]} if "%w" in text else None)
    assert to_text(sums_as_linear(before)) == to_text(before)


def test_a_matrix_that_costs_more_than_the_sum_is_not_made():
    """Columns of a square are far apart: the matrix would be large, and no kernel could skip its zeros."""
    b = GraphBuilder("g")
    x = b.input("x", (64, 64))
    b.output(b.op("sum", b.op("mul", x, b.const("w", np.ones((64, 64)))), axis=0))
    before = b.build()
    assert to_text(sums_as_linear(before)) == to_text(before)
