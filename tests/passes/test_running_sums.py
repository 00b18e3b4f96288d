"""The Euler step of a large Legendre memory as running sums: found bit for bit, exact, and nothing else is taken."""

from __future__ import annotations

import numpy as np
import pytest

from edgekit.ir import Graph, GraphBuilder, to_text
from edgekit.passes.pipelines import OPTIMISE, run_passes
from edgekit.passes.running_sums import SMALLEST_ORDER, linear_as_running_sums
from edgekit.reference import Interpreter

ORDER = 256


def legendre(order: int, theta: float) -> np.ndarray:
    """I + A / theta of the delay network, float32."""
    i = np.arange(order, dtype=np.float64)
    below = (-1.0) ** (i[:, None] - i + 1)
    a = (2 * i[:, None] + 1) * np.where(i[:, None] < i, -1.0, below)
    return (np.eye(order) + a / theta).astype(np.float32)


def memory(a: np.ndarray, channels: int = 2) -> Graph:
    """m' = A m + B u for some channels, m leaves."""
    b = GraphBuilder("lmu")
    order = len(a)
    u, m = b.input("u", (channels, 1)), b.state("m", np.zeros((channels, order)))
    driven = b.op("linear", u, b.const("B", np.linspace(-1, 1, order).reshape(order, 1) / order))
    after = b.op("linear", m, b.const("A", a), driven)
    b.update("m", after)
    b.output(after)
    return b.build()


def kinds(graph: Graph) -> list[str]:
    return [op.kind for op in graph.entries["step"].ops]


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("order", [SMALLEST_ORDER, 129, ORDER])
def test_the_matrix_that_the_sums_stand_for_is_the_stored_one_to_the_last_bit(order, transposed):
    """Each column of the matrix, got as its product with a unit vector."""
    a = legendre(order, 5.0 * order)
    a = a.T if transposed else a
    b = GraphBuilder("g")
    b.output(b.op("linear", b.input("x", (order,)), b.const("A", a), out="y"))
    after = linear_as_running_sums(b.build())
    assert kinds(after).count("cumsum") == 2
    assert "linear" not in kinds(after)
    (columns,) = Interpreter(after).execute({"x": np.eye(order, dtype=np.float32)}, {})[0].values()
    np.testing.assert_array_equal(columns.T, a)


def test_a_memory_of_order_256_runs_as_long_as_the_matrix_does():
    """784 steps with theta far enough above the order for Euler to be stable; against double precision."""
    before = memory(legendre(ORDER, 8192.0))
    after = run_passes(before, OPTIMISE)
    assert "cumsum" in kinds(after)
    assert "memory_update" not in kinds(after)
    u = np.random.default_rng(0).normal(size=(1, 784, 2, 1)).astype(np.float32)
    exact, dense, sums = (
        next(iter(interpreter.run({"u": u})[0].values()))
        for interpreter in (Interpreter(before, np.float64), Interpreter(before), Interpreter(after))
    )
    assert np.abs(exact).max() < 10  # stable
    assert np.abs(sums - exact).max() <= 1e-5
    assert np.abs(sums - exact).max() <= 2 * np.abs(dense - exact).max()


def stays(a: np.ndarray) -> bool:
    graph = memory(a)
    return to_text(linear_as_running_sums(graph)) == to_text(graph)


def test_other_matrices_stay_dense():
    exact = legendre(ORDER, 784.0)
    assert stays(np.random.default_rng(0).normal(size=(ORDER, ORDER)).astype(np.float32))
    assert stays(legendre(SMALLEST_ORDER - 1, 784.0))
    for row, column in ((3, 200), (200, 3), (0, 1), (255, 254)):
        almost = exact.copy()
        almost[row, column] = np.nextafter(almost[row, column], np.float32(9))
        assert stays(almost)


def test_zero_order_hold_stays_dense():
    torch = pytest.importorskip("torch")
    from edgekit.models.legendre import discretise

    a, _ = discretise(ORDER, 784.0)
    assert isinstance(a, torch.Tensor)
    assert stays(a.numpy())
    euler, _ = discretise(ORDER, 784.0, "euler")
    assert not stays(euler.numpy())


def test_triangular_and_diagonal_matrices_need_fewer_sums():
    full = legendre(ORDER, 784.0)
    for a, sums in ((np.triu(full), 1), (np.tril(full), 1), (np.diag(np.diagonal(full)), 0)):
        after = linear_as_running_sums(memory(a))
        assert kinds(after).count("cumsum") == sums
        u = np.ones((1, 5, 2, 1), np.float32)
        before, now = (next(iter(Interpreter(g).run({"u": u})[0].values())) for g in (memory(a), after))
        np.testing.assert_allclose(now, before, rtol=1e-5, atol=1e-6)


def test_spikes_and_changing_matrices_stay():
    b = GraphBuilder("g")
    x = b.input("x", (ORDER,))
    spikes = b.op("gt", x, b.const("zero", 0.0))
    plastic = b.state("W", legendre(ORDER, 784.0), reset="keep")
    b.output(b.op("linear", spikes, b.const("A", legendre(ORDER, 784.0))), b.op("linear", x, plastic))
    graph = b.build()
    assert to_text(linear_as_running_sums(graph)) == to_text(graph)
