"""int8 weights by integer dot products: as exact as a float32 sum, here, in plain C, and on cores that have them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from c_nets import int8_weights, lowered, mlp, random_weights
from c_runs import Emulated, Native, compiled

from edgekit.compress.quantize import quantize_weights_int8
from edgekit.ir import Graph, GraphBuilder
from edgekit.passes.pipelines import LOWER, OPTIMISE, run_passes
from edgekit.reference import Interpreter
from edgekit.target import load_target

CORE = "raspberrypi5"  # a Cortex-A76
SHAPES = ((3, 2), (45, 17), (512, 16), (601, 40), (1030, 33))  # chunks of 512 inputs, blocks of 32 outputs


def layers() -> Graph:
    """A layer of each shape over the head of one input, with a bias; and one over rows."""
    rng, b = np.random.default_rng(0), GraphBuilder("dots")
    x = b.input("x", (SHAPES[-1][0],))
    for n_in, n_out in SHAPES:
        head = b.op("slice", x, axis=0, start=0, stop=n_in)
        weights = int8_weights(b, f"w{n_in}", random_weights(rng, n_out, n_in))
        b.output(b.op("linear", head, weights, b.const(f"c{n_in}", random_weights(rng, n_out))))
    rows = b.op("reshape", b.op("slice", x, axis=0, start=0, stop=77), shape=(7, 11))
    b.output(b.op("linear", rows, int8_weights(b, "w_rows", random_weights(rng, 5, 11))))
    return lowered(b.build())


def stimuli() -> list[np.ndarray]:
    """Normal inputs, some far larger than the rest, constants that round up, spikes, and nothing at all."""
    rng, n = np.random.default_rng(1), SHAPES[-1][0]
    normal = rng.standard_normal((20, n))
    peaks = np.where(rng.random((5, n)) < 0.01, 1000.0, normal[:5])
    even = np.repeat(rng.uniform(0.1, 2, (20, 1)), n, axis=1) * rng.choice([-1, 1], (20, n))
    return [*normal, *peaks, *even, rng.random(n) < 0.3, np.zeros(n), np.full(n, 1e-36), np.full(n, 1e30)]


def check(program: Native | Emulated) -> None:
    """Outputs against double precision, within what float32 sums of as large terms may lose."""
    exact = Interpreter(program.graph, np.float64)
    for x in stimuli():
        x = x.astype(np.float32)  # noqa: PLW2901
        code, got = program.entry("step", x)
        wanted, _ = exact.execute({"x": x[None].astype(np.float64)}, {})
        assert code == 0
        for y, w in zip(got, wanted.values(), strict=True):
            np.testing.assert_allclose(y, w[0], rtol=3e-6, atol=3e-6 * max(1.0, float(np.abs(x).max())))


@pytest.fixture(scope="module")
def emulated() -> Iterator[Emulated]:
    program = Emulated(layers(), CORE, dot=1)
    yield program
    program.close()


NARROW = ("-mno-avx512f",) if load_target("host").arch == "x86_64" else ()


@pytest.mark.drawn(3)
@pytest.mark.parametrize("flags", [(), NARROW, ("-DEK_FORCE_PORTABLE",)], ids=["native", "narrow", "portable"])
@pytest.mark.parametrize("compiler", ["gcc", "zig"])
def test_dot_products_here(flags: tuple[str, ...], compiler: str) -> None:
    """With whatever this computer has: four outputs at a time, or sixteen where it has AVX-512 VNNI."""
    check(Native(layers(), compiler, flags, dot=1, pad=16))


def test_dot_products_on_the_emulated_core(emulated: Emulated) -> None:
    check(emulated)
    ran = {k for k in emulated.by_symbol if "_op" in k}
    assert {k.symbol for k in emulated.program.kernels} == ran
    assert sum("linear_dot_i8" in k for k in ran) == len(SHAPES) + 1


def test_what_is_no_number_stays_none() -> None:
    """An overflow inside a program is not turned into a number."""
    rng, b = np.random.default_rng(2), GraphBuilder("overflow")
    x = b.input("x", (40,))
    b.output(b.op("linear", b.op("mul", x, x), int8_weights(b, "w", random_weights(rng, 9, 40))))
    graph, x_now = lowered(b.build()), np.ones(40)
    x_now[7] = 1e30
    for flags in ((), NARROW, ("-DEK_FORCE_PORTABLE",)):
        _, (y,) = Native(graph, "gcc", flags, dot=1, pad=16).entry("step", x_now)
        assert np.isnan(y).all()


def test_int8_weights_are_cheaper_than_floats_there() -> None:
    graph = run_passes(mlp((240, 128, 64, 7)), OPTIMISE)
    floats, bytes_ = run_passes(graph, LOWER), run_passes(quantize_weights_int8(graph), LOWER)
    cost = []
    for each, dot in ((floats, 0), (bytes_, 1)):
        program = Emulated(each, CORE, dot=dot)
        program.entry("step", np.ones(240))
        cost.append(program.instructions)
        program.close()
    assert cost[1] < cost[0]


def test_without_the_option_nothing_is_packed_for_them() -> None:
    assert {k.kernel for k in compiled(layers()).kernels if k.kind == "linear"} == {"linear_dense_i8"}
